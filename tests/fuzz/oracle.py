"""A strict, slow, obviously right reader of HTTP/1: what a stream of bytes says, if it says one thing.

It reads from the start each time, by the grammar of RFC 9112 as regular expressions, and shares no
code with the gateway. What two parsers could read differently is `bad`, whether the RFC forbids it
or lets a recipient choose: the gateway may refuse more than this, and never accept more.

Source: RFC 9112 sections 2.2, 3, 5, 6 and 7.1, RFC 9110 sections 5.5, 5.6.2 and 7.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

End = Literal["done", "partial", "bad", "open"]
Fields = tuple[tuple[bytes, bytes], ...]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21\x22\x24-\x7e\x80-\xff]+) HTTP/(1\.[01])")
_VISIBLE = rb"[\x21-\x7e\x80-\xff]"
_VALUE = rb"(?:" + _VISIBLE + rb"(?:[\t\x20-\x7e\x80-\xff]*" + _VISIBLE + rb")?)?"
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*(" + _VALUE + rb")[ \t]*")
_LENGTH = re.compile(rb"[0-9]{1,18}")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_HOST = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,=%]+|\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\])(?::(?:[0-9]{1,5})?)?")
_MAX_LINE = 4096
_MAX_TRAILER = 16_384


class Bad(Exception):
    """The bytes have no reading, or more than one."""


class Unfinished(Exception):
    """The bytes are the beginning of something good. `part` is what there is of a head, or of a body's payload."""

    def __init__(self, part: bytes) -> None:
        super().__init__()
        self.part = part


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, whole."""

    method: bytes
    target: bytes
    version: bytes
    fields: Fields
    """Names in lower case, values without the white space around them."""
    body: bytes
    framing: int | None
    """As announced: a length, -1 for chunked, None for no body."""
    persists: bool
    """Another request may follow."""
    head_bytes: int = 0
    """Request line and field lines, without the empty line."""

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a stream of requests says."""

    requests: tuple[Request, ...]
    end: End
    """How it goes on after them: not at all, with a part of a request, with what is none, or with what may be
    read or not: RFC 9112 section 2.2 asks to ignore one empty line at least."""
    why: str = ""
    begins: bytes = b""
    """The first bytes of what is no request, or no whole head."""
    part: Request | None = None
    """The head of a request whose body is partial or bad, with what there is of its body."""


def read_requests(data: bytes) -> Reading:
    """Read a caller's whole stream. What follows a request that does not persist is ignored."""
    requests: list[Request] = []
    while True:
        if data[:2] == b"\r\n":
            data = data[2:]
        if data[:2] == b"\r\n" and (not requests or requests[-1].persists):
            return Reading(requests=tuple(requests), end="open")
        if not data or (requests and not requests[-1].persists):
            return Reading(requests=tuple(requests), end="done")
        begins = data[:5]
        try:
            head, data = split_head(data)
            request = _request_head(head)
        except Unfinished:
            return Reading(requests=tuple(requests), end="partial", begins=begins)
        except Bad as bad:
            return Reading(requests=tuple(requests), end="bad", why=str(bad), begins=begins)
        try:
            body, data = split_body(data, 0 if request.framing is None else request.framing)
        except Unfinished as unfinished:
            return _ended_within(requests, request, unfinished.part, "partial", "")
        except Bad as bad:
            return _ended_within(requests, request, b"", "bad", str(bad))
        requests.append(_with_body(request, body))


def _ended_within(requests: list[Request], request: Request, body: bytes, end: End, why: str) -> Reading:
    return Reading(requests=tuple(requests), end=end, why=why, part=_with_body(request, body))


def _with_body(request: Request, body: bytes) -> Request:
    return Request(
        method=request.method,
        target=request.target,
        version=request.version,
        fields=request.fields,
        body=body,
        framing=request.framing,
        persists=request.persists,
        head_bytes=request.head_bytes,
    )


# Heads.


def split_head(data: bytes) -> tuple[bytes, bytes]:
    """The lines of a head without the empty one, and what follows."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        raise Unfinished(data)
    return head, rest


def parse_fields(lines: list[bytes]) -> Fields:
    fields = []
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise Bad(f"not a field line: {line[:40]!r}")
        fields.append((match[1].lower(), match[2]))
    return tuple(fields)


def _request_head(head: bytes) -> Request:
    first, *lines = head.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise Bad(f"not a request line: {first[:40]!r}")
    method, target, version = match.groups()
    fields = parse_fields(lines)
    hosts = [value for name, value in fields if name == b"host"]
    is_old = version == b"1.0"  # it knows no Host
    if (
        len(hosts) > 1
        or not (hosts or is_old)
        or not all(_HOST.fullmatch(host) or (is_old and not host) for host in hosts)
    ):
        raise Bad("not exactly one good Host")
    framing = framing_of(version, fields)
    return Request(
        method=method,
        target=target,
        version=version,
        fields=fields,
        body=b"",
        framing=framing,
        persists=persists(version, fields),
        head_bytes=len(head),
    )


def persists(version: bytes, fields: Fields) -> bool:
    tokens = {
        token.strip(b" \t").lower() for name, value in fields if name == b"connection" for token in value.split(b",")
    }
    return b"close" not in tokens and (version == b"1.1" or b"keep-alive" in tokens)


def framing_of(version: bytes, fields: Fields) -> int | None:
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        raise Bad("framed twice")
    if codings:
        if codings[0].lower() != b"chunked" or version != b"1.1":
            raise Bad("a transfer coding that is not a single chunked")
        return -1
    if lengths:
        if _LENGTH.fullmatch(lengths[0]) is None:
            raise Bad("a length that is no number")
        return int(lengths[0])
    return None


# Bodies.


def split_body(data: bytes, framing: int) -> tuple[bytes, bytes]:
    if framing >= 0:
        if len(data) < framing:
            raise Unfinished(data)
        return data[:framing], data[framing:]
    return _chunks(data)


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        line, end, following = data.partition(b"\r\n")
        if not end:
            raise Unfinished(body)
        size = CHUNK_SIZE.fullmatch(line)
        if size is None or len(line) > _MAX_LINE:
            raise Bad(f"not a chunk size: {line[:40]!r}")
        length = int(size[1], 16)
        if length == 0:
            return body, _trailer(following, body)
        part, mark = following[:length], following[length : length + 2]
        if not b"\r\n".startswith(mark):
            raise Bad("a chunk is longer than its size")
        body += part
        if len(mark) < 2:
            raise Unfinished(body)
        data = following[length + 2 :]


def _trailer(data: bytes, body: bytes) -> bytes:
    """What follows the trailer fields."""
    read = 0
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end:
            raise Unfinished(body)
        if not line:
            return data
        read += len(line)
        if _FIELD.fullmatch(line) is None or read > _MAX_TRAILER:
            raise Bad(f"not a trailer field: {line[:40]!r}")
