"""Which request paths have one reading, and what that reading is called in policy.

Policy matches a path that the upstream reads again, with its own parser. Whatever two
parsers could read differently is refused here, before anything is matched or charged.
The query takes no part but for its length and for bytes that no URI can hold: it is forwarded byte for byte.
"""

from __future__ import annotations

from gateway.core.errors import TargetRejected, TargetTooLong

MAX_TARGET_BYTES = 8192
"""Path and query together. Longer ones would fill logs and decision records before anybody is asked to pay.
RFC 9110 section 4.1 asks for 8000 at least."""

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_PLAIN = _UNRESERVED + b"!$&'()*+,=:@/"
"""Bytes a path may hold as they are: RFC 3986 `pchar` and the slash, without `;`, which some
servers cut off together with what follows it."""

_QUERY_BYTES = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("#"))
_HEX = frozenset(b"0123456789ABCDEFabcdef")
_SPELLED_OUT = frozenset(b"~!$&'()*+,=:@")
"""Bytes that clients encode or not as they like: policy sees the plain byte either way."""
_NEVER_ENCODED = frozenset(_UNRESERVED) - frozenset(b"~")
_ESCAPE_LENGTH = 3
_SPACE, _SLASH, _BACKSLASH, _DELETE = 0x20, 0x2F, 0x5C, 0x7F

ENCODED_SLASH = "%2F"
"""How a canonical path spells a slash that is part of a segment."""
ENCODED_SLASH_REFUSED = "The path holds an encoded slash."
"""What a caller is told where no route takes one."""


def check_length(raw_path: bytes, query: bytes) -> None:
    """Refuse a target that is too long to be kept, logged and explained, or whose query ends somewhere else.

    Raises:
        TargetTooLong: It has more than `MAX_TARGET_BYTES`.
        TargetRejected: The query holds `#`, a space, a control character or a byte beyond ASCII. Servers that
            take the target apart refuse most of these; what each does with the rest differs.
    """
    if len(raw_path) + len(query) + bool(query) > MAX_TARGET_BYTES:
        raise TargetTooLong(f"Path and query are longer than {MAX_TARGET_BYTES:,} bytes.")
    if query.translate(None, _QUERY_BYTES):
        raise TargetRejected("The query holds a character that must be percent-encoded.")


def canonical_path(raw_path: bytes, *, keeps_encoded_slashes: bool = False) -> str:
    """Accept a path that every HTTP parser reads alike; refuse all others.

    What is accepted is forwarded as it came. The text returned is for matching: escapes in
    capitals, and bytes that may be sent either way (`%3A` or `:`) in their plain form, so
    that no choice of the caller decides which route a request matches.

    Args:
        raw_path: `scope["raw_path"]`: undecoded, without the query string.
        keeps_encoded_slashes: Let encoded slashes pass, as the three bytes `%2F`, which part no segments.
            Only for a route that takes them: `Policy.find_route` refuses such a path on any other.

    Raises:
        TargetRejected: Not an absolute path; `//`, a dot segment, a backslash or `;`; an encoded
            slash, backslash, dot, letter, digit, `-` or `_`; a control character; an escape that
            is malformed, doubled (`%252F`) or not UTF-8; a byte that a URI cannot hold. With encoded
            slashes kept, also what would be a dot segment if they were slashes.

    Source: RFC 3986 sections 3.3 and 6.2.2, RFC 9110 section 4.2.3.
    """
    if raw_path[:1] != b"/":
        raise TargetRejected("The request target is not an absolute path.")
    if b"//" in raw_path:
        raise TargetRejected("The path holds an empty segment ('//').")
    if b"/." in raw_path and not _DOT_SEGMENTS.isdisjoint(raw_path.split(b"/")):
        raise TargetRejected("The path holds a dot segment.")
    odd = raw_path.translate(None, _PLAIN)
    if not odd:
        return raw_path.decode("ascii")
    if odd.strip(b"%"):
        raise TargetRejected("The path holds a character that must be percent-encoded.")
    return _spell(raw_path, keeps_slashes=keeps_encoded_slashes)


_DOT_SEGMENTS = frozenset({b".", b".."})


def _spell(raw_path: bytes, *, keeps_slashes: bool) -> str:
    """The matching form of a path with escapes."""
    head, *escaped = raw_path.split(b"%")
    spelled, decoded = [head], [head]
    for part in escaped:
        byte = _parse_escape(part)
        if byte == _SLASH and not keeps_slashes:
            raise TargetRejected(ENCODED_SLASH_REFUSED)
        following = part[2:]
        if byte in _SPELLED_OUT:
            spelled.append(bytes((byte,)))
        else:
            spelled.append(b"%" + part[:2].upper())
        spelled.append(following)
        decoded += (bytes((byte,)), following)
    plain = b"".join(decoded)
    if _has_escape(plain):
        raise TargetRejected("The path is percent-encoded twice.")
    if keeps_slashes and not _DOT_SEGMENTS.isdisjoint(plain.split(b"/")):
        raise TargetRejected("The path holds a dot segment beside an encoded slash.")
    try:
        plain.decode("utf-8")
    except UnicodeDecodeError:
        raise TargetRejected("The path's escapes are not UTF-8.") from None
    return b"".join(spelled).decode("ascii")


def _parse_escape(part: bytes) -> int:
    """The byte that an escape stands for; `part` is what follows its percent sign."""
    digits = part[:2]
    if len(digits) < _ESCAPE_LENGTH - 1 or not _HEX.issuperset(digits):
        raise TargetRejected("The path holds a malformed escape.")
    byte = int(digits, 16)
    if byte < _SPACE or byte == _DELETE:
        raise TargetRejected("The path holds an encoded control character.")
    if byte == _BACKSLASH:
        raise TargetRejected("The path holds an encoded backslash.")
    if byte in _NEVER_ENCODED:
        raise TargetRejected("The path encodes a character that is never encoded: a letter, a digit, '-', '.' or '_'.")
    return byte


def _has_escape(plain: bytes) -> bool:
    """Whether decoding once more would change anything."""
    return any(len(part) > 1 and _HEX.issuperset(part[:2]) for part in plain.split(b"%")[1:])
