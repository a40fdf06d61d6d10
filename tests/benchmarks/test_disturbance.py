"""Who else used the machine: other programs are seen, the run's own are not taken for others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from benchmarks.machine import Disturbance, other_processes

BUSY_S = 1.0
BURN = f"""
import time
while time.process_time() < {BUSY_S}:
    pass
print("done", flush=True)
time.sleep(300)
"""
ABANDON = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {BURN!r}], start_new_session=True)
print(child.pid, flush=True)
"""


@pytest.fixture
def stranger():
    """A process that is not below this one. It burns a second of CPU, says so, and stays."""
    with subprocess.Popen([sys.executable, "-c", ABANDON], stdout=subprocess.PIPE, text=True) as starter:
        pid = int(starter.stdout.readline())
        yield pid, starter.stdout
        os.kill(pid, signal.SIGKILL)


def test_what_another_program_takes_is_a_share_of_all_cores(stranger):
    pid, told = stranger
    started, disturbance = time.monotonic(), Disturbance.start()
    before_s = sum(psutil.Process(pid).cpu_times()[:2])
    assert told.readline() == "done\n"
    taken_s = disturbance.share() * (time.monotonic() - started) * os.cpu_count()
    assert taken_s >= (BUSY_S - before_s) * 0.9


def test_no_process_of_the_run_counts_as_another():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        others = {process.pid for process in other_processes()}
        child.communicate(b"\n")
    assert os.getpid() not in others
    assert child.pid not in others
