"""Where a message body ends, byte by exact byte; both directions read with this.

Each reader takes what arrives and gives back the payload in it. `complete` says that the body
has ended by its own framing; `rest` holds the bytes that followed its end: of a request, the
next request; of a response, something that nobody asked for, so that its connection is worthless.

Chunks are strict: no bare line feed, no white space around a size. Trailer fields are read and
bounded; they never become fields of the message, and travel no further.

Source: RFC 9112 sections 6 and 7.1.
"""

from __future__ import annotations

from typing import Protocol

CHUNKED = -1
"""Framing: the length is not known until the body's end."""
LAST_CHUNK = b"0\r\n\r\n"
"""The end of a body in the chunked coding, without trailer fields."""

MAX_LINE_BYTES = 4096
"""Longest chunk-size line, its extensions included."""
MAX_TRAILER_BYTES = 16_384
"""All trailer fields together."""

TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""What names of fields and methods are made of. Source: RFC 9110 section 5.6.2."""
_HEX_DIGITS = b"0123456789abcdefABCDEF"
_MAX_SIZE_DIGITS = 15
_CRLF = b"\r\n"
_LINE_BYTES = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))


class BodyInvalid(Exception):
    """The body's framing is broken: nothing after this point can be trusted."""


class BodyReader(Protocol):
    """A body being read."""

    complete: bool
    rest: bytes

    def feed(self, data: bytes) -> bytes:
        """The payload in `data`; b"" if there is none.

        Raises:
            BodyInvalid: The framing is broken.
        """
        ...

    def closed(self) -> bool:
        """Whether the body is whole if the connection ends, cleanly, right now."""
        ...


class SizedBody:
    """As many bytes as were announced."""

    __slots__ = ("complete", "left", "rest")

    def __init__(self, length: int) -> None:
        self.left = length
        self.complete = length == 0
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """What belongs to the body."""
        left = self.left - len(data)
        if left > 0:
            self.left = left
            return data
        if left < 0:
            self.rest = data[self.left :]
            data = data[: self.left]
        self.left = 0
        self.complete = True
        return data

    def closed(self) -> bool:
        """Only if all of it has come."""
        return self.complete


class ClosingBody:
    """Everything until the connection closes."""

    __slots__ = ("complete", "rest")

    def __init__(self) -> None:
        self.complete = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """All of it."""
        return data

    def closed(self) -> bool:
        """A clean close is its end."""
        return True


class ChunkedBody:
    """Chunks, a last chunk, and trailer fields."""

    __slots__ = ("_line", "_need", "_trailer", "complete", "rest", "trailers")

    def __init__(self) -> None:
        self.complete = False
        self.rest = b""
        self._line = b""
        """Start of a line (or of the line end after a chunk) whose rest has not come."""
        self._need = 0
        """Payload bytes still missing in the current chunk; 0: a size line follows; -1: the line end after a chunk."""
        self._trailer = -1
        """Bytes of trailer fields read so far; -1 before the last chunk."""
        self.trailers: list[bytes] = []
        """The trailer fields, as lines."""

    def feed(self, data: bytes) -> bytes:
        """Payload of the chunks in `data`."""
        if 0 < len(data) < self._need:
            self._need -= len(data)
            return data
        pieces: list[bytes] = []
        if self._line:
            data = self._line + data
            self._line = b""
        at, end = 0, len(data)
        while at < end and not self.complete:
            if self._need > 0:
                piece = data[at : at + self._need]
                pieces.append(piece)
                at += len(piece)
                self._need = self._need - len(piece) or -1
                continue
            line_end = data.find(_CRLF, at)
            if line_end < 0:
                self._keep(data[at:])
                at = end
            else:
                self._read_line(data[at:line_end])
                at = line_end + 2
        if at < end:
            self.rest = data[at:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def closed(self) -> bool:
        """Only after the last chunk."""
        return self.complete

    def _keep(self, rest: bytes) -> None:
        if self._need < 0 and rest != b"\r":
            raise BodyInvalid("A chunk is longer than its size.")
        longest = MAX_LINE_BYTES if self._trailer < 0 else MAX_TRAILER_BYTES
        if len(rest.removesuffix(b"\r")) > longest:
            raise BodyInvalid("A chunk size or trailer line has no end.")
        self._line = rest

    def _read_line(self, line: bytes) -> None:
        if self._need < 0:
            if line:
                raise BodyInvalid("A chunk is longer than its size.")
            self._need = 0
        elif self._trailer >= 0:
            self._read_trailer(line)
        else:
            self._need = _parse_chunk_size(line)
            if self._need == 0:
                self._trailer = 0

    def _read_trailer(self, line: bytes) -> None:
        if not line:
            self.complete = True
            return
        self._trailer += len(line)
        if self._trailer > MAX_TRAILER_BYTES or line.translate(None, _LINE_BYTES) or not _is_name(line):
            raise BodyInvalid("The trailer fields are malformed.")
        self.trailers.append(line)


def body_reader(framing: int | None) -> BodyReader:
    """The reader for a body of a known length, `CHUNKED`, or None: until the connection closes."""
    if framing is None:
        return ClosingBody()
    return ChunkedBody() if framing == CHUNKED else SizedBody(framing)


def _is_name(line: bytes) -> bool:
    name, colon, _ = line.partition(b":")
    return bool(colon) and bool(name) and not name.translate(None, TOKEN_BYTES)


def _parse_chunk_size(line: bytes) -> int:
    size, semicolon, extension = line.partition(b";")
    if (
        not size
        or size.translate(None, _HEX_DIGITS)
        or len(size) > _MAX_SIZE_DIGITS
        or len(line) > MAX_LINE_BYTES
        or (semicolon and extension.translate(None, _LINE_BYTES))
    ):
        raise BodyInvalid("A chunk size is malformed.")
    return int(size, 16)


def write_chunk(data: bytes) -> bytes:
    """A part of a body in the chunked coding. Nothing gives nothing: an empty chunk would be the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
