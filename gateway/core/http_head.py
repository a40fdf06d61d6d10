"""Reading heads of HTTP/1 messages: strict, and each line only once.

A head is read as lines between CRLFs. Nothing is repaired: a bare CR or LF, a folded line,
white space before a colon, a control character are all refused. The same lines come with
every message of a connection, so what was read of a field line is kept, up to a bound: most
lines cost one look-up.

Source: RFC 9112 sections 2.2, 3, 4 and 5, RFC 9110 sections 5.1 and 5.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.core.http_body import TOKEN_BYTES

END_OF_HEAD = b"\r\n\r\n"

_VALUE = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_TARGET = bytes(set(range(0x21, 0x7F)) - set(b"#")) + bytes(range(0x80, 0x100))
_REMEMBERED_LINES = 2048
_REMEMBERED_BYTES = 256
"""Longer lines are read anew each time: what is remembered stays below a megabyte or two."""
_VERSIONS = frozenset({b"HTTP/1.1", b"HTTP/1.0"})
_REQUEST_WORDS = 3
_VERSION_LENGTH = len(b"HTTP/1.1")
_STATUS_DIGITS = 3
_STATUS_END = _VERSION_LENGTH + 1 + _STATUS_DIGITS


class HeadInvalid(Exception):
    """The head breaks the rules that keep two parsers agreed. `str(error)` says which, without its bytes."""


class VersionRefused(HeadInvalid):
    """It is HTTP, in a version that is not spoken here."""


class Field(NamedTuple):
    """One field line, read."""

    pair: tuple[bytes, bytes]
    """Name in lower case, and value without the white space around it."""
    kind: int
    """What the reader's `kind_of` says about the name; 0 needs no second look."""


class FieldLines:
    """Reads field lines, and remembers them.

    Args:
        kind_of: Maps a name in lower case to a small number; asked once per distinct line.
    """

    __slots__ = ("_kind_of", "_known")

    def __init__(self, kind_of: Callable[[bytes], int]) -> None:
        self._kind_of = kind_of
        self._known: dict[bytes, Field] = {}

    @property
    def known(self) -> dict[bytes, Field]:
        """Lines read before. Look here first; `read` what is not here."""
        return self._known

    def read(self, line: bytes) -> Field:
        """One line without its end.

        Raises:
            HeadInvalid: It is not `name: value`.
        """
        name, colon, value = line.partition(b":")
        if not colon or not name or name.translate(None, TOKEN_BYTES):
            raise HeadInvalid("A header name holds a character that names cannot hold, or a header line has no name.")
        if value.translate(None, _VALUE):
            raise HeadInvalid("A header value holds a control character.")
        lowered = name.lower()
        field = Field((lowered, value.strip(b" \t")), self._kind_of(lowered))
        if len(line) <= _REMEMBERED_BYTES:
            if len(self._known) >= _REMEMBERED_LINES:
                self._known.clear()
            self._known[line] = field
        return field


def pairs_of(lines: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    """Good field lines as ASGI has them: names in lower case, values without the white space around them."""
    split = (line.partition(b":") for line in lines)
    return [(name.lower(), value.strip(b" \t")) for name, _, value in split]


class RequestLine(NamedTuple):
    """The first line of a request."""

    method: str
    raw_path: bytes
    """The target up to the first question mark."""
    query: bytes
    http_version: str
    """`1.0` or `1.1`."""


def parse_request_line(line: bytes) -> RequestLine:
    """Read `METHOD target HTTP/1.x`.

    Raises:
        VersionRefused: The version is neither 1.0 nor 1.1.
        HeadInvalid: It is no request line.
    """
    words = line.split(b" ")
    if len(words) != _REQUEST_WORDS:
        raise HeadInvalid("The request line is not a method, a target and a version, one space between them.")
    method, target, version = words
    if version not in _VERSIONS:
        raise _wrong_version(version)
    if not method or method.translate(None, TOKEN_BYTES):
        raise HeadInvalid("The method holds a character that methods cannot hold.")
    if not target or target.translate(None, _TARGET):
        raise HeadInvalid("The request target holds a character that targets cannot hold.")
    raw_path, _, query = target.partition(b"?")
    return RequestLine(method.decode("ascii"), raw_path, query, version[5:].decode("ascii"))


@dataclass(frozen=True, slots=True)
class StatusLine:
    """The first line of a response."""

    status: int
    http_version: str


def parse_status_line(line: bytes) -> StatusLine:
    """Read `HTTP/1.x nnn reason`; the reason may be missing, with or without the space before it.

    Raises:
        VersionRefused: The version is neither 1.0 nor 1.1.
        HeadInvalid: It is no status line, or its status is not between 100 and 599.
    """
    version, digits = line[:_VERSION_LENGTH], line[_VERSION_LENGTH + 1 : _STATUS_END]
    if version not in _VERSIONS:
        raise _wrong_version(version)
    if (
        line[_VERSION_LENGTH : _VERSION_LENGTH + 1] != b" "
        or not digits.isdigit()
        or not b"100" <= digits < b"600"
        or len(digits) != _STATUS_DIGITS
        or line[_STATUS_END : _STATUS_END + 1] not in (b" ", b"")
        or line.translate(None, _VALUE)
    ):
        raise HeadInvalid("The status line is malformed.")
    return StatusLine(int(digits), version[5:].decode("ascii"))


def _wrong_version(version: bytes) -> HeadInvalid:
    if len(version) == _VERSION_LENGTH and version[:5] == b"HTTP/" and version[5:].replace(b".", b"", 1).isdigit():
        return VersionRefused("Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    return HeadInvalid("The first line names no version of HTTP.")
