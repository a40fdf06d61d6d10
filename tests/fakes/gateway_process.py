"""A whole gateway in a process of its own, with a cache, a ledger and one customer with a key."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.ports import free_port
from gateway.ledger import migrate
from tests.caches import opened_cache

ROOT = Path(__file__).parent.parent.parent
ADMIN_TOKEN = "admin-0123456789abcdefghij"
_START_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """It runs."""

    port: int
    customer_id: str
    key: bytes
    log: Path
    process: subprocess.Popen[bytes]
    cache_url: str
    ledger_file: Path


def policy_of(patterns: tuple[str, ...]) -> str:
    """A policy with those routes and no limits."""
    routes = "".join(f"  - match: {json.dumps(pattern)}\n" for pattern in patterns)
    return f"version: 1\ndefault_tier: plain\ntiers:\n  plain:\n    limits: unlimited\nplans: {{}}\nroutes:\n{routes}"


@contextmanager
def running_gateway(
    upstream_port: int,
    patterns: tuple[str, ...] = (),
    *,
    policy: str | None = None,
    workers: int | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Gateway]:
    """A gateway before an upstream on loopback.

    Args:
        upstream_port: Where calls go.
        patterns: Of a policy without limits.
        policy: The whole policy instead.
        workers: Processes under `tiergate serve`. None: one, under uvicorn's own command.
        settings: Environment variables beside the usual ones.
    """
    folder = Path(tempfile.mkdtemp(prefix="tg"))
    ledger_url = f"sqlite:///{folder / 'ledger.sqlite3'}"
    migrate(ledger_url)
    policies = folder / "policies"
    policies.mkdir()
    (policies / "policy.yaml").write_text(policy_of(patterns) if policy is None else policy)
    try:
        with opened_cache(folder) as cache_url:
            env = _environment(folder, cache_url, ledger_url, upstream_port) | dict(settings or {})
            with _process(folder, env, workers) as gateway:
                yield gateway
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment(folder: Path, cache_url: str, ledger_url: str, upstream_port: int) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TIERGATE_", "STRIPE_"))}
    return inherited | {
        "PYTHONPATH": str(ROOT),
        "STRIPE_SECRET_KEY": "sk_test_0123456789abcdefghijklmn",
        "STRIPE_WEBHOOK_SECRET": "whsec_0123456789abcdefghijklmnopqrstuv",
        "TIERGATE_STRIPE_URL": "http://127.0.0.1:9",  # nothing is billed here
        "TIERGATE_KEY_PEPPER": "a-pepper-that-is-long-enough-for-tests",
        "TIERGATE_ADMIN_TOKEN": ADMIN_TOKEN,
        "TIERGATE_SERVER_TOKEN": "server-0123456789abcdefghij",
        "TIERGATE_REDIS_URL": cache_url,
        "TIERGATE_LEDGER_URL": ledger_url,
        "TIERGATE_DATA_DIR": str(folder),
        "TIERGATE_POLICY_DIR": str(folder / "policies"),
        "TIERGATE_UPSTREAM_URL": f"http://127.0.0.1:{upstream_port}",
        "TIERGATE_CACHE_DEADLINE_MS": "5000",
        "TIERGATE_MAX_BODY_BYTES": "1000000",
        "TIERGATE_SHUTDOWN_GRACE_S": "1",
        "TIERGATE_DECISION_LOG": "none",
        "TIERGATE_LOG_LEVEL": "warning",
    }


@contextmanager
def _process(folder: Path, env: Mapping[str, str], workers: int | None) -> Iterator[Gateway]:
    port = free_port()
    log = folder / "gateway.log"
    if workers is None:
        command = [
            *(sys.executable, "-m", "uvicorn", "--factory", "gateway.app:create_app", "--host", "127.0.0.1", "--port"),
            *(str(port), "--http", "gateway.web.front:FrontProtocol", "--no-access-log"),
            *("--no-date-header", "--no-server-header", "--no-proxy-headers", "--timeout-graceful-shutdown", "1"),
            *("--log-level", "warning", "--ws", "gateway.web.websocket_protocol:FrontWebSocket"),
        ]
    else:
        command = [sys.executable, "-m", "gateway.cli", "serve", "--port", str(port), "--workers", str(workers)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**env, "TIERGATE_PUBLIC_URL": f"http://127.0.0.1:{port}"},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _await_start(process, port, log)
        customer = _ask(port, "admin/customers", {"user_id": "fuzz"})
        issued = _ask(port, f"admin/customers/{customer['customer_id']}/keys", {})
        yield Gateway(
            port=port,
            customer_id=customer["customer_id"],
            key=issued["key"].encode(),
            log=log,
            process=process,
            cache_url=env["TIERGATE_REDIS_URL"],
            ledger_file=folder / "ledger.sqlite3",
        )
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_start(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_tiergate/health", timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.03)
    raise AssertionError(log.read_text())


def _ask(port: int, path: str, body: dict[str, str]) -> dict[str, str]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/_tiergate/{path}",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {ADMIN_TOKEN}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        told: dict[str, str] = json.load(answer)
        return told
