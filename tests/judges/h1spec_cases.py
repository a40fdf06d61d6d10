"""What two tools of the name h1spec ask of an HTTP/1.1 server, told in our own words.

    u   uNetworking/h1spec, `http_test.ts` of October 2024: 32 cases, run with Deno
    d   dropseed/h1spec, 2026: 33 cases, a Python program

Neither is in a package registry. Their requests carry no API key and want a good answer; here each
carries one, so that it is the parsing that is judged. `KEY` stands for its field line.
"""

from __future__ import annotations

from dataclasses import dataclass

KEY = b"X-API-Key: <key>\r\n"
GOOD, BAD = range(200, 300), range(400, 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One connection."""

    of: str
    says: str
    sends: bytes
    wants: tuple[int, ...] = ()
    """Statuses of the first answer, any of these; none: the server goes on waiting."""
    then: str = ""
    """`closed`: nothing but that answer comes, then the end. `open`: another request is answered."""
    interim: bool = False
    """100 is asked for first, and then the body is sent."""


def _waits(says: str, sends: bytes) -> Case:
    return Case(of="u", says=f"goes on waiting: {says}", sends=sends)


def _asks(of: str, says: str, sends: bytes, *wants: int, then: str = "") -> Case:
    return Case(of=of, says=says, sends=sends, wants=wants, then=then)


def _get(*lines: bytes, start: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: localhost\r\n") -> bytes:
    return start + b"\r\n" + host + KEY + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def _post(*lines: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    return _get(*lines, start=b"POST / " + version) + body


_HELLO = b"5\r\nhello\r\n0\r\n\r\n"
_CHUNKED = b"Transfer-Encoding: chunked"
_NEXT = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + KEY + b"Connection: close\r\n\r\n"

_WAITING = (
    _waits("a part of the method", b"G"),
    _waits("the method", b"GET "),
    _waits("a part of the target", b"GET /hello"),
    _waits("the target", b"GET /hello "),
    _waits("a part of the version", b"GET /hello HTTP"),
    _waits("a request line without its end", b"GET /hello HTTP/1.1"),
    _waits("half the line's end", b"GET /hello HTTP/1.1\r"),
    _waits("a request line", b"GET /hello HTTP/1.1\r\n"),
    _waits("a part of a field's name", b"GET /hello HTTP/1.1\r\nHos"),
    _waits("a field's name", b"GET /hello HTTP/1.1\r\nHost:"),
    _waits("a field without a value", b"GET /hello HTTP/1.1\r\nHost: "),
    _waits("a field without its end", b"GET /hello HTTP/1.1\r\nHost: localhost"),
    _waits("half a field's end", b"GET /hello HTTP/1.1\r\nHost: localhost\r"),
    _waits("a field", b"GET /hello HTTP/1.1\r\nHost: localhost\r\n"),
    _waits("half the head's end", b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r"),
)
_FIRST = (
    _asks("u", "a request without a version", b"GET / \r\n\r\n", *range(400, 600)),
    _asks("u", "an expectation without a body", _get(b"Expect: 100-continue"), 100, *GOOD),
    _asks("u", "a plain GET", _get(), *GOOD),
    _asks("u", "odd letters, a tab, an empty field", _get(b"empty:", host=b"hoSt:\tlocalhost\r\n"), *GOOD),
    _asks("u", "brackets in a field's name", _get(b"X-Invalid[]: test"), *BAD),
    _asks("u", "no Host, but a length", _get(b"Content-Length: 5", host=b""), *BAD),
    _asks("u", "two Hosts", _get(b"Host: example.org"), *BAD),
    _asks("u", "an enormous negative length", _get(b"Content-Length: -123456789123456789123456789"), *BAD),
    _asks("u", "a negative length", _get(b"Content-Length: -1234"), *BAD),
    _asks("u", "a length in letters", _get(b"Content-Length: abc"), *BAD),
    _asks("u", "an empty field", _get(b"X-Empty-Header: "), *GOOD),
    _asks("u", "a control character in a value", _get(b"X-Bad-Control-Char: test\x07"), *BAD),
    _asks("u", "version 9.9", _get(start=b"GET / HTTP/9.9"), *range(400, 600)),
    _asks("u", "words before the method", _get(start=b"Extra lineGET / HTTP/1.1"), *range(400, 600)),
    _asks("u", "a bare return in the head", _get(b"\rSome-Header: Test"), *BAD),
    _asks("u", "a POST of known length", _post(b"Content-Length: 5", body=b"hello"), *GOOD, 404),
    _asks("u", "chunks and a length", _get(_CHUNKED, b"Content-Length: 5"), *BAD),
)

_ANY_BUT_400 = tuple(status for status in range(100, 600) if status != 400)
_LINE_AND_HEAD = (
    _asks("d", "a plain GET", _get(), *range(100, 600)),
    _asks("d", "a POST of known length", _post(b"Content-Length: 5", body=b"hello"), *_ANY_BUT_400),
    _asks("d", "OPTIONS *", _get(start=b"OPTIONS * HTTP/1.1"), *_ANY_BUT_400),
    _asks("d", "an absolute target", _get(start=b"GET http://localhost/ HTTP/1.1"), *_ANY_BUT_400),
    _asks("d", "CONNECT", _get(start=b"CONNECT example.com:443 HTTP/1.1"), *_ANY_BUT_400),
    _asks("d", "version 2.0", _get(start=b"GET / HTTP/2.0"), 400, 505),
    _asks("d", "a request line without a version", _get(start=b"GET /"), 400),
    _asks("d", "no Host", _get(host=b""), 400),
    _asks("d", "two Hosts", _get(b"Host: example.com"), 400),
    _asks("d", "a blank in Host", _get(host=b"Host: bad host\r\n"), 400),
    _asks("d", "a blank in a field's name", _get(b"Bad Header: value"), 400),
    _asks("d", "a folded line", _get(host=b"Host: localhost\r\n  continued\r\n"), 400),
    _asks("d", "a blank before the colon", _get(host=b"Host : localhost\r\n"), 400),
    _asks("d", "a NUL in a value", _get(host=b"Host: local\x00host\r\n"), 400),
)
_BODIES = (
    _asks("d", "chunks", _post(_CHUNKED, body=_HELLO), *_ANY_BUT_400),
    _asks("d", "chunks in HTTP/1.0", _post(_CHUNKED, body=_HELLO, version=b"HTTP/1.0"), 400),
    _asks("d", "chunks and a length", _post(_CHUNKED, b"Content-Length: 5", body=_HELLO), 400),
    _asks("d", "chunks and a length, then the end", _post(_CHUNKED, b"Content-Length: 5", body=_HELLO + _NEXT), 400,
          then="closed"),
    _asks("d", "an unknown coding", _post(b"Transfer-Encoding: nonsense", body=b"hello"), 400, 501),
    _asks("d", "chunked is not the last coding", _post(b"Transfer-Encoding: chunked, gzip", body=_HELLO + _NEXT), 400,
          then="closed"),
    _asks("d", "a length in letters", _post(b"Content-Length: xyz", body=b"hello"), 400),
    _asks("d", "two lengths", _post(b"Content-Length: 5", b"Content-Length: 7", body=b"hello!!"), 400),
    _asks("d", "a size in letters", _post(_CHUNKED, body=b"Z\r\nhello\r\n0\r\n\r\n" + _NEXT), 400, then="closed"),
    _asks("d", "a chunk without its end", _post(_CHUNKED, body=b"5\r\nhello0\r\n\r\n" + _NEXT), 400, then="closed"),
    Case(of="d", says="an expectation, then the body", sends=_post(b"Content-Length: 5", b"Expect: 100-continue"),
         wants=tuple(range(200, 500)), interim=True),
)  # fmt: skip
_REST = (
    _asks("d", "HEAD has no body", _get(start=b"HEAD / HTTP/1.1"), *GOOD, then="open"),
    _asks("d", "a method in small letters", _get(start=b"get / HTTP/1.1"), *range(100, 600)),
    _asks("d", "another request on the connection", _get(), *GOOD, then="open"),
    _asks("d", "Connection: close", _get(b"Connection: close"), *GOOD, then="closed"),
    _asks("d", "HTTP/1.0 closes", _get(start=b"GET / HTTP/1.0"), *GOOD, then="closed"),
    _asks("d", "a target of 9,000 bytes", _get(start=b"GET /" + b"a" * 9000 + b" HTTP/1.1"), *range(100, 600)),
    _asks("d", "101 fields", _get(*(b"X-H-%d: value" % number for number in range(101))), *range(100, 600)),
    _asks("d", "a field of 9,000 bytes", _get(b"X-Big: " + b"x" * 9000), *range(100, 600)),
)

CASES = (*_WAITING, *_FIRST, *_LINE_AND_HEAD, *_BODIES, *_REST)
