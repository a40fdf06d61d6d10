"""The strict reader of `tests.fuzz.oracle`, for responses.

Source: RFC 9112 sections 4 and 6.3, RFC 9110 section 15.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tests.fuzz.oracle import (
    CHUNK_SIZE,
    Bad,
    Fields,
    Unfinished,
    framing_of,
    parse_fields,
    persists,
    split_body,
    split_head,
)

MAX_HEAD_BYTES = 65_536
_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?")
_MAX_INTERIM = 16
_SWITCHING, _FIRST_FINAL = 101, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What a stream says that answers one request."""

    end: Literal["whole", "cut", "bad", "nothing"]
    """`cut`: it ends before its end, or has not ended yet. `nothing`: no final head has come."""
    status: int = 0
    version: bytes = b"1.1"
    fields: Fields = ()
    body: bytes = b""
    """As far as it is there."""
    rest: bytes = b""
    """What follows it."""
    interim: tuple[int, ...] = ()
    to_close: bool = False
    """Its end is the connection's."""
    persists: bool = False
    why: str = ""

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]


def read_response(data: bytes, method: bytes, *, ended: bool) -> Response:
    """Read the answer to a request of that method.

    Args:
        ended: The connection has ended, cleanly, behind `data`.
    """
    interim: list[int] = []
    try:
        version, status, fields, data = _final_head(data, interim)
        framing = framing_of(version, fields)
    except Unfinished as unfinished:
        return Response(end="nothing", interim=tuple(interim), rest=unfinished.part)
    except Bad as bad:
        return Response(end="bad", interim=tuple(interim), why=str(bad))
    if method == b"HEAD" or status in (204, 304):
        framing = 0
    end, body, rest, why = _response_body(data, framing, ended=ended)
    return Response(
        end=end,
        status=status,
        version=version,
        fields=fields,
        body=body,
        rest=rest,
        interim=tuple(interim),
        to_close=framing is None,
        persists=framing is not None and persists(version, fields),
        why=why,
    )


def _final_head(data: bytes, interim: list[int]) -> tuple[bytes, int, Fields, bytes]:
    """Version, status and fields of the final answer, and what follows its head; statuses before it go to `interim`."""
    while True:
        head, data = split_head(data)
        if len(head) > MAX_HEAD_BYTES:
            raise Bad("the head is too long")
        version, status, fields = _response_head(head)
        if status >= _FIRST_FINAL:
            return version, status, fields, data
        if status == _SWITCHING or framing_of(version, fields) is not None:
            raise Bad("switches protocols, or is an interim response with a body")
        interim.append(status)
        if len(interim) > _MAX_INTERIM:
            raise Bad("interim responses without end")


def _response_body(
    data: bytes, framing: int | None, *, ended: bool
) -> tuple[Literal["whole", "cut", "bad"], bytes, bytes, str]:
    """How it ends, the body as far as it is there, what follows it, and why it is bad."""
    if framing is None:
        return ("whole" if ended else "cut"), data, b"", ""
    try:
        body, rest = split_body(data, framing)
    except Unfinished as unfinished:
        return "cut", unfinished.part, b"", ""
    except Bad as bad:
        return "bad", payload_before_fault(data), b"", str(bad)
    return "whole", body, rest, ""


def payload_before_fault(data: bytes) -> bytes:
    """All payload in a chunked body up to where it breaks: the most that anybody may have been told of it."""
    body = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        size = CHUNK_SIZE.fullmatch(line)
        if not end or size is None or int(size[1], 16) == 0:
            return body
        length = int(size[1], 16)
        body += data[:length]
        if data[length : length + 2] != b"\r\n":
            return body
        data = data[length + 2 :]


def _response_head(head: bytes) -> tuple[bytes, int, Fields]:
    first, *lines = head.split(b"\r\n")
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        raise Bad(f"not a status line: {first[:40]!r}")
    return match[1], int(match[2]), parse_fields(lines)
