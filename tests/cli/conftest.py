"""Real commands, in real processes or in this one, each test in a directory of its own."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from gateway.cli.main import cli
from tests.caches import KIND, Kind
from tests.conftest import OpenCache

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 150.0
SECRETS = {
    "STRIPE_SECRET_KEY": "sk_test_abcdefghijklmnopqrstuvwx",
    "STRIPE_WEBHOOK_SECRET": "whsec_abcdefghijklmnopqrstuvwxyz",
    "TIERGATE_KEY_PEPPER": "pepper-abcdefghijklmnopqrstuvwxyz0123456789",
    "TIERGATE_ADMIN_TOKEN": "admin-abcdefghijklmnopqrstuvwxyz",
    "TIERGATE_SERVER_TOKEN": "server-abcdefghijklmnopqrstuvwxyz",
}


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "policies", tmp_path / "policies of the test"))


@pytest.fixture
def environment(tmp_path: Path, policies: Path, upstream: str) -> dict[str, str]:
    """Complete settings. Stripe is a port where nobody listens."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TIERGATE_", "STRIPE_"))}
    return inherited | {
        **SECRETS,
        "PYTHONPATH": str(ROOT),
        "TIERGATE_STRIPE_URL": "http://127.0.0.1:9",
        "TIERGATE_UPSTREAM_URL": upstream,
        "TIERGATE_DATA_DIR": str(tmp_path / "data of the test"),
        "TIERGATE_POLICY_DIR": str(policies),
        "TIERGATE_PORT": "0",
        "TIERGATE_CACHE_DEADLINE_MS": "1000",
        "TIERGATE_SHUTDOWN_GRACE_S": "20",
    }


@pytest.fixture
def tiergate(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Result]]:
    """Runs one command in this process, without its setting up of the log, which would outlast it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gateway.cli.opening.configure_logging", lambda *_: None)
    for name in [name for name in os.environ if name.startswith(("TIERGATE_", "STRIPE_"))]:
        monkeypatch.delenv(name)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(cli, arguments, env=environment, prog_name="tiergate")

    with capture_logs():
        yield call


@pytest.fixture
def migrated(tiergate: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """As `tiergate`, on a ledger that has its tables."""
    monkeypatch.setattr("gateway.cli.migrate.configure_logging", lambda *_: None)
    result = tiergate("migrate")
    assert result.exit_code == 0, result.output
    return tiergate


@pytest.fixture
def cache(environment: dict[str, str], any_cache: OpenCache) -> Iterator[str]:
    """URL of the cache: the embedded one, running as if a gateway had started it, unless this run is on another."""
    with any_cache(Path(environment["TIERGATE_DATA_DIR"])) as url:
        if KIND is not Kind.SERVER:
            environment["TIERGATE_REDIS_URL"] = url
        yield url


class _Api(http.server.BaseHTTPRequestHandler):
    """Answers 200 with JSON; `?wait=1.5` takes so many seconds."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        wait_s = float(parse_qs(urlsplit(self.path).query).get("wait", ["0"])[0])
        if wait_s:
            self.server.waiting.set()  # type: ignore[attr-defined]  # our own attribute, see `upstream`
            time.sleep(wait_s)
        body = b'{"from": "upstream"}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[http.server.ThreadingHTTPServer]:
    """A real API behind the gateway."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    server.daemon_threads = True
    server.waiting = threading.Event()  # type: ignore[attr-defined]  # set when a slow call has arrived
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def upstream(api: http.server.ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{api.server_address[1]}"


@dataclass(frozen=True)
class Sandbox:
    """A running Stripe simulator with the example's prices."""

    url: str
    key: str

    def post(self, path: str, **form: str) -> dict[str, Any]:
        """Call it as Stripe's API."""
        response = httpx.post(self.url + path, data=form, headers={"authorization": f"Bearer {self.key}"}, timeout=30)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    def destination(self, url: str, *types: str, payload: str = "thin") -> str:
        """A new event destination. Returns its id."""
        body = {
            "name": "by hand",
            "type": "webhook_endpoint",
            "event_payload": payload,
            "enabled_events": types,
            "webhook_endpoint": {"url": url},
        }
        headers = {"authorization": f"Bearer {self.key}"}
        response = httpx.post(f"{self.url}/v2/core/event_destinations", json=body, headers=headers, timeout=30)
        made: str = response.raise_for_status().json()["id"]
        return made

    def destinations(self) -> dict[str, dict[str, Any]]:
        """Event destinations by id."""
        response = httpx.get(
            f"{self.url}/v2/core/event_destinations?include[0]=webhook_endpoint.url&limit=100",
            headers={"authorization": f"Bearer {self.key}"},
            timeout=30,
        )
        return {one["id"]: one for one in response.raise_for_status().json()["data"]}

    def disable(self, destination_id: str) -> None:
        """Have nothing sent to an event destination."""
        url = f"{self.url}/v2/core/event_destinations/{destination_id}/disable"
        httpx.post(url, headers={"authorization": f"Bearer {self.key}"}, timeout=30).raise_for_status()

    def subscribe(self, price: str = "price_pro_monthly") -> str:
        """A new Stripe customer with a paid subscription. Returns its id."""
        customer = self.post(
            "/v1/customers",
            payment_method="pm_card_visa",
            **{"invoice_settings[default_payment_method]": "pm_card_visa"},
        )["id"]
        self.post("/v1/subscriptions", customer=customer, **{"items[0][price]": price})
        return str(customer)


@pytest.fixture
def sandbox(environment: dict[str, str]) -> Iterator[Sandbox]:
    """The simulator; the test's settings lead to it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway.sandbox", "--seed"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        told = json.loads(process.stdout.readline())
        environment["TIERGATE_STRIPE_URL"] = told["stripe_url"]
        environment["STRIPE_SECRET_KEY"] = told["key"]
        yield Sandbox(told["stripe_url"], told["key"])
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        process.stdout.close()


@dataclass
class Served:
    """A `tiergate serve` process, with its log."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def url(self) -> str:
        return str(self.wait_for("gateway serves")["url"])

    def events(self, name: str) -> list[dict[str, Any]]:
        """Log events of that name so far."""
        parsed = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [event for event in parsed if event.get("event") == name]

    def wait_for(self, name: str, count: int = 1) -> dict[str, Any]:
        """The last of the first `count` log events of that name."""
        wait_until(lambda: len(self.events(name)) >= count or self.process.poll() is not None, self.log)
        assert len(self.events(name)) >= count, self.log()
        return self.events(name)[count - 1]

    def call(self, key: str, path: str = "/v1/echo", **options: Any) -> httpx.Response:
        """One call of the sold API on a connection of its own."""
        return httpx.get(self.url + path, headers={"x-api-key": key}, timeout=PATIENCE_S, **options)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end. Returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def end(self) -> None:
        """Stop it if it runs, and close what was open."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(PATIENCE_S)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def log(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def serve(environment: dict[str, str], tmp_path: Path, any_cache: OpenCache) -> Iterator[Callable[..., Served]]:
    """Starts gateways; those that a test leaves running are stopped. Each has the embedded cache, or the run's."""
    started: list[Served] = []
    if KIND is not Kind.SERVER:
        with any_cache(tmp_path) as url:
            environment["TIERGATE_REDIS_URL"] = url

    def start(*arguments: str, **settings: str) -> Served:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve", *arguments],
            env={**environment, **settings},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        served = Served(process)
        started.append(served)
        return served

    yield start
    for served in started:
        served.end()


def wait_until(holds: Callable[[], object], explain: Callable[[], str] = str) -> None:
    """Poll until something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s\n{explain()}"
        time.sleep(0.05)
