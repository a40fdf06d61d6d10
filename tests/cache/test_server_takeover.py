"""Who may start a server on a directory while another ends there, at every step that can be held still.

A killed parent leaves three processes: the guardian, its watcher and the server. Each is stopped
or killed at the moment that matters; nothing here depends on who is quicker.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from gateway.cache import CacheServer, CacheServerError
from gateway.cache.server import _is_locked
from tests.processes import descendants, living, program

if TYPE_CHECKING:
    from collections.abc import Iterator

# Files that are open before decide which number the lock's gets.
pytestmark = [pytest.mark.slow, pytest.mark.not_on("cluster", because="is about the embedded server")]

PARENT = """
import os, sys
from pathlib import Path
from gateway.cache import CacheServer
held = [os.open(os.devnull, os.O_RDONLY) for _ in range(int(sys.argv[2]))]
server = CacheServer.start(Path(sys.argv[1]))
print(server.url, flush=True)
sys.stdin.read()
"""
REPOSITORY = Path(__file__).parents[2]
_POLL_S = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A parent and what it started on a directory."""

    parent: subprocess.Popen[bytes]
    guardian: int
    watcher: int
    server: int

    def kill_parent(self) -> None:
        self.parent.kill()
        self.parent.wait()


@contextmanager
def parent_on(directory: Path, held: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(directory), str(held)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def family_on(directory: Path, held: int = 0) -> Iterator[Family]:
    with parent_on(directory, held) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith(b"unix:///")
        everyone = descendants(parent.pid)
        (guardian,) = (child.pid for child in psutil.Process(parent.pid).children())
        (server,) = (pid for pid in everyone if program(pid) == "valkey-server")
        (watcher,) = everyone - {guardian, server}
        try:
            yield Family(parent=parent, guardian=guardian, watcher=watcher, server=server)
        finally:
            for pid in living(everyone):
                with suppress(ProcessLookupError):  # one ends as another does
                    os.kill(pid, signal.SIGCONT)
                    os.kill(pid, signal.SIGKILL)


def until_ended(*pids: int) -> None:
    """Until none of them runs any more; one that its parent has not asked for has ended too."""
    while living(set(pids)):
        time.sleep(_POLL_S)


def until_free(lock: Path) -> None:
    """Until nobody holds it. The last threads of a process hold its files for a moment after it counts as ended."""
    while _is_locked(lock):
        time.sleep(_POLL_S)


@pytest.mark.parametrize("held", [0, 1, 2, 6, 7, 8])
def test_a_directory_is_locked_until_its_server_has_ended_whatever_files_its_parent_had_open(
    short_dir: Path, held: int
) -> None:
    with family_on(short_dir, held) as family:
        os.kill(family.server, signal.SIGSTOP)
        family.kill_parent()
        assert _is_locked(short_dir / "cache" / "server.lock")
        with ThreadPoolExecutor(1) as thread:
            start = thread.submit(CacheServer.start, short_dir)
            os.kill(family.server, signal.SIGCONT)
            with start.result() as server:
                assert server.is_owned
                until_ended(family.server, family.watcher, family.guardian)
                assert server.is_running, "the one that ended took its own socket with it, not this one"


def test_a_guardian_that_has_not_noticed_yet_does_not_hold_up_the_next_start(short_dir: Path) -> None:
    with family_on(short_dir) as family:
        os.kill(family.guardian, signal.SIGSTOP)
        family.kill_parent()
        until_ended(family.server)
        until_free(short_dir / "cache" / "server.lock")
        with CacheServer.start(short_dir) as server:
            os.kill(family.guardian, signal.SIGCONT)
            until_ended(family.guardian, family.watcher)
            assert server.is_running


def test_a_watcher_that_has_not_noticed_yet_holds_up_the_next_start_until_it_has(short_dir: Path) -> None:
    with family_on(short_dir) as family, ThreadPoolExecutor(1) as thread:
        os.kill(family.watcher, signal.SIGSTOP)
        family.kill_parent()
        assert _is_locked(short_dir / "cache" / "server.lock")
        start = thread.submit(CacheServer.start, short_dir)
        os.kill(family.watcher, signal.SIGCONT)
        with start.result() as server:
            assert server.is_owned
            assert server.is_running


def test_a_server_whose_guardian_was_killed_before_its_parent_is_ended_by_the_watcher(short_dir: Path) -> None:
    with family_on(short_dir) as family:
        os.kill(family.guardian, signal.SIGKILL)
        family.kill_parent()
        with CacheServer.start(short_dir) as server:
            assert server.is_owned
            assert not living({family.server})


def test_a_parent_whose_guardian_was_killed_starts_both_again(short_dir: Path) -> None:
    with CacheServer.start(short_dir) as server:
        assert server._guardian is not None
        guardian = server._guardian.pid
        (ended,) = (pid for pid in descendants(guardian) if program(pid) == "valkey-server")
        os.kill(guardian, signal.SIGKILL)
        until_ended(guardian)
        assert server.ensure()
        assert server.is_owned
        assert not living({ended})


def test_a_server_that_nobody_is_left_to_end_is_named_with_what_to_do(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cache.server._TAKEOVER_S", 0.2)
    with family_on(short_dir) as family:
        os.kill(family.watcher, signal.SIGKILL)
        family.kill_parent()
        with pytest.raises(CacheServerError, match=f"`kill {family.server}`"):
            CacheServer.start(short_dir)
        os.kill(family.server, signal.SIGTERM)
        until_ended(family.server)
        with CacheServer.start(short_dir) as server:
            assert server.is_owned


def test_everybody_killed_at_once_leaves_no_obstacle(short_dir: Path) -> None:
    with family_on(short_dir) as family:
        for pid in (family.watcher, family.guardian, family.server, family.parent.pid):
            os.kill(pid, signal.SIGKILL)
        until_ended(family.server, family.parent.pid)
        with CacheServer.start(short_dir) as server:
            assert server.is_owned


def test_a_parent_that_is_stopped_still_owns_its_server(short_dir: Path) -> None:
    with family_on(short_dir) as family:
        os.kill(family.parent.pid, signal.SIGSTOP)
        server = CacheServer.start(short_dir)
        assert not server.is_owned
        assert server.is_running


@pytest.mark.parametrize("children", [1, 2, 3])
def test_a_parent_killed_while_its_server_starts_leaves_the_directory_to_the_next(
    short_dir: Path, children: int
) -> None:
    with parent_on(short_dir) as parent:
        while len(family := descendants(parent.pid)) < children:
            time.sleep(_POLL_S)
        parent.kill()
        parent.wait()
        with CacheServer.start(short_dir) as server:
            assert server.is_owned
            until_ended(*family)
            assert server.is_running


def test_who_only_looks_whether_there_is_an_owner_is_not_taken_for_one(short_dir: Path) -> None:
    with CacheServer.start(short_dir):
        pass
    with (short_dir / "cache" / "owner.lock").open() as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)
        assert not _is_locked(short_dir / "cache" / "owner.lock")
