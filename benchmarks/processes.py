"""Processes that a run starts: their start, their CPU, their memory, their end.

CPU is user and system time of a whole tree of processes. Memory is PSS: what is theirs
alone, and their share of what they share; where the system does not tell it, USS.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.machine import on_cores

_START_S = 60.0
_STOP_S = 20.0
_POLL_S = 0.05
_LAST_LINES = 8


class NotMeasured(Exception):
    """A candidate or a part cannot be measured here. The message says why, and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A process and everything below it, but for those that are counted elsewhere."""

    root: int
    without: frozenset[int] = frozenset()
    beside: tuple[int, ...] = ()
    """Other processes that are counted like the root."""

    def processes(self) -> list[psutil.Process]:
        """Those that live now."""
        found: list[psutil.Process] = []
        for pid in (self.root, *self.beside):
            try:
                root = psutil.Process(pid)
                found += [one for one in (root, *root.children(recursive=True)) if one.pid not in self.without]
            except psutil.NoSuchProcess:
                raise NotMeasured(f"process {pid} has ended in mid-measurement") from None
        return found

    def cpu_s(self) -> float:
        """Seconds of CPU used so far."""
        return sum(self.cpu_s_each().values())

    def cpu_s_each(self) -> dict[int, float]:
        """As `cpu_s`, by process id."""
        used = {}
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                used[process.pid] = times.user + times.system
        return used

    def memory_bytes(self) -> int:
        """Memory held now."""
        held = 0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                facts = process.memory_full_info()
                held += getattr(facts, "pss", facts.uss)
        return held


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    *,
    cores: frozenset[int],
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: int | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """A process for as long as the context lasts; what it writes goes to `log`. The caller's own settings stay out."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TIERGATE_", "STRIPE_"))}
    with log.open("ab") as target, on_cores(cores):
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=target if stdout is None else stdout,
            stderr=target,
            env=inherited | dict(env or {}),
            cwd=cwd,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """TERM; what is left of its session after a while is killed."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def wait_until_ready(process: subprocess.Popen[str], port: int, log: Path, path: str | None = None) -> None:
    """Wait until it listens, and, if a path is given, answers 200 there.

    Raises:
        NotMeasured: It has ended, or takes too long; with its last words.
    """
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise NotMeasured(f"ended with code {process.returncode} at its start: {last_words(log)}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            if path is None:
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    return
            elif get(port, path).status == http.client.OK:
                return
        time.sleep(_POLL_S)
    raise NotMeasured(f"not ready after {_START_S:.0f} s: {last_words(log)}")


def last_words(log: Path) -> str:
    """The end of what a process wrote."""
    lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:] if log.exists() else []
    return " | ".join(lines) or "(it wrote nothing)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response, read whole."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def get(port: int, path: str, headers: Mapping[str, str] | None = None) -> Answer:
    """One GET on a connection of its own.

    Raises:
        OSError, http.client.HTTPException: No whole answer.
    """
    return fetch(port, "GET", path, headers)


def fetch(port: int, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
    """One request on a connection of its own.

    Raises:
        OSError, http.client.HTTPException: No whole answer.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body=body or None, headers=dict(headers or {}))
        response = connection.getresponse()
        return Answer(
            status=response.status,
            headers=tuple((name.lower(), value) for name, value in response.getheaders()),
            body=response.read(),
        )
    finally:
        connection.close()
