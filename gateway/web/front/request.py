"""One request head, read and checked: what the app and the connection need to know of it.

Clients send the same fields with every request of a connection, so a block of fields is read and
checked once and remembered, up to a bound; what is derived from it by others is kept with it.
"""

from __future__ import annotations

from typing import Any

from gateway.core.errors import (
    ExpectationFailed,
    HeadersTooLarge,
    MalformedRequest,
    MethodRefused,
    TargetRejected,
    VersionNotSupported,
)
from gateway.core.http_head import FieldLines, HeadInvalid, RequestLine, VersionRefused, parse_request_line
from gateway.core.pattern import METHODS
from gateway.core.request_gate import CHECKED, MAX_FIELDS, body_framing, check_message, names_websocket
from gateway.core.trace import TRACE_FIELDS

_PLAIN, _CHECKED, _CONNECTION, _EXPECT, _UPGRADE, _TRACE = range(6)
_KINDS = (
    dict.fromkeys(CHECKED, _CHECKED)
    | dict.fromkeys(TRACE_FIELDS, _TRACE)
    | {b"connection": _CONNECTION, b"expect": _EXPECT, b"upgrade": _UPGRADE}
)
_LINES = FieldLines(lambda name: _KINDS.get(name, _PLAIN))
_known = _LINES.known
_REMEMBERED = 4096
_REMEMBERED_BYTES = 1024


class HeaderBlock:
    """The fields of a request, read and checked. Shared by requests that have the same: never change what is in it."""

    __slots__ = (
        "expects_continue",
        "framing",
        "has_trace",
        "headers",
        "keep_alive",
        "lines",
        "notes",
        "wants_websocket",
    )

    def __init__(self, lines: list[bytes], *, keep_alive: bool) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        """Names in lower case, values without the white space around them."""
        self.lines = lines
        """The same fields as they came."""
        self.framing: int | None = None
        """Length of the body, `CHUNKED`, or None for no body."""
        self.keep_alive = keep_alive
        self.expects_continue = False
        """The caller waits to be asked for its body."""
        self.wants_websocket = False
        """Rightly or not: `core.websocket` says whether it is a handshake."""
        self.has_trace = False
        """A field of a trace context came with it."""
        self.notes: dict[Any, Any] = {}
        """What others derive from it, for the next request that has the same."""


_blocks: dict[tuple[bytes, str], HeaderBlock] = {}
_request_lines: dict[bytes, RequestLine] = {}


def read_request_head(data: bytes) -> tuple[RequestLine, HeaderBlock]:
    """Read a whole head.

    Args:
        data: From the request line to the last field line, without the empty line and the CRLF before it.

    Raises:
        MalformedRequest, TargetRejected, MethodRefused, VersionNotSupported, HeadersTooLarge, ExpectationFailed:
            It is refused before anybody else reads it.
    """
    line, _, fields = data.partition(b"\r\n")
    try:
        first = _request_lines.get(line) or _read_line(line)
        block = _blocks.get((fields, first.http_version)) or _read_block(first, fields)
    except VersionRefused as refused:
        raise VersionNotSupported(str(refused)) from None
    except HeadInvalid as invalid:
        raise MalformedRequest(str(invalid)) from None
    return first, block


def _read_line(line: bytes) -> RequestLine:
    first = parse_request_line(line)
    if first.method not in METHODS:
        raise MethodRefused("This method is not forwarded.")
    if first.raw_path[:1] != b"/":
        raise TargetRejected("The request target is not an absolute path.")
    if len(line) <= _REMEMBERED_BYTES:
        if len(_request_lines) >= _REMEMBERED:
            _request_lines.clear()
        _request_lines[line] = first
    return first


def _read_block(first: RequestLine, fields: bytes) -> HeaderBlock:
    lines = fields.split(b"\r\n") if fields else []
    block = HeaderBlock(lines, keep_alive=first.http_version == "1.1")
    headers = block.headers
    special = []
    for line in lines:
        pair, kind = _known.get(line) or _LINES.read(line)
        headers.append(pair)
        if kind:
            special.append((kind, pair))
    if len(lines) > MAX_FIELDS:
        raise HeadersTooLarge(f"The request has more than {MAX_FIELDS} header fields.")
    checked = _take(block, special, first.http_version)
    check_message(first.method, checked, first.http_version)
    block.framing = body_framing(checked, first.http_version)
    if len(fields) <= _REMEMBERED_BYTES and not any(name == b"max-forwards" for name, _ in checked):
        if len(_blocks) >= _REMEMBERED:
            _blocks.clear()
        _blocks[fields, first.http_version] = block
    return block


def _take(
    block: HeaderBlock, special: list[tuple[int, tuple[bytes, bytes]]], http_version: str
) -> list[tuple[bytes, bytes]]:
    """What the fields say about this connection. Returns those that decide on the message's reading."""
    checked = []
    listed: set[bytes] = set()
    for kind, pair in special:
        if kind == _CHECKED:
            checked.append(pair)
        elif kind == _CONNECTION:
            listed |= {token.strip(b" \t").lower() for token in pair[1].split(b",")}
        elif kind == _EXPECT:
            if pair[1].lower() != b"100-continue":
                raise ExpectationFailed("The only expectation that is met is '100-continue'.")
            block.expects_continue = http_version == "1.1"
        elif kind == _TRACE:
            block.has_trace = True
        elif http_version == "1.1":
            block.wants_websocket = block.wants_websocket or names_websocket(pair[1])
    if listed:
        block.keep_alive = b"close" not in listed and (block.keep_alive or b"keep-alive" in listed)
    return checked
