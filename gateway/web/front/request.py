"""One request head, read and checked: what the app and the connection need to know of it."""

from __future__ import annotations

from gateway.core.errors import (
    ExpectationFailed,
    HeadersTooLarge,
    MalformedRequest,
    MethodRefused,
    TargetRejected,
    VersionNotSupported,
)
from gateway.core.http_head import FieldLines, HeadInvalid, VersionRefused, parse_request_line
from gateway.core.pattern import METHODS
from gateway.core.request_gate import CHECKED, MAX_FIELDS, body_framing, check_message

_PLAIN, _CHECKED, _CONNECTION, _EXPECT, _UPGRADE = range(5)
_KINDS = dict.fromkeys(CHECKED, _CHECKED) | {b"connection": _CONNECTION, b"expect": _EXPECT, b"upgrade": _UPGRADE}
_LINES = FieldLines(lambda name: _KINDS.get(name, _PLAIN))
_known = _LINES.known


class RequestHead:
    """A request up to its body."""

    __slots__ = (
        "expects_continue",
        "framing",
        "headers",
        "http_version",
        "keep_alive",
        "lines",
        "method",
        "query",
        "raw_path",
        "wants_websocket",
    )

    def __init__(self, method: str, target: bytes, http_version: str) -> None:
        self.method = method
        self.raw_path, _, self.query = target.partition(b"?")
        self.http_version = http_version
        self.headers: list[tuple[bytes, bytes]] = []
        """Names in lower case, values without the white space around them."""
        self.lines: list[bytes] = []
        """The same fields as they came."""
        self.framing: int | None = None
        """Length of the body, `CHUNKED`, or None for no body."""
        self.keep_alive = http_version == "1.1"
        self.expects_continue = False
        """The caller waits to be asked for its body."""
        self.wants_websocket = False


def read_request_head(data: bytes) -> RequestHead:
    """Read a whole head.

    Args:
        data: From the request line to the last field line, without the empty line and the CRLF before it.

    Raises:
        MalformedRequest, TargetRejected, MethodRefused, VersionNotSupported, HeadersTooLarge, ExpectationFailed:
            It is refused before anybody else reads it.
    """
    lines = data.split(b"\r\n")
    try:
        first = parse_request_line(lines[0])
        head = RequestHead(first.method, first.target, first.http_version)
        del lines[0]
        head.lines = lines
        headers = head.headers
        special = []
        for line in lines:
            pair, kind = _known.get(line) or _LINES.read(line)
            headers.append(pair)
            if kind:
                special.append((kind, pair))
    except VersionRefused as refused:
        raise VersionNotSupported(str(refused)) from None
    except HeadInvalid as invalid:
        raise MalformedRequest(str(invalid)) from None
    if len(lines) > MAX_FIELDS:
        raise HeadersTooLarge(f"The request has more than {MAX_FIELDS} header fields.")
    if first.method not in METHODS:
        raise MethodRefused("This method is not forwarded.")
    if head.raw_path[:1] != b"/":
        raise TargetRejected("The request target is not an absolute path.")
    _take(head, special)
    return head


def _take(head: RequestHead, special: list[tuple[int, tuple[bytes, bytes]]]) -> None:
    """What the fields say about this message and this connection."""
    checked = []
    listed: set[bytes] = set()
    upgrade = b""
    for kind, pair in special:
        if kind == _CHECKED:
            checked.append(pair)
        elif kind == _CONNECTION:
            listed |= {token.strip(b" \t").lower() for token in pair[1].split(b",")}
        elif kind == _EXPECT:
            if pair[1].lower() != b"100-continue":
                raise ExpectationFailed("The only expectation that is met is '100-continue'.")
            head.expects_continue = head.http_version == "1.1"
        else:
            upgrade = pair[1].lower()
    check_message(head.method, checked, head.http_version)
    head.framing = body_framing(checked, head.http_version)
    if listed:
        head.keep_alive = b"close" not in listed and (head.keep_alive or b"keep-alive" in listed)
        head.wants_websocket = upgrade == b"websocket" and b"upgrade" in listed and head.framing is None
