"""The request cases of two tools called h1spec, against a running gateway."""

from __future__ import annotations

import re
import socket
from urllib.parse import urlsplit

import pytest

from tests.judges.h1spec_cases import CASES, KEY, Case

pytestmark = pytest.mark.judge

PATIENCE_S = 5.0
SILENT_S = 0.5
"""As long as the first tool watches a server that has to go on waiting."""
_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n")
_LENGTH = re.compile(rb"content-length: (\d+)\r\n", re.IGNORECASE)

ANSWERED = {
    "d: an absolute target": 400,
    "d: OPTIONS *": 400,
}
"""Cases answered otherwise than the tool wants, with our status; docs/judges.md says why."""


class Talk:
    """One connection, and what has come on it."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._came = b""

    def say(self, data: bytes) -> None:
        self._socket.sendall(data)

    def status(self, *, no_body: bool = False) -> int:
        """Of the next answer, which is read whole."""
        while (head := _HEAD.match(self._came)) is None:
            assert self._more(), f"no answer, but {self._came!r}"
        self._came = self._came[head.end() :]
        status = int(head[1])
        length = _LENGTH.search(head[0])
        if length is not None and not no_body:
            while len(self._came) < int(length[1]):
                assert self._more(), "the answer breaks off"
            self._came = self._came[int(length[1]) :]
        return status

    def is_silent(self) -> bool:
        """Whether nothing comes for a while, not even the end."""
        self._socket.settimeout(SILENT_S)
        try:
            self._more()
        except TimeoutError:
            return True
        return False

    def has_ended(self) -> bool:
        """Whether nothing but the end comes."""
        return not self._came and not self._more()

    def _more(self) -> bool:
        data = self._socket.recv(65_536)
        self._came += data
        return bool(data)


def play(port: int, key: str, case: Case) -> int | None:
    """The first final status, after everything else that the case wants was seen."""
    line = KEY.replace(b"<key>", key.encode())
    after = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + line + b"Connection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
        talk = Talk(sock)
        talk.say(case.sends.replace(KEY, line))
        if not case.wants:
            assert talk.is_silent()
            return None
        status = talk.status(no_body=case.sends.startswith(b"HEAD "))
        if case.interim and status == 100:
            talk.say(b"hello")
            status = talk.status()
        if case.then == "open":
            talk.say(after)
            assert talk.status() == 200
        if case.then:
            assert talk.has_ended()
        return status


def test_every_case_of_both_tools_is_here():
    assert [sum(case.of == tool for case in CASES) for tool in ("u", "d")] == [32, 33]


@pytest.mark.parametrize("case", CASES, ids=[f"{case.of}: {case.says}" for case in CASES])
def test_the_case_comes_out_as_the_tool_wants(gateway, key, case):
    port = urlsplit(gateway.url).port
    status = play(port, key, case)
    wanted = ANSWERED.get(f"{case.of}: {case.says}")
    assert status == wanted if wanted is not None else status is None or status in case.wants


def test_the_gateway_is_well_after_all_of_them(gateway, key):
    assert gateway.bearer(key).get("/").status_code == 200
