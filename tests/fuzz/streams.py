"""Streams of requests and responses: good ones by the grammar, then bent here and there.

Everything is drawn from one `random.Random`, so a seed stands for a stream. `oddity` is the
chance that a word is taken from the odd ones; 0 makes streams that are good throughout, or
nearly: a few ordinary words contradict each other when they meet.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random

from tests.fuzz import words

_CUTS = ("nowhere", "nowhere", "once", "few", "few", "lines", "bytes")
_MOST_BYTES_ALONE = 600


class Writer:
    """Writes messages with words from one source of chance."""

    def __init__(self, rng: Random, oddity: float) -> None:
        self.rng = rng
        self.oddity = oddity

    def pick(self, good: tuple[bytes, ...], odd: tuple[bytes, ...]) -> bytes:
        return self.rng.choice(odd if self.rng.random() < self.oddity else good)

    def end(self) -> bytes:
        return words.ENDS[0] if self.rng.random() >= self.oddity / 8 else self.rng.choice(words.ODD_ENDS)

    def chance(self, of: float) -> bool:
        return self.rng.random() < of

    # Requests.

    def path(self) -> bytes:
        rng = self.rng
        parts = [self.pick(words.SEGMENTS[:-1], words.ODD_SEGMENTS) for _ in range(rng.randrange(4))]
        if self.chance(self.oddity) and parts:
            parts[rng.randrange(len(parts))] += rng.choice(words.ODD_SEGMENTS)
        start = b"/v1/" if self.chance(0.9) else b"/"
        return start + b"/".join(parts) + (b"/" if parts and self.chance(0.1) else b"")

    def target(self) -> bytes:
        if self.chance(self.oddity / 4):
            return self.rng.choice(words.ODD_TARGETS)
        return self.path() + self.pick(words.QUERIES, words.ODD_QUERIES)

    def request(self, extra: tuple[bytes, ...] = ()) -> bytes:
        """One request. `extra` are field lines that it holds somewhere."""
        rng = self.rng
        lines = [b"Host: " + self.pick(words.HOSTS, words.ODD_HOSTS), *extra]
        lines += [self.pick(words.FIELDS, words.ODD_FIELDS) for _ in range(rng.randrange(5))]
        framing, body = self.framing(rng.randrange(100))
        lines += framing
        if self.chance(self.oddity / 2):
            lines.append(
                rng.choice(words.FRAMING_NAMES) + b": " + self.pick(words.LENGTHS + words.CODINGS, words.ODD_LENGTHS)
            )
        if self.chance(0.3):
            rng.shuffle(lines)
        if self.chance(self.oddity / 4):
            del lines[rng.randrange(len(lines))]
        first = b" ".join(
            (self.pick(words.METHODS, words.ODD_METHODS), self.target(), self.pick(words.VERSIONS, words.ODD_VERSIONS))
        )
        head = b"".join(line + self.end() for line in (first, *lines))
        return head + self.end() + body

    def framing(self, kind: int) -> tuple[list[bytes], bytes]:
        """Field lines, and the body that they announce."""
        if kind < 40:
            return [], b""
        payload = self.payload()
        if kind < 65:
            length = b"%d" % len(payload) if not self.chance(self.oddity) else self.rng.choice(words.ODD_LENGTHS)
            return [b"Content-Length: " + length], payload
        coding = self.pick(words.CODINGS, words.ODD_CODINGS)
        lines = [b"Transfer-Encoding:" + (b"" if coding[:1] in (b" ", b"\t") else b" ") + coding]
        if self.chance(self.oddity / 3):
            lines.append(b"Content-Length: %d" % self.rng.choice((0, 3, 5, len(payload))))
        return lines, self.chunks(payload)

    def payload(self) -> bytes:
        rng = self.rng
        kind = rng.randrange(8)
        if kind == 0:
            return b""
        if kind == 1:
            return b"GET /v1/evil HTTP/1.1\r\nHost: api.test\r\n\r\n"
        if kind == 2:
            return b"0\r\n\r\n" + rng.choice((b"", b"GET /v1/evil HTTP/1.1\r\nHost: x\r\n\r\n"))
        if kind == 3:
            return rng.randbytes(rng.choice((1, 15, 16, 17, 300)))
        if kind == 4 and self.chance(0.1):
            return b"x" * rng.choice((4096, 65_535, 65_536, 70_000))
        return rng.choice((b"hello", b"x", b"a\r\nb", b"\r\n", b"5\r\nhello\r\n"))

    def chunks(self, payload: bytes) -> bytes:
        rng = self.rng
        out, at = [], 0
        while at < len(payload):
            step = (
                rng.choice((1, 2, 5, 16, 100, len(payload)))
                if len(payload) < 1000
                else rng.choice((1000, len(payload)))
            )
            part = payload[at : at + step]
            size = b"%x" % len(part) if self.chance(0.7) else b"%04X" % len(part)
            size += rng.choice(words.EXTENSIONS)
            if self.chance(self.oddity / 2):
                size = rng.choice(words.ODD_SIZES)
            out.append(size + self.end() + part + self.end())
            at += step
        last = b"0" if self.chance(0.8) else rng.choice((b"00", b"0;a=b", b"000000"))
        if self.chance(self.oddity / 4):
            last = rng.choice(words.ODD_SIZES)
        trailer = [self.pick(words.TRAILERS, words.ODD_TRAILERS) for _ in range(rng.choice((0, 0, 0, 1, 2)))]
        out += [last + self.end(), *(line + self.end() for line in trailer), self.end()]
        if self.chance(self.oddity / 6):
            del out[-1]
        return b"".join(out)

    def requests(self, extra: tuple[bytes, ...] = ()) -> bytes:
        """One to four of them, one behind the other."""
        data = b"".join(self.request(extra) for _ in range(self.rng.choice((1, 1, 2, 2, 3, 4))))
        if self.chance(0.05):
            data = b"\r\n" + data
        return data

    # Responses.

    def response(self, payload: bytes, *, to_head: bool) -> bytes:
        """One response with that payload, and perhaps interim ones before it."""
        rng = self.rng
        before = b"".join(self.pick(words.INTERIM, words.ODD_INTERIM) for _ in range(rng.choice((0, 0, 0, 0, 1, 2))))
        version = b"HTTP/1.1 " if self.chance(0.85) else b"HTTP/1.0 "
        first = version + b"%d" % rng.choice(words.STATUSES) + rng.choice(words.REASONS)
        if self.chance(self.oddity / 4):
            first = rng.choice(words.ODD_STATUS_LINES)
        lines = [self.pick(words.RESPONSE_FIELDS, words.ODD_FIELDS) for _ in range(rng.randrange(5))]
        kind = rng.randrange(10)
        body = payload
        if kind < 4:
            lines.append(
                b"Content-Length: "
                + (
                    b"%d" % len(payload)
                    if not self.chance(self.oddity)
                    else self.pick(words.LENGTHS, words.ODD_LENGTHS)
                )
            )
        elif kind < 8:
            lines.append(b"Transfer-Encoding: " + self.pick(words.CODINGS[:4], words.ODD_CODINGS))
            body = self.chunks(payload)
        if self.chance(self.oddity / 3):
            lines.append(
                rng.choice(words.FRAMING_NAMES) + b": " + self.pick(words.LENGTHS + words.CODINGS, words.ODD_LENGTHS)
            )
        if self.chance(0.3):
            rng.shuffle(lines)
        head = b"".join(line + self.end() for line in (first, *lines)) + self.end()
        return before + head + (b"" if to_head and self.chance(0.9) else body)


def bend(rng: Random, data: bytes, times: int) -> bytes:
    """Change bytes: where lines end and words begin more often than elsewhere."""
    for _ in range(times):
        if not data:
            return data
        at = _place(rng, data)
        kind = rng.randrange(8)
        if kind == 0:
            data = data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[at + rng.choice((1, 1, 2, 4)) :]
        elif kind in (2, 3):
            data = data[:at] + rng.choice(words.BYTES) + data[at:]
        elif kind == 4:
            data = data[:at] + rng.choice(words.BYTES) + data[at + 1 :]
        elif kind == 5:
            length = rng.choice((1, 2, 4, 20))
            data = data[: at + length] + data[at:]
        elif kind == 6:
            other = _place(rng, data)
            low, high = sorted((at, other))
            data = data[:low] + data[high:] if high - low < 60 else data
        else:
            data = (
                data[:at]
                + rng.choice(words.FIELDS + words.ODD_FIELDS)[:80]
                + rng.choice((b"\r\n", b"\n", b""))
                + data[at:]
            )
    return data


def _place(rng: Random, data: bytes) -> int:
    at = rng.randrange(len(data))
    if rng.random() < 0.6:
        found = [place for mark in (b"\r\n", b": ", b" ", b"\r\n\r\n") if (place := data.find(mark, at)) >= 0]
        if found:
            return min(len(data) - 1, rng.choice(found) + rng.randrange(3))
    return at


def cut(rng: Random, data: bytes) -> tuple[bytes, ...]:
    """The same bytes in pieces."""
    kind = rng.choice(_CUTS)
    length = len(data)
    if length < 2 or kind == "nowhere":
        return (data,) if data else ()
    if kind == "bytes" and length <= _MOST_BYTES_ALONE:
        return tuple(data[at : at + 1] for at in range(length))
    if kind == "once":
        places = {_place(rng, data)}
    elif kind == "lines":
        places = {at for at in range(length) if data[at : at + 1] in (b"\r", b"\n") and rng.random() < 0.7}
    else:
        places = {_place(rng, data) for _ in range(rng.randrange(2, 8))}
    marks = sorted({0, length, *places})
    return tuple(data[low:high] for low, high in pairwise(marks))
