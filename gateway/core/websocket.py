"""What a WebSocket handshake must look like, and which close codes may be sent.

Servers check handshakes unevenly: one takes any key and any method, another reads HTTP/1.0 as
1.1. So the gateway checks for itself, before anything is charged or forwarded. Nothing is repaired.

Source: RFC 6455 sections 4.1, 4.2.1 and 7.4, and IANA's registry of close codes.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.errors import MalformedRequest, WebSocketVersionRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Headers = Iterable[tuple[bytes, bytes]]

VERSION = b"13"
"""Of the protocol. Belongs in `Sec-WebSocket-Version` of an answer to a handshake that asks for another one."""
MAX_PARSED_FIELDS = 128
MAX_PARSED_LINE = 8192
"""What the `websockets` library reads of a handshake, line ends included. uvicorn leaves a longer one unanswered."""

MAX_MESSAGE = "tiergate.max_message"
"""Key in `scope["extensions"]` of our own server protocol: takes the most bytes that a message of this WebSocket may
have. Until it is called, and never above it, the server's own bound holds."""
OWN_PROTOCOL = "tiergate"
KEY_PROTOCOL = "tiergate.key."

NORMAL, GOING_AWAY, NO_STATUS, ABNORMAL = 1000, 1001, 1005, 1006
INVALID_DATA, POLICY, TOO_BIG, INTERNAL, RESTART, TRY_LATER = 1007, 1008, 1009, 1011, 1012, 1013

MAX_REASON_BYTES = 123
"""A control frame holds 125 bytes, and two are the code's."""

_CHECKED = frozenset({b"upgrade", b"sec-websocket-key", b"sec-websocket-version", b"content-length"})
_KEY_BYTES, _KEY_TEXT = 16, 24
_FIXED_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
_FREE_CODES = range(3000, 5000)
_TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def check_websocket(headers: Headers, http_version: str, *, method: str | None = None) -> None:
    """Refuse a handshake that is not exactly one for version 13.

    Args:
        headers: Names in lower case. Host and header bytes are `core.request_gate`'s business.
        http_version: Of the request.
        method: None where the server does not tell; ASGI has no place for it.

    Raises:
        WebSocketVersionRefused: It asks for another version.
        MalformedRequest: It is none, or it announces a body, whose bytes a server could take for frames.
    """
    if method not in {None, "GET"} or http_version != "1.1":
        raise MalformedRequest("A WebSocket is opened with GET and HTTP/1.1.")
    found: dict[bytes, list[bytes]] = {name: [] for name in _CHECKED}
    connection: list[bytes] = []
    for name, value in headers:
        if name in _CHECKED:
            found[name].append(value)
        elif name == b"connection":
            connection += [token.strip(b" \t").lower() for token in value.split(b",")]
        elif name == b"transfer-encoding":
            raise MalformedRequest("A WebSocket handshake has no body.")
    if any(length != b"0" for length in found[b"content-length"]):
        raise MalformedRequest("A WebSocket handshake has no body.")
    if [value.lower() for value in found[b"upgrade"]] != [b"websocket"] or b"upgrade" not in connection:
        raise MalformedRequest("The handshake needs 'Upgrade: websocket' and 'Connection: Upgrade'.")
    _check_version(found[b"sec-websocket-version"])
    if len(found[b"sec-websocket-key"]) != 1 or not _is_key(found[b"sec-websocket-key"][0]):
        raise MalformedRequest("The handshake needs one Sec-WebSocket-Key of 16 bytes in base64.")


def is_parsed_by_server(target: bytes, lines: Sequence[bytes]) -> bool:
    """Whether uvicorn's WebSocket class will read this handshake, rather than leave it without an answer.

    Ask before the connection is handed to it; what is longer is to be answered with 431.

    Args:
        target: Path and query.
        lines: Field lines as they came, without line ends.
    """
    longest = max(len(b"GET  HTTP/1.1") + len(target), *map(len, lines))
    return longest + len(b"\r\n") <= MAX_PARSED_LINE and len(lines) <= MAX_PARSED_FIELDS


def parse_subprotocols(headers: Headers) -> tuple[str, ...]:
    """The subprotocols that a handshake offers, in its order.

    Raises:
        MalformedRequest: One is no token, or is there twice.
    """
    offered: list[str] = []
    for name, value in headers:
        if name == b"sec-websocket-protocol":
            for part in value.split(b","):
                token = part.strip(b" \t")
                if not is_token(token) or token.decode("ascii") in offered:
                    raise MalformedRequest("The handshake's subprotocols are not distinct tokens.")
                offered.append(token.decode("ascii"))
    return tuple(offered)


def is_token(text: bytes) -> bool:
    """Whether this is a token of RFC 9110 section 5.6.2."""
    return bool(text) and not text.translate(None, _TOKEN_BYTES)


def is_sendable(code: int) -> bool:
    """Whether a close frame may carry this code."""
    return code in _FIXED_CODES or code in _FREE_CODES


def short_reason(reason: str) -> str:
    """A close reason that fits its frame."""
    return reason.encode("utf-8", "replace")[:MAX_REASON_BYTES].decode("utf-8", "ignore")


class Offer(NamedTuple):
    """What a handshake says in its subprotocols, parted by who is meant."""

    subprotocols: tuple[str, ...]
    """For the upstream, in the caller's order."""
    keys: tuple[bytes, ...]
    """API keys: browsers can send them in no other field."""
    fallback: str | None
    """What to answer if the upstream chooses none: browsers that offered something end a WebSocket without."""


def parse_offer(headers: Headers) -> Offer:
    """Part the subprotocols of a handshake.

    `tiergate.key.<API key>` brings a key. It is for us alone: it is not forwarded, and never chosen.
    Beside it, `tiergate` is an offer that we choose if the upstream chooses none of the others.

    Raises:
        MalformedRequest: As `parse_subprotocols`.
    """
    offered = parse_subprotocols(headers)
    keys = [name for name in offered if name.lower().startswith(KEY_PROTOCOL)]
    if not keys:
        return Offer(offered, (), None)
    return Offer(
        subprotocols=tuple(name for name in offered if name not in keys and name != OWN_PROTOCOL),
        keys=tuple(name[len(KEY_PROTOCOL) :].encode("ascii") for name in keys),
        fallback=OWN_PROTOCOL if OWN_PROTOCOL in offered else None,
    )


def _check_version(versions: list[bytes]) -> None:
    if len(versions) != 1 or not versions[0].isdigit():
        raise MalformedRequest("The handshake needs one Sec-WebSocket-Version.")
    if versions[0] != VERSION:
        raise WebSocketVersionRefused("Only version 13 of the WebSocket protocol is spoken here.")


def _is_key(value: bytes) -> bool:
    try:
        return len(value) == _KEY_TEXT and len(b64decode(value, validate=True)) == _KEY_BYTES
    except Error:
        return False
