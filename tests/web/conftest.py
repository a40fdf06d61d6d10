"""The real thing: gateway processes on free ports, with a real cache, ledger, Stripe simulator and upstream."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.cli.ports import free_port
from gateway.ledger import migrate
from tests.conftest import OpenCache
from tests.fakes.stage import Stage

START_S = 150.0
PATIENCE_S = 60.0
ROOT = Path(__file__).parent.parent.parent
POLICIES = ROOT / "policies"
ADMIN_TOKEN = "admin-0123456789abcdefghij"
SERVER_TOKEN = "server-0123456789abcdefghij"
GOOD_CARD = "4242424242424242"
TLS = ssl.create_default_context()
"""One for all clients: to make it takes 18 ms, and nothing here speaks TLS."""


@dataclass
class Sandbox:
    """The Stripe simulator and the sample API."""

    stripe_url: str
    upstream_url: str
    key: str
    http: httpx.Client = field(default_factory=lambda: httpx.Client(verify=TLS, timeout=30))

    def ask(self, method: str, path: str, **options: Any) -> Any:
        headers = {"authorization": f"Bearer {self.key}"}
        answer = self.http.request(method, self.stripe_url + path, headers=headers, **options)
        answer.raise_for_status()
        return answer.json()

    def pay(self, checkout_url: str, card: str = GOOD_CARD) -> httpx.Response:
        """Fill in the hosted page; the answer is not followed back."""
        return self.http.post(checkout_url, data={"card_number": card})

    def confirm(self, asked: httpx.Response) -> httpx.Response:
        """On the page of the card's bank that an answer leads to."""
        return self.http.post(self.stripe_url + asked.headers["location"], data={"act": "complete"})


@dataclass
class Gateway:
    """One gateway process."""

    url: str
    process: subprocess.Popen[bytes]
    sandbox: Sandbox
    webhook: dict[str, Any]
    """Its endpoint, as Stripe knows it."""
    log: Path
    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def webhook_secret(self) -> str:
        secret: str = self.webhook["secret"]
        return secret

    def browser(self) -> httpx.Client:
        """Somebody with cookies of its own, at a network address of its own."""
        address = f"10.{secrets.randbelow(256)}.{secrets.randbelow(256)}.{secrets.randbelow(256)}"
        return self._client({"x-forwarded-for": address})

    def bearer(self, token: str) -> httpx.Client:
        return self._client({"authorization": f"Bearer {token}"})

    def metric(self, name: str, **labels: str) -> float:
        """One value as a scrape sees it now; 0 if it is not there."""
        wanted = name + ("{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}")
        text = self.admin.get("/_tiergate/metrics").raise_for_status().text
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.rpartition(" ")[0] == (wanted if labels else name)
        )

    @property
    def admin(self) -> httpx.Client:
        return self.bearer(ADMIN_TOKEN)

    @property
    def server(self) -> httpx.Client:
        return self.bearer(SERVER_TOKEN)

    def _client(self, headers: dict[str, str]) -> httpx.Client:
        client = httpx.Client(base_url=self.url, headers=headers, verify=TLS, timeout=30)
        self.clients.append(client)
        return client

    def customer(self, user_id: str | None = None, **key: Any) -> tuple[str, str, httpx.Client]:
        """A customer with a key: customer id, user id, and its client."""
        user_id = user_id or _new_user()
        created = self.admin.post("/_tiergate/admin/customers", json={"user_id": user_id}).raise_for_status().json()
        issued = self.admin.post(f"/_tiergate/admin/customers/{created['customer_id']}/keys", json=key)
        return created["customer_id"], user_id, self.bearer(issued.raise_for_status().json()["key"])

    def subscribed(self, plan_id: str = "pro-monthly") -> tuple[str, str, httpx.Client]:
        """As `customer`, with a paid subscription that the gateway knows of."""
        customer_id, user_id, client = self.customer()
        told = client.post("/api/v1/create-checkout", json={"plan_id": plan_id}).raise_for_status().json()
        self.sandbox.pay(told["checkout_url"])
        _until(lambda: client.get("/api/v1/subscription").json()["standing"] == "good")
        return customer_id, user_id, client


def _new_user() -> str:
    return f"user-{secrets.token_hex(6)}"


@pytest.fixture
def new_user() -> Callable[[], str]:
    """Names nobody has yet."""
    return _new_user


@pytest.fixture
def until() -> Callable[..., None]:
    return _until


def _until(holds: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait for what a background task brings about."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway.sandbox", "--seed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        told = json.loads(process.stdout.readline())
        made = Sandbox(told["stripe_url"], told["upstream_url"], told["key"])
        yield made
        made.http.close()
    finally:
        _end(process)


@pytest.fixture(scope="session")
def world(sandbox: Sandbox, any_cache: OpenCache) -> Iterator[dict[str, str]]:
    """Settings of gateways that share one ledger and one cache."""
    folder = Path(tempfile.mkdtemp(prefix="tg"))
    ledger_url = f"sqlite:///{folder / 'ledger.sqlite3'}"
    migrate(ledger_url)
    with any_cache(folder) as cache_url:
        yield {
            "STRIPE_SECRET_KEY": sandbox.key,
            "TIERGATE_STRIPE_URL": sandbox.stripe_url,
            "TIERGATE_UPSTREAM_URL": sandbox.upstream_url,
            "TIERGATE_KEY_PEPPER": "a pepper that is long enough for tests".replace(" ", "-"),
            "TIERGATE_ADMIN_TOKEN": ADMIN_TOKEN,
            "TIERGATE_SERVER_TOKEN": SERVER_TOKEN,
            "TIERGATE_REDIS_URL": cache_url,
            "TIERGATE_LEDGER_URL": ledger_url,
            "TIERGATE_DATA_DIR": str(folder),
            "TIERGATE_POLICY_DIR": str(POLICIES),
            "TIERGATE_SIGNUP": "open",
            "TIERGATE_SIGNUPS_PER_MINUTE": "6000",
            "TIERGATE_TRUSTED_PROXIES": "127.0.0.1",
            "TIERGATE_CACHE_DEADLINE_MS": "2000",
            "TIERGATE_SETTLE_INTERVAL_S": "0.2",
            "TIERGATE_SHUTDOWN_GRACE_S": "2",
        }
    shutil.rmtree(folder, ignore_errors=True)


StartGateway = Callable[..., Gateway]


@contextlib.contextmanager
def _starting(sandbox: Sandbox, world: dict[str, str]) -> Iterator[StartGateway]:
    started: list[Gateway] = []

    def start(
        *, is_ready: bool = True, target: str = "gateway.app:create_app", server: str = "ours", **changes: str
    ) -> Gateway:
        gateway = _start(sandbox, world | changes, target, server)
        started.append(gateway)
        _await_start(gateway, is_ready=is_ready)
        return gateway

    try:
        yield start
    finally:
        for gateway in started:
            for client in gateway.clients:
                client.close()
            sandbox.ask("DELETE", f"/v1/webhook_endpoints/{gateway.webhook['id']}")  # or it is tried again and again
            _end(gateway.process)


_UVICORN = (
    *("uvicorn", "--factory", "--app-dir", str(ROOT), "--no-access-log", "--no-date-header", "--no-server-header"),
    "--no-proxy-headers",
)
_FRONT = ("--http", "gateway.web.front:FrontProtocol", "--ws", "gateway.web.websocket_protocol:FrontWebSocket")
_GRANIAN = ("granian", "--interface", "asgi", "--factory", "--host", "127.0.0.1")
COMMANDS = {"ours": (*_UVICORN, *_FRONT), "uvicorn": _UVICORN, "granian": _GRANIAN}
"""Servers in front of the app. Only ours is as `tiergate serve` has it."""
_GRACE = {"granian": "--workers-kill-timeout"}


def _start(sandbox: Sandbox, settings: dict[str, str], target: str, server: str) -> Gateway:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    endpoint = sandbox.ask(
        "POST", "/v1/webhook_endpoints", data={"url": f"{url}/api/v1/webhook", "enabled_events[0]": "*"}
    )
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TIERGATE_", "STRIPE_"))}
    own = {"STRIPE_WEBHOOK_SECRET": endpoint["secret"], "TIERGATE_PUBLIC_URL": url}
    grace = (_GRACE.get(server, "--timeout-graceful-shutdown"), settings["TIERGATE_SHUTDOWN_GRACE_S"])
    log = Path(settings["TIERGATE_DATA_DIR"]) / f"gateway-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *COMMANDS[server], target, "--port", str(port), *grace],
            env=inherited | settings | own | {"PYTHONPATH": str(ROOT)},
            cwd=settings["TIERGATE_DATA_DIR"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Gateway(url, process, sandbox, endpoint, log)


def _await_start(gateway: Gateway, *, is_ready: bool) -> None:
    path = "/_tiergate/ready" if is_ready else "/_tiergate/health"
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert gateway.process.poll() is None, gateway.log.read_text()
        with contextlib.suppress(httpx.HTTPError):
            if gateway.sandbox.http.get(gateway.url + path, timeout=2).status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(gateway.log.read_text())


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


@pytest.fixture(scope="session")
def gateway(sandbox: Sandbox, world: dict[str, str]) -> Iterator[Gateway]:
    with _starting(sandbox, world) as start:
        yield start()


@pytest.fixture(scope="session")
def second_gateway(sandbox: Sandbox, world: dict[str, str]) -> Iterator[Gateway]:
    """Another worker on the same ledger and cache."""
    with _starting(sandbox, world) as start:
        yield start()


@pytest.fixture(scope="module")
def start_gateway_once(sandbox: Sandbox, world: dict[str, str]) -> Iterator[StartGateway]:
    """As `start_gateway`, for all tests of a module."""
    with _starting(sandbox, world) as start:
        yield start


@pytest.fixture
def start_gateway(sandbox: Sandbox, world: dict[str, str]) -> Iterator[StartGateway]:
    """Starts gateways with other settings."""
    with _starting(sandbox, world) as start:
        yield start


@pytest.fixture(scope="module")
def start_shared(sandbox: Sandbox, world: dict[str, str]) -> Iterator[StartGateway]:
    """As `start_gateway`, for gateways that all tests of a file use."""
    with _starting(sandbox, world) as start:
        yield start


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Servers behind them."""
    with Stage() as made:
        yield made


@pytest.fixture(scope="module")
def apart(any_cache: OpenCache) -> Iterator[dict[str, str]]:
    """A ledger and a cache of a module's own: gateways with other policies and settings work on the shared ones."""
    with tempfile.TemporaryDirectory(prefix="tg") as folder:
        ledger_url = f"sqlite:///{folder}/ledger.sqlite3"
        migrate(ledger_url)
        with any_cache(Path(folder)) as cache_url:
            yield {"TIERGATE_LEDGER_URL": ledger_url, "TIERGATE_REDIS_URL": cache_url, "TIERGATE_DATA_DIR": folder}
