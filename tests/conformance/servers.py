"""The gateway under each server: whole processes, with a real cache and ledger."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.ports import free_port
from tests.conformance.impatient import SHORT_S

ROOT = Path(__file__).parent.parent.parent
ADMIN_TOKEN = "admin-0123456789abcdefghij"
START_S = 40.0
POLICY = """\
version: 1
default_tier: free
tiers:
  free:
    limits: [10_000 per second burst 100_000, 1_000_000 requests per billing period]
routes:
  - match: "* /**"
"""
MAX_BODY_BYTES = 100_000

_UVICORN = (
    "-m", "uvicorn", "--factory", "--host", "127.0.0.1",
    "--no-access-log", "--no-date-header", "--no-server-header", "--no-proxy-headers",
    "--timeout-graceful-shutdown", "1", "--timeout-keep-alive", "60",
)  # fmt: skip
_GRANIAN = (
    "-m", "granian", "--interface", "asgi", "--factory", "--host", "127.0.0.1", "--workers-kill-timeout", "2",
)  # fmt: skip
COMMANDS = {
    "ours": (
        *_UVICORN, "--http", "gateway.web.front:FrontProtocol", "--ws", "gateway.web.websocket_protocol:FrontWebSocket",
    ),
    "uvicorn-httptools": (*_UVICORN, "--http", "httptools"),
    "uvicorn-h11": (*_UVICORN, "--http", "h11"),
    "granian": _GRANIAN,
}  # fmt: skip
"""Stock servers run with what they default to: the suite is about what an operator gets."""

_APP, _IMPATIENT_APP = "gateway.app:create_app", "tests.conformance.impatient:create_app"
_SHORT = {
    "TIERGATE_UPSTREAM_IDLE_TIMEOUT_S": str(SHORT_S),
    "TIERGATE_UPSTREAM_FIRST_BYTE_TIMEOUT_S": str(SHORT_S),
}
_SHORT_OPTIONS = {"granian": ("--http1-header-read-timeout", str(int(SHORT_S * 1000)))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One running gateway."""

    port: int
    customer_id: str
    key: bytes


@contextmanager
def running(server: str, world: dict[str, str], upstream_url: str, *, impatient: bool = False) -> Iterator[Gateway]:
    """A gateway under that server, with a customer of its own."""
    port = free_port()
    log = Path(world["TIERGATE_DATA_DIR"]) / f"{server}-{port}.log"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TIERGATE_", "STRIPE_"))}
    own = {"TIERGATE_UPSTREAM_URL": upstream_url, "TIERGATE_PUBLIC_URL": f"http://127.0.0.1:{port}"}
    command = [sys.executable, *COMMANDS[server], "--port", str(port), _IMPATIENT_APP if impatient else _APP]
    if impatient:
        own |= _SHORT
        command += _SHORT_OPTIONS.get(server, ())
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=inherited | world | own | {"PYTHONPATH": str(ROOT)},
            cwd=world["TIERGATE_DATA_DIR"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _await_start(process, port, log)
        customer = _admin(port, "customers", {"user_id": f"{server}-{port}"})
        issued = _admin(port, f"customers/{customer['customer_id']}/keys", {})
        yield Gateway(port=port, customer_id=customer["customer_id"], key=issued["key"].encode())
    finally:
        _end(process)


def _await_start(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_tiergate/health", timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.03)
    raise AssertionError(log.read_text())


def _admin(port: int, path: str, body: dict[str, str]) -> dict[str, str]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/_tiergate/admin/{path}",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {ADMIN_TOKEN}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        told: dict[str, str] = json.load(answer)
        return told


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
