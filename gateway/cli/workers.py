"""Who serves: this process, or several workers that it supervises.

One worker runs in this process. Several are started by uvicorn's supervisor, which replaces
one that dies. It is changed in four ways: SIGHUP reaches the workers, which reload their
policy, instead of replacing them; a worker that fails before all are ready ends the start; a
second SIGINT ends the draining; and nobody waits longer than the grace.

Signals: TERM and INT drain, a second INT forces, HUP reloads the policy. Exit codes: 0
drained, 1 the start failed or the end was forced.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from typing import TYPE_CHECKING

import structlog
import uvicorn
from uvicorn.supervisors import Multiprocess

from gateway.cli.listening import BACKLOG

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    from uvicorn.supervisors.multiprocess import Process

    from gateway.settings import Settings

log = structlog.get_logger(__name__)

APP = "gateway.app:create_app"
PARENT_VARIABLE = "_TIERGATE_PARENT_PID"
"""As in `gateway.app`, which a supervisor does not import: it would double what it needs to start."""
KEEP_ALIVE_S = 75
"""Longer than the idle time of common load balancers (60 s), so that it is they who close."""

_START_LIMIT_S = 60.0
_POLL_S = 0.05
_ANSWER_S = 0.5
"""A worker that has just been started answers when it has been imported: asking more often only piles up answers."""
_AFTER_GRACE_S = 10.0
"""Beyond the grace: the last settlement, and closing what is open."""
_AFTER_FORCE_S = 3.0


def server_config(settings: Settings) -> uvicorn.Config:
    """How uvicorn serves. It only speaks HTTP here: forwarding headers and logs are the app's."""
    return uvicorn.Config(
        APP,
        factory=True,
        workers=settings.workers,
        http="gateway.web.http_protocol:FrontProtocol",
        loop="uvloop" if importlib.util.find_spec("uvloop") else "asyncio",
        ws="none",
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        date_header=False,  # the edge adds it where the upstream has not
        access_log=False,
        log_config=None,
        backlog=BACKLOG,
        timeout_graceful_shutdown=settings.shutdown_grace_s,
        timeout_keep_alive=KEEP_ALIVE_S,
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
    watched = os.environ.get(PARENT_VARIABLE)
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    supervisor = _Supervisor(config, [listener], announce, None if watched is None else int(watched))
    supervisor.run()
    return 1 if supervisor.start_failed or supervisor.forced else 0


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._announce()


class _Supervisor(Multiprocess):
    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        announce: Callable[[], None],
        watched_parent: int | None,
    ) -> None:
        super().__init__(config, sockets)
        self._watched_parent = watched_parent
        self._announce = announce
        self.start_failed = False
        self.forced = False

    def init_processes(self) -> None:
        """Start all workers, and announce the service when every one of them is ready."""
        super().init_processes()
        waiting = list(self.processes)
        deadline = time.monotonic() + _START_LIMIT_S
        while waiting and not self.should_exit.wait(_POLL_S):
            self.handle_signals()
            if time.monotonic() > deadline or not all(worker.process.is_alive() for worker in waiting):
                log.error("a worker did not start, so the gateway stops")
                self.start_failed = True
                self.should_exit.set()
            waiting = [worker for worker in waiting if not worker.is_ready(_ANSWER_S)]
        if not self.should_exit.is_set():
            self._announce()

    def keep_subprocess_alive(self) -> None:
        """Replace dead workers; but if whoever started this process told it to watch, and has gone, drain."""
        if self._watched_parent is not None and os.getppid() != self._watched_parent:
            log.warning("the parent process has gone; stopping")
            self.should_exit.set()
        super().keep_subprocess_alive()

    def terminate_all(self) -> None:
        """No new connection is taken once every worker has closed its copy of the socket: ours must not stay."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

    def join_all(self) -> None:
        """Wait for the workers to drain; not for ever."""
        deadline = time.monotonic() + (self.config.timeout_graceful_shutdown or 0) + _AFTER_GRACE_S
        while alive := [worker for worker in self.processes if worker.process.is_alive()]:
            self.handle_signals()
            if self.forced:
                deadline = min(deadline, time.monotonic() + _AFTER_FORCE_S)
            if time.monotonic() > deadline:
                log.error("workers did not end in time and are killed", workers=[worker.pid for worker in alive])
                for worker in alive:
                    worker.process.kill()
            alive[0].process.join(_POLL_S)

    def handle_hup(self) -> None:
        """Every worker that serves reloads its policy; one that is starting reads the new one anyway."""
        log.info("reloading the policy in every worker")
        for worker in self.processes:
            if worker.process.is_alive() and worker.is_ready(1.0):
                _signal(worker, signal.SIGHUP)

    def handle_int(self) -> None:
        """Drain; the second time, stop draining."""
        if not self.should_exit.is_set():
            super().handle_int()
            return
        self.forced = True
        for worker in self.processes:
            if worker.process.is_alive():
                _signal(worker, signal.SIGINT)


def _signal(worker: Process, number: int) -> None:
    if worker.pid is not None:
        os.kill(worker.pid, number)


def _outlive_signals() -> None:
    """Signals are raised again by uvicorn when it has drained, and the cache is still to be stopped then.

    And a SIGHUP before the app listens for it must not end the process.
    """

    def carry_on(_number: int, _frame: FrameType | None) -> None:
        pass

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, carry_on)
