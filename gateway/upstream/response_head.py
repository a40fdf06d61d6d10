"""Reading one response head, whole, and deciding how its body is delimited.

The parser is llhttp (through httptools) in its strict mode; it sees exactly one head, so
nothing it remembers can leak into the next response. It is strict about line ends, names,
values and numbers; the decisions it leaves open are taken here:

- only HTTP/1.0 and HTTP/1.1, and only status codes that exist (100 to 599);
- a Transfer-Encoding other than one `chunked` cannot be relayed, and HTTP/1.0 has none;
- no body after HEAD, 1xx, 204 and 304, whatever the fields say;
- an HTTP/1.0 connection is never used again.

Source: RFC 9112 sections 4 and 6.3.
"""

from __future__ import annotations

from dataclasses import dataclass

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.core.errors import UpstreamInvalid
from gateway.core.forwarding import Headers, response_headers
from gateway.core.request_gate import CHUNKED

MAX_HEAD_BYTES = 65_536
"""A longer response head is refused."""

_PROTOCOL = b"HTTP/1."
_NO_BODY = frozenset({204, 304})
_LENGTH_NAME = len(b"content-length")
_FIRST_STATUS, _FIRST_FINAL, _LAST_STATUS = 100, 200, 599
_SWITCHING = 101


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseHead:
    """A response up to its body."""

    status: int
    headers: Headers
    """End-to-end fields in the order they came, names in lower case, Via added."""
    framing: int | None
    """Length of the body, `CHUNKED`, or None: until the connection closes."""
    keep_alive: bool
    """Whether the upstream lets the connection be used again."""
    keep_alive_s: int | None
    """How long the upstream says it keeps an idle connection open."""

    @property
    def is_interim(self) -> bool:
        """1xx: not the answer yet."""
        return self.status < _FIRST_FINAL


class _Fields:
    """Takes the parser's callbacks."""

    __slots__ = ("pairs",)

    def __init__(self) -> None:
        self.pairs: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name, value.rstrip(b" \t")))


def parse_response_head(data: bytes, *, to_head: bool) -> ResponseHead:
    """Read a head.

    Args:
        data: From the status line to the empty line, both included, and nothing else.
        to_head: Whether it answers a HEAD request.

    Raises:
        UpstreamInvalid: It is not one well-formed head that can be relayed.
    """
    fields = _Fields()
    parser = HttpResponseParser(fields)
    try:
        parser.feed_data(data)
    except HttpParserUpgrade:
        raise UpstreamInvalid("The upstream switched protocols without being asked to.") from None
    except HttpParserError as error:
        raise UpstreamInvalid("The upstream's response head is malformed.") from error
    status, version = parser.get_status_code(), parser.get_http_version()
    if version not in {"1.1", "1.0"} or not _FIRST_STATUS <= status <= _LAST_STATUS or status == _SWITCHING:
        raise UpstreamInvalid("The upstream answered with a protocol version or status that cannot be relayed.")
    ended: Headers = []
    headers = response_headers(fields.pairs, http_version=version, ended=ended)
    # llhttp has refused all but digits, and a second one. `Connection: content-length` hides none from here.
    length = next(
        (int(value) for name, value in fields.pairs if len(name) == _LENGTH_NAME and name.lower() == b"content-length"),
        None,
    )
    chunked, keep_alive, keep_alive_s = _hop_fields(ended, version) if ended else (False, version == "1.1", None)
    if chunked and length is not None:
        raise UpstreamInvalid("The upstream sent both a Content-Length and a Transfer-Encoding.")
    framing = CHUNKED if chunked else length
    if status < _FIRST_FINAL and framing is not None:
        raise UpstreamInvalid("The upstream sent an interim response that claims a body.")
    if to_head or status in _NO_BODY or status < _FIRST_FINAL:
        framing = 0
        if length is not None and not to_head:
            headers = [field for field in headers if field[0] != b"content-length"]
    return ResponseHead(
        status=status,
        headers=headers,
        framing=framing,
        keep_alive=keep_alive and framing is not None,
        keep_alive_s=keep_alive_s,
    )


def check_unfinished_head(data: bytes) -> None:
    """Refuse the beginning of a head that nothing to come could make a good one.

    Raises:
        UpstreamInvalid: It is too long, holds a bare line feed, or is another protocol.
    """
    if len(data) > MAX_HEAD_BYTES:
        raise UpstreamInvalid("The upstream's response head is too long.")
    if data[: len(_PROTOCOL)] != _PROTOCOL[: len(data)] or data.count(b"\n") != data.count(b"\r\n"):
        raise UpstreamInvalid("The upstream's response head is malformed.")


def _hop_fields(fields: Headers, version: str) -> tuple[bool, bool, int | None]:
    """What the fields say about this connection: chunked, keep-alive and for how long."""
    chunked = False
    keep_alive = version == "1.1"
    keep_alive_s: int | None = None
    for name, value in fields:
        if name == b"transfer-encoding":
            if chunked or version != "1.1" or value.lower() != b"chunked":
                raise UpstreamInvalid("The upstream used a transfer coding that cannot be relayed.")
            chunked = True
        elif name == b"connection":
            keep_alive = keep_alive and b"close" not in value.lower()
        elif name == b"keep-alive":
            keep_alive_s = _parse_timeout(value)
    return chunked, keep_alive, keep_alive_s


def _parse_timeout(value: bytes) -> int | None:
    for parameter in value.split(b","):
        name, _, seconds = parameter.strip().partition(b"=")
        if name.lower() == b"timeout" and seconds.isdigit():
            return int(seconds[:9])
    return None
