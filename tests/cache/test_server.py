from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from gateway.cache import Cache, CacheServer, CacheServerError
from gateway.cache.server_socket import find_server
from tests.processes import descendants, living

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.not_on("cluster", because="is about the embedded server")]

PARENT = """
import sys, time
from pathlib import Path
from gateway.cache import CacheServer
server = CacheServer.start(Path(sys.argv[1]))
print(server.url, flush=True)
sys.stdin.read()
if "stop" in sys.argv:
    server.stop()
"""
REPOSITORY = Path(__file__).parents[2]


def pid_of(server: CacheServer) -> int | None:
    path = Path(unquote(urlsplit(server.url).path))
    return find_server(path, server._directory)


def wait_until(condition: object, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def on(url: str, *command: str) -> object:
    async def run() -> object:
        cache = await Cache.connect(url)
        try:
            return await cache._servers.client.execute_command(*command)
        finally:
            await cache.aclose()

    return asyncio.run(run())


@pytest.fixture
def parent(short_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(short_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline().startswith(b"unix:///")
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_server_answers_on_its_socket_only(short_dir: Path) -> None:
    with CacheServer.start(short_dir) as server:
        assert server.url == CacheServer.url_of(short_dir)
        assert server.is_owned
        assert server.is_running
        assert on(server.url, "PING")
        socket_path = Path(unquote(urlsplit(server.url).path))
        assert socket_path.stat().st_mode & 0o077 == 0
        assert socket_path.parent.stat().st_mode & 0o077 == 0
    assert not server.is_running


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("port", "0"),
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", ""),
        ("maxmemory-policy", "noeviction"),
        ("databases", "1"),
    ],
)
def test_the_server_runs_with_the_settings_that_the_design_needs(
    cache_server: CacheServer, setting: str, value: str
) -> None:
    assert on(cache_server.url, "CONFIG", "GET", setting) == [setting.encode(), value.encode()]


def test_a_restart_keeps_the_data(short_dir: Path) -> None:
    with CacheServer.start(short_dir) as server:
        on(server.url, "SET", "kept", "yes")
    with CacheServer.start(short_dir) as server:
        assert on(server.url, "GET", "kept") == b"yes"


def test_the_server_ends_when_its_parent_is_killed_and_the_data_is_on_disk(
    short_dir: Path, parent: subprocess.Popen[bytes]
) -> None:
    url = CacheServer.url_of(short_dir)
    on(url, "SET", "kept", "yes")
    family = descendants(parent.pid)
    assert len(family) == 3  # guardian, its watcher, the server
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not living(family))
    with CacheServer.start(short_dir) as server:
        assert on(server.url, "GET", "kept") == b"yes"


def test_who_starts_while_a_killed_parents_server_is_still_ending_waits_for_it(
    short_dir: Path, parent: subprocess.Popen[bytes]
) -> None:
    on(CacheServer.url_of(short_dir), "SET", "kept", "yes")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    with CacheServer.start(short_dir) as server:
        assert server.is_owned
        assert on(server.url, "GET", "kept") == b"yes"


def test_the_server_ends_when_its_parent_ends_without_stopping_it(parent: subprocess.Popen[bytes]) -> None:
    family = descendants(parent.pid)
    assert parent.stdin is not None
    parent.stdin.close()
    parent.wait()
    wait_until(lambda: not living(family))


def test_a_signal_to_the_terminals_process_group_does_not_reach_the_server(
    parent: subprocess.Popen[bytes],
) -> None:
    assert all(os.getpgid(pid) != os.getpgid(parent.pid) for pid in descendants(parent.pid))


@pytest.mark.usefixtures("parent")
def test_a_second_start_adopts_the_server_that_runs(short_dir: Path) -> None:
    second = CacheServer.start(short_dir)
    assert not second.is_owned
    assert on(second.url, "PING")
    second.stop()
    assert on(second.url, "PING"), "an adopted server is left alone"


def test_an_adopter_takes_over_when_the_owner_has_gone(short_dir: Path, parent: subprocess.Popen[bytes]) -> None:
    with CacheServer.start(short_dir) as second:
        url = second.url
        assert not second.ensure()
        on(url, "SET", "kept", "yes")
        parent.kill()
        parent.wait()
        wait_until(lambda: not second.is_running)
        assert second.ensure(asks=False), "an adopted one is asked in any case"
        assert second.is_owned
        assert (second.url, on(url, "GET", "kept")) == (url, b"yes")


def test_a_server_that_died_is_started_again_at_the_same_place(short_dir: Path) -> None:
    with CacheServer.start(short_dir) as server:
        url, pid = server.url, pid_of(server)
        on(url, "SET", "kept", "yes")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not server.is_running)
        assert server.ensure()
        assert server.url == url
        assert on(url, "GET", "kept") == b"yes"


def test_a_server_that_died_is_started_again_without_having_been_asked(short_dir: Path) -> None:
    with CacheServer.start(short_dir) as server:
        pid = pid_of(server)
        assert pid is not None
        assert not server.ensure(asks=False)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: server.ensure(asks=False))
        assert on(server.url, "PING")


def test_a_directory_whose_server_does_not_answer_is_refused_with_what_to_do(
    short_dir: Path, parent: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cache.server._TAKEOVER_S", 0.2)
    monkeypatch.setattr("gateway.cache.server_socket._ASK_S", 0.1)
    server_pid = pid_of(CacheServer.start(short_dir))
    assert server_pid is not None
    os.kill(server_pid, signal.SIGSTOP)
    try:
        with pytest.raises(CacheServerError) as refusal:
            CacheServer.start(short_dir)
    finally:
        os.kill(server_pid, signal.SIGCONT)
    assert str(short_dir) in str(refusal.value)
    assert f"pid {parent.pid}" in str(refusal.value)
    assert "TIERGATE_DATA_DIR" in str(refusal.value)


def test_leftovers_of_a_crash_are_no_obstacle(short_dir: Path) -> None:
    with CacheServer.start(short_dir):
        pass
    folder = short_dir / "cache"
    (folder / "cache.sock").write_text("stale")
    (folder / "owner.lock").write_text("4194304\n")
    with CacheServer.start(short_dir) as server:
        assert server.is_running


def test_a_path_too_long_for_a_socket_gets_a_short_private_one(short_dir: Path) -> None:
    deep = short_dir / ("d" * 120)
    with CacheServer.start(deep) as server:
        path = Path(unquote(urlsplit(server.url).path))
        assert len(os.fsencode(path)) <= 100
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert on(server.url, "PING")
        assert server.url == CacheServer.url_of(deep)
    assert not path.parent.exists()


def test_a_short_socket_directory_of_somebody_else_is_refused(short_dir: Path) -> None:
    deep = short_dir / ("e" * 120)
    folder = Path(unquote(urlsplit(CacheServer.url_of(deep)).path)).parent
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    try:
        with pytest.raises(CacheServerError, match="private"):
            CacheServer.start(deep)
    finally:
        folder.rmdir()


def test_any_characters_may_be_in_the_path(short_dir: Path) -> None:
    with CacheServer.start(short_dir / 'it\'s a "data" dir, 100% ü #1?') as server:
        on(server.url, "SET", "kept", "yes")
    with CacheServer.start(short_dir / 'it\'s a "data" dir, 100% ü #1?') as server:
        assert on(server.url, "GET", "kept") == b"yes"


def test_a_relative_path_is_the_same_directory(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(short_dir)
    with CacheServer.start(Path("data")) as server:
        assert server.url == CacheServer.url_of(short_dir / "data")


def test_a_failing_start_shows_the_servers_last_words(short_dir: Path) -> None:
    with CacheServer.start(short_dir) as server:
        for n in range(50):
            on(server.url, "SET", f"k{n}", "v" * 100)
    for file in (short_dir / "cache" / "appendonlydir").glob("*.incr.aof"):
        file.write_bytes(b"nonsense" + file.read_bytes())
    with pytest.raises(CacheServerError, match=r"ended while starting(.|\n)*Bad file format(.|\n)*ledger"):
        CacheServer.start(short_dir)
    with pytest.raises(CacheServerError, match="ended while starting"):
        CacheServer.start(short_dir)


def test_a_locale_that_is_not_installed_does_not_matter(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "xx_XX.UTF-8")
    with CacheServer.start(short_dir) as server:
        assert server.is_running


def test_two_that_start_at_once_share_one_server(short_dir: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PARENT, str(short_dir), "stop"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
        )
        for _ in range(3)
    ]
    try:
        urls = {process.stdout.readline() for process in processes if process.stdout is not None}
        assert len(urls) == 1
        families = [descendants(process.pid) for process in processes]
        assert sorted(map(len, families)) == [0, 0, 3]
    finally:
        for process in processes:
            process.communicate()
    assert not any(map(living, families))
