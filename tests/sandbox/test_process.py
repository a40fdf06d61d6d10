from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes import living

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "gateway.sandbox"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: str) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
        process = subprocess.Popen(
            [*COMMAND, "--clock-file", str(tmp_path / "a clock"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_it_prints_one_line_when_it_is_ready_and_serves_both(start: Any, tmp_path: Path) -> None:
    process, ready = start("--seed", "--run", "zz")
    assert set(ready) == {"stripe_url", "upstream_url", "key", "clock_file"}
    assert (tmp_path / "a clock").read_bytes() == bytes(8)
    headers = {"Authorization": f"Bearer {ready['key']}"}
    prices = httpx.get(f"{ready['stripe_url']}/v1/prices", headers=headers, timeout=60).json()["data"]
    assert {one["lookup_key"]: one["unit_amount"] for one in prices} == {
        "pro_monthly": 2900,
        "pro_yearly": 29_000,
        "enterprise_monthly": 49_900,
        "api_overage": None,
    }
    assert httpx.get(f"{ready['upstream_url']}/v1/echo", timeout=60).status_code == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert process.stdout.read() == b""


def test_it_ends_when_its_input_ends_if_told_so(start: Any) -> None:
    process, _ = start("--stop-at-stdin-end")
    process.stdin.close()
    assert process.wait(timeout=60) == 0
    process.stdin = None


def test_it_ends_when_its_parent_is_killed() -> None:
    script = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({COMMAND!r}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    while (left_behind := living({child})) and time.monotonic() < deadline:
        time.sleep(0.05)
    if left_behind:
        os.kill(child, signal.SIGKILL)
    assert not left_behind


@pytest.mark.parametrize("arguments", [["--host", "0.0.0.0"], ["--key", "sk_live_abc"]])
def test_it_refuses_what_is_not_safe_and_says_why(arguments: list[str]) -> None:
    ended = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("sandbox: ")
    assert "sk_live_abc" not in ended.stderr
    assert ended.stdout == ""
