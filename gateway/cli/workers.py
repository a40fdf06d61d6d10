"""Who serves: this process, or several workers that it supervises.

One worker runs in this process. Several are children of a supervisor (`gateway.cli.supervisor`).

Signals: TERM and INT drain, a second INT forces, HUP reloads the policy. Exit codes: 0
drained, 1 the start failed, no worker is left, or the end was forced.
"""

from __future__ import annotations

import importlib.util
import os
import signal
from typing import TYPE_CHECKING

import uvicorn

from gateway.cli.listening import BACKLOG
from gateway.cli.supervisor import Supervisor
from gateway.core.upstream_policy import LARGEST_MESSAGE_BYTES
from gateway.supervised import PARENT_VARIABLE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    from gateway.settings import Settings

APP = "gateway.app:create_app"

PING_S, PONG_S = 20.0, 60.0
"""A caller of a WebSocket is pinged so often, and cut after so long without an answer. Together longer than it may
leave a message unread (`WebSocketLimits.stall_s`), or it would be cut without a word."""


def server_config(settings: Settings) -> uvicorn.Config:
    """How uvicorn serves: sockets, workers, signals. HTTP is the front's; forwarding fields and logs are the app's."""
    return uvicorn.Config(
        APP,
        factory=True,
        workers=settings.workers,
        http="gateway.web.front:FrontProtocol",
        loop="uvloop" if importlib.util.find_spec("uvloop") else "asyncio",
        ws="gateway.web.websocket_protocol:FrontWebSocket",
        ws_max_size=LARGEST_MESSAGE_BYTES,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PONG_S,
        ws_per_message_deflate=False,
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        date_header=False,  # the edge adds it where the upstream has not
        access_log=False,
        log_config=None,
        backlog=BACKLOG,
        timeout_graceful_shutdown=settings.shutdown_grace_s,
    )


def serve_here(config: uvicorn.Config, listener: socket.socket, announce: Callable[[], None]) -> int:
    """Serve in this process until a signal ends it. Returns the exit code."""
    _outlive_signals()
    server = _Server(config, announce)
    try:
        server.run(sockets=[listener])
    except SystemExit:  # uvicorn has logged why the app did not start
        return 1
    return 0 if server.started and not server.force_exit else 1


def serve_with_workers(config: uvicorn.Config, listener: socket.socket, announce: Callable[[], None]) -> int:
    """Supervise workers until a signal ends them. Returns the exit code."""
    supervisor = Supervisor(config, [listener], announce)
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    supervisor.run()
    return 1 if supervisor.failed or supervisor.forced else 0


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._announce()


def _outlive_signals() -> None:
    """Signals are raised again by uvicorn when it has drained, and the cache is still to be stopped then.

    And a SIGHUP before the app listens for it must not end the process.
    """

    def carry_on(_number: int, _frame: FrameType | None) -> None:
        pass

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, carry_on)
