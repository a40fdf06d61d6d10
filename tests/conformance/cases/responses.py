"""What the upstream may answer, and what the caller gets of it.

An answer that can be read in two ways is a 502; one that breaks off breaks off for the caller
too; and no byte of it is ever taken for the answer to another request.

Source: RFC 9112 sections 6.3, 7.1 and 8, RFC 9110 sections 6.4.1, 7.6.1, 15.2 and 15.4.5.
"""

from __future__ import annotations

from tests.conformance.case import Answer, Case, Expected, Forwarded, Pause, Upstream, post, request

_OK = b"HTTP/1.1 200 OK\r\n"
_INVALID = Expected(
    answers=(Answer(status=(502,), code="upstream-invalid-response"),),
    after="open",
    forwarded=(Forwarded(),),
    charged=0,
)


def _whole(body: bytes = b"hello", *fields: tuple[bytes, bytes], lacks: tuple[bytes, ...] = (), status: int = 200):
    return Expected(
        answers=(Answer(status=(status,), body=body, fields=fields, lacks=lacks),),
        after="open",
        forwarded=(Forwarded(),),
    )


def _broken(body: bytes | None, charged: int) -> Expected:
    """The beginning of an answer, and no end."""
    return Expected(
        answers=(Answer(status=(200,), body=body, cut=True),),
        after="closed",
        forwarded=(Forwarded(),),
        charged=charged,
    )


_NOTHING = Expected(forwarded=(Forwarded(),), after="closed", charged=0)
_BREAKS = (_broken(b"hello", 1), _broken(b"", 0), _INVALID, _NOTHING)


def _case(says: str, sends: bytes, *expects: Expected, then: str = "keep", start: bytes = b"", **more: int) -> Case:
    asked = request(start=start) if start else request()
    return Case(says=says, sends=(asked,), expects=expects, upstream=Upstream(sends=sends, then=then, **more))  # type: ignore[arg-type]


def _headed(*lines: bytes, body: bytes = b"hello") -> bytes:
    return _OK + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


_INVALID_ANSWERS = {
    "a length and a coding": _headed(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "a coding and a length": _headed(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
    "two lengths": _headed(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"),
    "the same length twice": _headed(b"Content-Length: 5", b"Content-Length: 5"),
    "lengths in a list": _headed(b"Content-Length: 5, 5"),
    "a signed length": _headed(b"Content-Length: +5"),
    "an empty length": _headed(b"Content-Length:"),
    "a coding that is not chunked": _headed(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunked twice": _headed(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "a second coding": _headed(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "a coding on HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/2 in its status line": b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"hello",
    "another protocol": b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "a status above 599": b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
    "a status that is no number": b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
    "a switch of protocols that nobody asked for":
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
    "a NUL in a value": _headed(b"X-A: b\0c", b"Content-Length: 5"),
    "a bare carriage return in a value": _headed(b"X-A: b\rX-B: c", b"Content-Length: 5"),
    "a bare line feed in a value": _headed(b"X-A: b\nX-B: c", b"Content-Length: 5"),
    "a folded line": _headed(b"X-A: b\r\n c", b"Content-Length: 5"),
    "a space before a colon": _headed(b"X-A : b", b"Content-Length: 5"),
    "a line without a colon": _headed(b"X-A", b"Content-Length: 5"),
    "an empty name": _headed(b": b", b"Content-Length: 5"),
    "lines that end in a line feed only": _headed(b"Content-Length: 5").replace(b"\r\n", b"\n"),
    "interim answers without end": b"HTTP/1.1 102 Processing\r\n\r\n" * 100,
    "an interim answer that claims a body": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello",
}  # fmt: skip
_HELLO = b"5\r\nhello\r\n"
_BROKEN_CHUNKS = {
    "a chunk size that is no number": b"zz\r\n",
    "a negative chunk size": b"-1\r\n",
    "a chunk without a line end": b"5\r\nworld0\r\n\r\n",
    "a chunk that is longer than its size": b"2\r\nworld\r\n0\r\n\r\n",
    "a chunk size that wraps around at 64 bits": b"10000000000000005\r\nworld\r\n0\r\n\r\n",
    "a chunk size line that ends in a line feed only": b"5\nworld\r\n0\r\n\r\n",
    "a malformed trailer field": b"0\r\nabc\r\n\r\n",
}
_CHUNKS = _headed(b"Transfer-Encoding: chunked", body=_HELLO)
_SIZED = _headed(b"Content-Length: 5")
_SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
_HEAD = b"HEAD /v1/x HTTP/1.1"
_HOPS = (b"Keep-Alive: timeout=5", b"Proxy-Connection: close", b"Trailer: X-A", b"Upgrade: foo", b"TE: x",
    b"Proxy-Authenticate: Basic", b"Connection: x-private", b"X-Private: 1")  # fmt: skip


def _headless(status: bytes, *lines: bytes, lacks: tuple[bytes, ...] = (), start: bytes = b"", body: bytes = b"hello"):
    """An answer that has no body, whatever it says, and bytes behind it that nobody must see."""
    line = b"HTTP/1.1 " + status + b"\r\n"
    head = line + b"".join(one + b"\r\n" for one in lines) + b"\r\n"
    expected = Expected(
        answers=(Answer(status=(int(status[:3]),), body=b"", lacks=lacks),),
        after="open",
        forwarded=(Forwarded(line=start) if start else Forwarded(),),
    )
    said = " and ".join(one.decode() for one in lines) or "nothing"
    says = f"{'HEAD' if start else status.decode()} has no body, though the upstream sends {said} and one"
    return _case(says, head + body, expected, start=start)


CASES = (
    *(
        _case(f"{what} is a 502", sends, _INVALID, then="close" if what == "HTTP/0.9" else "keep")
        for what, sends in _INVALID_ANSWERS.items()
    ),
    _case("a head without end is a 502", _OK + b"X-A: ", _INVALID, pads_to=100_000),
    _case("a status line without end is a 502", b"HTTP/1.1 200 ", _INVALID, pads_to=100_000),
    _case("an answer of known length is relayed", _SIZED, _whole(b"hello", (b"via", b"1.1 tiergate"))),
    _case("a chunked answer is relayed", _CHUNKS + b"0\r\n\r\n", _whole()),
    _case("trailer fields are dropped", _CHUNKS + b"0\r\nX-A: b\r\n\r\n", _whole(b"hello", lacks=(b"x-a",))),
    _case("chunk extensions mean nothing",
        _headed(b"Transfer-Encoding: chunked", body=b"5;a=b\r\nhello\r\n0\r\n\r\n"), _whole()),
    _case("an answer that the connection's end delimits is relayed", _OK + b"\r\nhello", _whole(), then="close"),
    _case("an answer of HTTP/1.0 is relayed", b"HTTP/1.0 200 OK\r\n\r\nhello",
        _whole(b"hello", (b"via", b"1.0 tiergate")), then="close"),
    _case("interim answers are swallowed",
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        + _SIZED, _whole(b"hello", lacks=(b"link",))),
    _case("order, repetitions and bytes of fields are kept",
        _headed(b"Set-Cookie: a=1", b"X-A: \xe9\xff", b"Set-Cookie: b=2; Path=/", b'ETag: W/"x"',
            b"Content-Encoding: gzip", b"Content-Length: 5"),
        _whole(b"hello", (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2; Path=/"), (b"x-a", b"\xe9\xff"),
            (b"etag", b'W/"x"'), (b"content-encoding", b"gzip"))),
    _case("fields of the upstream's connection end here", _headed(*_HOPS, b"X-A: b", b"Content-Length: 5"),
        _whole(b"hello", (b"x-a", b"b"), lacks=(b"keep-alive", b"proxy-connection", b"trailer", b"upgrade", b"te",
            b"proxy-authenticate", b"x-private"))),
    _case("the upstream's Connection cannot hide the length",
        _headed(b"Connection: content-length", b"Content-Length: 5"), _whole()),
    _case("an upstream that closes does not close the caller's connection",
        _headed(b"Connection: close", b"Content-Length: 5"), _whole(), then="close"),
    _case("a failure of the upstream is relayed and given back",
        b"HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nhello",
        Expected(answers=(Answer(status=(500,), body=b"hello"),), after="open", forwarded=(Forwarded(),), charged=0)),
    _case("a redirect is relayed, not followed",
        b"HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\nContent-Length: 0\r\n\r\n",
        _whole(b"", (b"location", b"http://evil.test/"), status=302)),
    _case("an answer longer than its length ends at its length", _SIZED + b" and more", _whole()),
    _case("a second answer behind the first is never used", _SIZED + _SMUGGLED, _whole()),
    _case("a second answer behind a chunked one is never used", _CHUNKS + b"0\r\n\r\n" + _SMUGGLED, _whole()),
    _headless(b"200 OK", b"Content-Length: 5", start=_HEAD),
    _headless(b"200 OK", b"Content-Length: 42", start=_HEAD, body=_SMUGGLED),
    _headless(b"200 OK", b"Transfer-Encoding: chunked", start=_HEAD, body=b"5\r\nhello\r\n0\r\n\r\n"),
    _headless(b"204 No Content", body=_SMUGGLED),
    _headless(b"204 No Content", b"Content-Length: 5", lacks=(b"content-length",)),
    _headless(b"204 No Content", b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
    _headless(b"304 Not Modified", b"Content-Length: 5"),
    _headless(b"304 Not Modified", b'ETag: "x"', body=_SMUGGLED),
    _case("an answer shorter than its length breaks off",
        _headed(b"Content-Length: 10"), *_BREAKS, then="close"),
    _case("a chunked answer without a last chunk breaks off", _CHUNKS, *_BREAKS, then="close"),
    _case("a chunked answer that ends in a chunk breaks off",
        _headed(b"Transfer-Encoding: chunked", body=b"9\r\nhello"), *_BREAKS, then="close"),
    _case("an answer that is reset breaks off", _headed(b"Content-Length: 10"), *_BREAKS, then="reset"),
    *(
        _case(f"{what} in an answer breaks it off", _CHUNKS + chunk, *_BREAKS)
        for what, chunk in _BROKEN_CHUNKS.items()
    ),
    _case("a head that breaks off is a 502", _OK + b"Content-Le", _INVALID, then="close"),
    _case("no answer is a 502, asked once more or not", b"", *(
        Expected(answers=(Answer(status=(502,), code="upstream-unreachable"),), after="open",
            forwarded=(Forwarded(),) * times, charged=0)
        for times in (1, 2)
    ), then="close"),
    Case(says="HTTP/1.0 gets no chunks",
        sends=(request(start=b"GET /v1/x HTTP/1.0"),),
        expects=(Expected(
            answers=(Answer(status=(200,), body=b"hello", lacks=(b"transfer-encoding",)),),
            after="closed", forwarded=(Forwarded(),)),),
        upstream=Upstream(sends=_CHUNKS + b"0\r\n\r\n")),
    Case(says="an answer that comes during the upload reaches the caller",
        sends=(post(b"Content-Length: 90000", body=b"x" * 80_000),),
        expects=(Expected(
            answers=(Answer(status=(403,), body=b"no"),), charged=1,
            forwarded=(Forwarded(line=b"POST /v1/x HTTP/1.1", body=None, cut=True),)),),
        upstream=Upstream(sends=b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", early=True), whole=False),
    Case(says="an answer that comes before the body's last part reaches the caller",
        sends=(post(b"Content-Length: 90000", body=b"x" * 80_000), Pause.FOR_UPSTREAM, b"x" * 10_000),
        expects=tuple(
            Expected(answers=(Answer(status=(403,), body=b"no"),), charged=1,
                forwarded=(Forwarded(line=b"POST /v1/x HTTP/1.1", body=None, cut=cut),))
            for cut in (True, False)
        ),
        upstream=Upstream(sends=b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", early=True), whole=False),
)  # fmt: skip
