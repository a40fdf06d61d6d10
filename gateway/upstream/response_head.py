"""Reading one response head, whole, and deciding how its body is delimited.

The lines are read by `core.http_head`, strictly; the decisions are taken here:

- only HTTP/1.0 and HTTP/1.1, and only status codes that exist (100 to 599);
- a Transfer-Encoding other than one `chunked` cannot be relayed, and HTTP/1.0 has none;
- one Content-Length of digits, and never beside a Transfer-Encoding;
- no body after HEAD, 1xx, 204 and 304, whatever the fields say;
- an HTTP/1.0 connection is never used again.

Source: RFC 9112 sections 4 and 6.3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from gateway.core.errors import UpstreamInvalid
from gateway.core.forwarding import HOP_BY_HOP, via_line
from gateway.core.http_body import CHUNKED
from gateway.core.http_head import FieldLines, HeadInvalid, StatusLine, VersionRefused, parse_status_line

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_HEAD_BYTES = 65_536
"""A longer response head is refused."""

_PROTOCOL = b"HTTP/1."
_NO_BODY = frozenset({204, 304})
_FIRST_FINAL = 200
_SWITCHING = 101
_MAX_LENGTH_DIGITS = 18
_MAX_STATUS_LINES = 256
_REMEMBERED = 1024
_REMEMBERED_BYTES = 1024

_END_TO_END, _ENDS_HERE, _LENGTH, _DATE, _RATE_LIMIT = range(5)
_KINDS = {b"content-length": _LENGTH, b"date": _DATE, b"ratelimit": _RATE_LIMIT}
_KEEP_ALIVE = [(b"connection", b"keep-alive")]
"""What many servers send with every response, and says nothing new in HTTP/1.1."""
_PERSISTENT = frozenset({b"keep-alive", b"connection"})


def _kind_of(name: bytes) -> int:
    return _ENDS_HERE if name in HOP_BY_HOP else _KINDS.get(name, _END_TO_END)


class ResponseHead:
    """A response up to its body. Responses with the same head share one: it is changed only while it is read.

    Args:
        status: 100 to 599.
        http_version: Of the response.
    """

    __slots__ = (
        "framing",
        "has_date",
        "has_ratelimit",
        "http_version",
        "keep_alive",
        "keep_alive_s",
        "lines",
        "promised",
        "status",
    )

    def __init__(self, status: int, http_version: str) -> None:
        self.status = status
        self.http_version = http_version
        self.lines: list[bytes] = []
        """End-to-end field lines as they came, in order, Via added."""
        self.framing: int | None = None
        """Length of the body, `CHUNKED`, or None: until the connection closes."""
        self.keep_alive = http_version == "1.1"
        """Whether the upstream lets the connection be used again."""
        self.keep_alive_s: int | None = None
        """How long the upstream says it keeps an idle connection open."""
        self.has_date = False
        self.has_ratelimit = False
        """The upstream sends RateLimit fields of its own."""
        self.promised: frozenset[bytes] = frozenset()
        """Names of the fields that will come behind the body, as Trailer announces them, lower case."""

    @property
    def is_interim(self) -> bool:
        """1xx: not the answer yet."""
        return self.status < _FIRST_FINAL


OnStart: TypeAlias = Callable[[ResponseHead], list[bytes]]
"""Maps a response's head to the field lines to send. Called once, just before the response starts."""

_fields = FieldLines(_kind_of)
_status_lines: dict[bytes, StatusLine] = {}
_heads: dict[tuple[bytes, bool], ResponseHead] = {}


def parse_response_head(data: bytes, *, to_head: bool) -> ResponseHead:
    """Read a head.

    Args:
        data: From the status line to the last field line, without the empty line and the CRLF before it.
        to_head: Whether it answers a HEAD request.

    Raises:
        UpstreamInvalid: It is not one well-formed head that can be relayed.
    """
    head = _heads.get((data, to_head))
    if head is not None:
        return head
    try:
        head = _read(data.split(b"\r\n"), to_head=to_head)
    except VersionRefused:
        raise UpstreamInvalid("The upstream answered in a protocol version that cannot be relayed.") from None
    except HeadInvalid as invalid:
        raise UpstreamInvalid("The upstream's response head is malformed.") from invalid
    if len(data) <= _REMEMBERED_BYTES:
        if len(_heads) >= _REMEMBERED:
            _heads.clear()
        _heads[data, to_head] = head
    return head


def _read(lines: list[bytes], *, to_head: bool) -> ResponseHead:
    first = _status_lines.get(lines[0]) or _read_status_line(lines[0])
    status = first.status
    head = ResponseHead(status, first.http_version)
    kept = head.lines
    special: list[tuple[int, tuple[bytes, bytes]]] = []
    known = _fields.known
    del lines[0]
    for line in lines:
        pair, kind = known.get(line) or _fields.read(line)
        if kind != _ENDS_HERE:
            kept.append(line)
        if kind:
            special.append((kind, pair))
    length, chunked = _take(head, special)
    if status == _SWITCHING:
        raise UpstreamInvalid("The upstream switched protocols without being asked to.")
    head.framing = _framing(length, chunked=chunked)
    if status < _FIRST_FINAL and head.framing is not None:
        raise UpstreamInvalid("The upstream sent an interim response that claims a body.")
    if to_head or status in _NO_BODY or status < _FIRST_FINAL:
        head.framing = 0
        if length is not None and not to_head:
            head.lines = without(head.lines, {b"content-length"})
    if head.framing is None:
        head.keep_alive = False
    head.lines.append(via_line(first.http_version))
    return head


def check_unfinished_head(data: bytes) -> None:
    """Refuse the beginning of a head that nothing to come could make a good one.

    Raises:
        UpstreamInvalid: It is too long, holds a bare line feed, or is another protocol.
    """
    if len(data) > MAX_HEAD_BYTES:
        raise UpstreamInvalid("The upstream's response head is too long.")
    if data[: len(_PROTOCOL)] != _PROTOCOL[: len(data)] or data.count(b"\n") != data.count(b"\r\n"):
        raise UpstreamInvalid("The upstream's response head is malformed.")


def without(lines: Iterable[bytes], names: Iterable[bytes]) -> list[bytes]:
    """The lines whose field is none of `names` (lower case)."""
    unwanted = frozenset(names)
    return [line for line in lines if line.partition(b":")[0].lower() not in unwanted]


def _read_status_line(line: bytes) -> StatusLine:
    first = parse_status_line(line)
    if len(_status_lines) < _MAX_STATUS_LINES:
        _status_lines[line] = first
    return first


def _take(head: ResponseHead, special: list[tuple[int, tuple[bytes, bytes]]]) -> tuple[bytes | None, bool]:
    """What the fields say beside what they pass on. The length that they announce, and whether the body is chunked."""
    length: bytes | None = None
    ended: list[tuple[bytes, bytes]] = []
    for kind, pair in special:
        if kind == _LENGTH:
            if length is not None:
                raise UpstreamInvalid("The upstream sent more than one Content-Length.")
            length = pair[1]
        elif kind == _DATE:
            head.has_date = True
        elif kind == _RATE_LIMIT:
            head.has_ratelimit = True
        else:
            ended.append(pair)
    if not ended:
        return length, False
    if ended == _KEEP_ALIVE and head.http_version == "1.1":
        return length, False
    return length, _take_hop_fields(head, ended)


def _framing(length: bytes | None, *, chunked: bool) -> int | None:
    if length is None:
        return CHUNKED if chunked else None
    if chunked:
        raise UpstreamInvalid("The upstream sent both a Content-Length and a Transfer-Encoding.")
    if not length.isdigit() or len(length) > _MAX_LENGTH_DIGITS:
        raise UpstreamInvalid("The upstream's Content-Length is not a number.")
    return int(length)


def _take_hop_fields(head: ResponseHead, fields: list[tuple[bytes, bytes]]) -> bool:
    """What the fields say about this connection, and what Connection names is dropped. Whether the body is chunked."""
    chunked = False
    for name, value in fields:
        if name == b"transfer-encoding":
            if chunked or head.http_version != "1.1" or value.lower() != b"chunked":
                raise UpstreamInvalid("The upstream used a transfer coding that cannot be relayed.")
            chunked = True
        elif name == b"connection":
            listed = {token.strip(b" \t").lower() for token in value.split(b",")}
            head.keep_alive = head.keep_alive and b"close" not in listed
            if private := listed - HOP_BY_HOP - _PERSISTENT - {b"close", b"content-length", b""}:
                head.lines = without(head.lines, private)
        elif name == b"trailer":
            head.promised |= {token.strip(b" \t").lower() for token in value.split(b",")}
        elif name == b"keep-alive":
            head.keep_alive_s = _parse_timeout(value)
    return chunked


def _parse_timeout(value: bytes) -> int | None:
    for parameter in value.split(b","):
        name, _, seconds = parameter.strip().partition(b"=")
        if name.lower() == b"timeout" and seconds.isdigit():
            return int(seconds[:9])
    return None
