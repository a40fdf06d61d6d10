"""The gateway under each server: whole processes, with a real cache and ledger."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.ports import free_port
from tests.conformance.impatient import SHORT_S
from tests.fakes.serving import serving

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
    own = {"TIERGATE_UPSTREAM_URL": upstream_url}
    command = [sys.executable, *COMMANDS[server], "--port", str(port), _IMPATIENT_APP if impatient else _APP]
    if impatient:
        own |= _SHORT
        command += _SHORT_OPTIONS.get(server, ())
    env, folder = inherited | world | own, Path(world["TIERGATE_DATA_DIR"])
    with serving(command, env, port=port, folder=folder, log=log, user_id=f"{server}-{port}") as served:
        yield Gateway(port=port, customer_id=served.customer_id, key=served.key)
