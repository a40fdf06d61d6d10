"""Several workers under one parent: uvicorn's supervisor, with our own rules for life and death.

A worker that dies is replaced at once. A replacement that fails to start is tried again after a
pause, which doubles from 1 s to 30 s while it keeps failing; the others serve meanwhile. If none is
left and none has started in five tries, the gateway ends, and whoever started it may know better.

SIGHUP reaches the workers, which reload their policy, instead of replacing them; a worker that
fails before all are ready ends the start; a second SIGINT ends the draining; and nobody waits
longer than the grace.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from gateway.supervised import parent_pid, run_directory
from gateway.telemetry import fold_worker

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    import uvicorn

log = structlog.get_logger(__name__)

_START_LIMIT_S = 60.0
_POLL_S = 0.05
_ANSWER_S = 0.5
"""A worker that has just been started answers when it has been imported: asking more often only piles up answers."""
_AFTER_GRACE_S = 10.0
"""Beyond the grace: the last settlement, and closing what is open."""
_AFTER_FORCE_S = 3.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_FAILED_STARTS = 5
"""In a row, of every worker: more is not tried while nobody serves and callers wait."""


@dataclass(slots=True)
class _Life:
    """What is known of one worker's process. Instants are monotonic seconds."""

    started_at: float
    failed_before: int
    """Starts in a row that failed before this one."""
    has_served: bool = False
    is_buried: bool = False
    """It has ended, and that has been seen to."""
    replace_at: float = 0.0


class Worker(Process):
    """A worker's process whose readiness is seen.

    uvicorn makes its server when it is first asked for, which is at once by the thread that answers the parent and by
    the one that serves: each could make one, and the parent would wait for the one that never serves.
    """

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """In the child: make the server, then answer and serve."""
        _ = self.server
        super().target(sockets)


class Supervisor(Multiprocess):
    """Starts workers, keeps them going and ends them.

    Args:
        config: How each worker serves.
        sockets: Where they listen.
        announce: Called when all are ready.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], announce: Callable[[], None]) -> None:
        super().__init__(config, sockets)
        self._announce = announce
        self._watched_parent = parent_pid()
        self._lives: dict[Process, _Life] = {}
        self.failed = False
        """It ended because the workers did not start, or because none is left."""
        self.forced = False
        """It ended before it had drained."""

    def init_processes(self) -> None:
        """Start all workers, and announce the service when every one of them is ready."""
        self.processes = [self._start(failed_before=0) for _ in range(self.processes_num)]
        waiting = list(self.processes)
        deadline = time.monotonic() + _START_LIMIT_S
        while waiting and not self.should_exit.wait(_POLL_S):
            self.handle_signals()
            self._watch_parent()
            if time.monotonic() > deadline or not all(worker.process.is_alive() for worker in waiting):
                log.error("a worker did not start, so the gateway stops")
                self._fail()
            waiting = [worker for worker in waiting if not self._is_ready(worker)]
        if not self.should_exit.is_set():
            self._announce()

    def keep_subprocess_alive(self) -> None:
        """Replace the dead; but if whoever started this process told it to watch, and has gone, drain."""
        self._watch_parent()
        for index, worker in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            life = self._lives[worker]
            if not life.is_buried and not self._lives_on(worker, life):
                self._bury(worker, life)
            if life.is_buried and time.monotonic() >= life.replace_at:
                del self._lives[worker]
                self.processes[index] = self._start(failed_before=life.failed_before)
        if all(life.is_buried and life.failed_before >= _FAILED_STARTS for life in self._lives.values()):
            log.error("no worker is left, and none can start; the gateway stops")
            self._fail()

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
        """Every worker that serves reloads its policy; one that is starting takes the new one when it watches."""
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

    def handle_ttin(self) -> None:
        """One worker more."""
        self.processes_num += 1
        self.processes.append(self._start(failed_before=0))

    def handle_ttou(self) -> None:
        """One worker less, but never none."""
        super().handle_ttou()
        self._lives = {worker: self._lives[worker] for worker in self.processes}

    def _start(self, *, failed_before: int) -> Process:
        worker = Worker(self.config, self.sockets)
        worker.start()
        self._lives[worker] = _Life(started_at=time.monotonic(), failed_before=failed_before)
        return worker

    def _is_ready(self, worker: Process) -> bool:
        life = self._lives[worker]
        if not life.has_served and worker.is_ready(_ANSWER_S):
            life.has_served, life.failed_before = True, 0
        return life.has_served

    def _lives_on(self, worker: Process, life: _Life) -> bool:
        """Whether it serves, or may still come to."""
        if not worker.process.is_alive():
            return False
        if self._is_ready(worker):
            return worker.ping(self.config.timeout_worker_healthcheck)
        return time.monotonic() - life.started_at < _START_LIMIT_S

    def _bury(self, worker: Process, life: _Life) -> None:
        """End what may hang, keep what it has counted, and say when another takes its place."""
        worker.kill()
        worker.join()
        life.is_buried = True
        run = run_directory()
        if run is not None and worker.pid is not None:
            try:
                fold_worker(run, worker.pid)
            except (OSError, RuntimeError) as error:
                log.warning("the metrics of a dead worker are lost", worker=worker.pid, reason=str(error))
        if life.has_served:
            log.warning("a worker died and is replaced", worker=worker.pid, exit_code=worker.exitcode)
            return
        pause_s = min(_FIRST_PAUSE_S * 2.0**life.failed_before, _LONGEST_PAUSE_S)
        life.failed_before += 1
        life.replace_at = time.monotonic() + pause_s
        log.error(
            "a worker could not start; it is tried again",
            worker=worker.pid,
            exit_code=worker.exitcode,
            failed_starts=life.failed_before,
            pause_s=pause_s,
        )

    def _watch_parent(self) -> None:
        if self._watched_parent is not None and os.getppid() != self._watched_parent and not self.should_exit.is_set():
            log.warning("the parent process has gone; stopping")
            self.should_exit.set()

    def _fail(self) -> None:
        self.failed = True
        self.should_exit.set()


def _signal(worker: Process, number: int) -> None:
    if worker.pid is not None:
        os.kill(worker.pid, number)
