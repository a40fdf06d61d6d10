"""What a request must look like before anything reads it twice.

Servers differ in what they let through, and an upstream may differ again. Requests that two
parsers could frame or attribute differently are refused here, whatever server is in front.
Nothing is repaired.

Not visible here, and so left to the server in front: white space inside the request line and
around names, bare line feeds, the chunks themselves, an absolute-form target that the server
has already taken apart, and trailer fields that a server merges into the headers (ours does not:
`gateway.web.front`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.errors import (
    ExpectationFailed,
    HeadersTooLarge,
    MalformedRequest,
    MethodRefused,
    TargetRejected,
    VersionNotSupported,
)
from gateway.core.http_body import CHUNKED
from gateway.core.pattern import METHODS

if TYPE_CHECKING:
    from collections.abc import Iterable

    Headers = Iterable[tuple[bytes, bytes]]

MAX_FIELDS = 256
"""More header fields than any client needs; their number costs time at every hop."""
MAX_HEADER_BYTES = 65_536
"""Names and values together. Servers in front usually stop earlier; uvicorn has no limit of its own."""

CHECKED = frozenset({b"host", b"content-length", b"transfer-encoding", b"max-forwards"})
"""Names of the fields that decide whether a request has one reading."""
_VERSIONS = frozenset({"1.0", "1", "1.1", "2", "3"})
"""As ASGI servers name them. Granian calls HTTP/1.0 `1`; uvicorn passes on whatever the request line says."""
_OLD_VERSIONS = frozenset({"1.0", "1"})
"""Neither Host nor Expect means anything there, and a server may invent an empty Host (Granian does)."""
_NAME_BYTES = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_VALUE_BYTES = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_HOST_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=%"
_ADDRESS_BYTES = b"0123456789abcdefABCDEF:."
_MAX_LENGTH_DIGITS = 18
_MAX_PORT = 65_535


def check_request(method: str, raw_path: bytes, headers: Headers, http_version: str) -> None:
    """Refuse a request that has more than one reading.

    Args:
        method: As received.
        raw_path: Undecoded, without the query; only its form is checked here, the rest by
            `core.target`.
        headers: Names in lower case.
        http_version: `1.0`, `1.1`, `2` or `3`.

    Raises:
        VersionNotSupported: Another version.
        MethodRefused: TRACE, CONNECT, a method we cannot name, or `Max-Forwards: 0`.
        TargetRejected: Not an origin-form target.
        HeadersTooLarge: More than `MAX_FIELDS` fields, or than `MAX_HEADER_BYTES` bytes.
        ExpectationFailed: An expectation other than 100-continue.
        MalformedRequest: Framing, Host or a header byte.

    Source: RFC 9112 sections 2.3, 3.2, 6.1 and 6.3, RFC 9110 sections 5.5, 7.2 and 10.1.1, RFC 9113 section 8.2.2.
    """
    if http_version not in _VERSIONS:
        raise VersionNotSupported("Only HTTP/1.0, HTTP/1.1, HTTP/2 and HTTP/3 are spoken here.")
    if method not in METHODS:
        raise MethodRefused("This method is not forwarded.")
    if raw_path[:1] != b"/":
        raise TargetRejected("The request target is not an absolute path.")
    fields = list(headers)
    _check_bytes(fields)
    check_message(method, (field for field in fields if field[0] in CHECKED), http_version)
    if http_version not in _OLD_VERSIONS:
        _check_expectations(value for name, value in fields if name == b"expect")


def check_message(method: str, fields: Headers, http_version: str) -> None:
    """As `check_request`, where method, target and the bytes of every field have been checked.

    Args:
        fields: Those whose names are in `CHECKED`; others do no harm.

    Raises:
        MethodRefused: `Max-Forwards: 0`.
        MalformedRequest: Framing or Host.
    """
    found: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        found.setdefault(name, []).append(value)
    _check_hosts(found.get(b"host", []), http_version)
    lengths, codings = found.get(b"content-length", []), found.get(b"transfer-encoding", [])
    if lengths:
        _check_length(lengths)
    if codings:
        _check_coding(codings, has_length=bool(lengths), http_version=http_version)
    if method == "OPTIONS":
        _check_max_forwards(found.get(b"max-forwards", []))


def body_framing(headers: Headers, http_version: str) -> int | None:
    """How a checked request's body is delimited: its length, `CHUNKED`, or None for no body.

    From HTTP/2 on a body needs no header at all, so there it is `CHUNKED` unless a length is given.
    """
    for name, value in headers:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return CHUNKED
    return None if http_version[:1] == "1" else CHUNKED


def wants_websocket(headers: Headers, http_version: str) -> bool:
    """Whether the caller wants to go on in the WebSocket protocol, rightly or not (`core.websocket`).

    Every other Upgrade is an offer that a server may ignore, and so ends here like any field
    of the connection. A WebSocket client gets nowhere without the switch, so it is told.
    Only HTTP/1.1 has an Upgrade that means anything.

    Source: RFC 9110 section 7.8, RFC 6455 section 4.1.
    """
    return http_version == "1.1" and any(name == b"upgrade" and names_websocket(value) for name, value in headers)


def names_websocket(value: bytes) -> bool:
    """Whether WebSocket is among the protocols of an Upgrade field."""
    return b"websocket" in (protocol.strip(b" \t").lower() for protocol in value.split(b","))


def _check_bytes(fields: list[tuple[bytes, bytes]]) -> None:
    """Character classes, all fields at once: two passes over bytes instead of one loop per field."""
    names = [name for name, _ in fields]
    all_names = b"".join(names)
    all_values = b"".join([value for _, value in fields])
    if len(names) > MAX_FIELDS or len(all_names) + len(all_values) > MAX_HEADER_BYTES:
        raise HeadersTooLarge("The request has more header fields, or longer ones, than is accepted.")
    if all_names.translate(None, _NAME_BYTES) or b"" in names:
        raise MalformedRequest("A header name holds a character that names cannot hold.")
    if all_values.translate(None, _VALUE_BYTES):
        raise MalformedRequest("A header value holds a control character.")


def _check_expectations(values: Iterable[bytes]) -> None:
    if any(value.lower() != b"100-continue" for value in values):
        raise ExpectationFailed("The only expectation that is met is '100-continue'.")


def _check_max_forwards(values: list[bytes]) -> None:
    if any(not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS for value in values):
        raise MalformedRequest("Max-Forwards is not a number.")
    if any(int(value) == 0 for value in values):
        raise MethodRefused("Max-Forwards ends here, and the gateway has no OPTIONS of its own.")


def _check_hosts(hosts: list[bytes], http_version: str) -> None:
    if len(hosts) != 1 and (hosts or http_version == "1.1"):
        raise MalformedRequest("The request needs exactly one Host.")
    if hosts and (hosts[0] or http_version not in _OLD_VERSIONS):
        _check_host(hosts[0])


def _check_host(host: bytes) -> None:
    """A registered name or an address, with a port or without."""
    if host[:1] == b"[":
        address, closing, port = host[1:].partition(b"]")
        valid = bool(closing) and bool(address) and not address.translate(None, _ADDRESS_BYTES) and b":" in address
        valid = valid and (not port or port[:1] == b":")
        port = port[1:]
    else:
        name, _, port = host.partition(b":")
        valid = bool(name) and not name.translate(None, _HOST_BYTES)
    if port:
        valid = valid and port.isdigit() and len(port) <= len(str(_MAX_PORT)) and int(port) <= _MAX_PORT
    if not valid:
        raise MalformedRequest("The Host is not a host name or an address.")


def _check_length(lengths: list[bytes]) -> None:
    if len(lengths) > 1:
        raise MalformedRequest("The request has more than one Content-Length.")
    length = lengths[0]
    if not length.isdigit() or len(length) > _MAX_LENGTH_DIGITS:
        raise MalformedRequest("The Content-Length is not a number.")


def _check_coding(codings: list[bytes], *, has_length: bool, http_version: str) -> None:
    if has_length:
        raise MalformedRequest("The request has both a Content-Length and a Transfer-Encoding.")
    if http_version != "1.1":
        raise MalformedRequest("A Transfer-Encoding exists in HTTP/1.1 only.")
    if len(codings) > 1 or codings[0].lower() != b"chunked":
        raise MalformedRequest("The only Transfer-Encoding that is accepted is a single 'chunked'.")
