"""Uploads in the benchmarks: read whole by the API behind the candidates, sent whole by the load generators."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess

import pytest

from benchmarks.candidate import Running, write_keys
from benchmarks.ground import Ground, find_nginx, our_python
from benchmarks.load import Pressure, press
from benchmarks.machine import choose_cores
from benchmarks.processes import fetch
from benchmarks.rounds import check_answers
from benchmarks.upstream import running_own_upstream, running_upstream
from benchmarks.upstream_server import UPLOADS
from tests.optional import not_tested

PATH, SIZE = next(iter(UPLOADS.items()))
TOO_EARLY_S = 0.3


@pytest.fixture
def ground(tmp_path):
    return Ground(directory=tmp_path, cores=choose_cores())


@pytest.fixture(params=["own", "nginx"])
def api(request, ground):
    if request.param == "nginx" and find_nginx() is None:
        not_tested("uploads to nginx", "it is not installed (Debian: apt-get install nginx)")
    starts = running_own_upstream if request.param == "own" else running_upstream
    with starts(ground) as port:
        yield port


def test_an_upload_is_answered_only_when_all_of_it_has_come(api):
    with socket.create_connection(("127.0.0.1", api), timeout=TOO_EARLY_S) as connection:
        connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: api\r\nContent-Length: {SIZE}\r\n\r\n".encode())
        connection.settimeout(30)
        connection.sendall(b"x" * (SIZE - 1))
        connection.settimeout(TOO_EARLY_S)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(30)
        connection.sendall(b"x")
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_an_upload_that_lost_a_byte_is_no_good_answer(api):
    answer = fetch(api, "POST", PATH, body=b"x" * (SIZE - 1))
    assert (answer.status, answer.body) != (200, b'{"received":%d}' % SIZE)


def test_an_answer_after_an_upload_is_checked_as_any_other(api, tmp_path):
    check_answers(Running(port=api, key_file=write_keys(tmp_path, ("none",))), PATH)


def test_what_follows_an_upload_on_its_connection_is_answered_too(api):
    with socket.create_connection(("127.0.0.1", api), timeout=30) as connection:
        connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: api\r\nContent-Length: {SIZE}\r\n\r\n".encode())
        connection.sendall(b"x" * SIZE + b"GET /v1/1kb HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n")
        told = b"".join(iter(lambda: connection.recv(65536), b""))
    assert told.count(b"HTTP/1.1 200") == 2
    assert told.endswith(b'x"}')


def test_our_generator_sends_uploads(api, tmp_path):
    keys = write_keys(tmp_path, ("one",))
    command = our_python("benchmarks.generator", str(api), PATH, str(keys), "2", "1", "0", "keep")
    told = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True).stdout
    figures = json.loads(told.removeprefix("FIGURES"))
    assert figures["errors"] == 0
    assert figures["requests"] > 0


def test_wrk_sends_uploads(api, tmp_path):
    if shutil.which("wrk") is None:
        not_tested("uploads by wrk", "it is not installed (Debian: apt-get install wrk)")
    running = Running(port=api, key_file=write_keys(tmp_path, ("one",)))
    load = press(running, Pressure(path=PATH, connections=2, seconds=1), choose_cores().others)
    assert load.errors == 0
    assert load.requests > 0
