"""The bytes of header fields, and how many there may be.

Source: RFC 9112 section 5, RFC 9110 sections 5.1 to 5.5, RFC 6585 section 5.
"""

from __future__ import annotations

from tests.conformance.case import Forwarded, passed, refused, request

_TOO_LARGE = 431
_REFUSED = {
    "a NUL in a value": b"X-A: b\0c",
    "a bare carriage return in a value": b"X-A: b\rc",
    "a bare carriage return at the end of a value": b"X-A: b\r",
    "a bare line feed in a value": b"X-A: b\nc",
    "a control byte in a value": b"X-A: b\x01c",
    "an escape byte in a value": b"X-A: \x1b[31m",
    "a DEL in a value": b"X-A: b\x7fc",
    "a folded line": b"X-A: b\r\n c",
    "a line folded by a tab": b"X-A: b\r\n\tc",
    "a folded line of white space": b"X-A: b\r\n ",
    "a space before the colon": b"X-A : b",
    "a tab before the colon": b"X-A\t: b",
    "an empty name": b": b",
    "a line without a colon": b"X-A",
    "a space in a name": b"X A: b",
    "a control byte in a name": b"X\x01A: b",
    "a NUL in a name": b"X\0A: b",
    "a bare carriage return in a name": b"X\rA: b",
    "an at sign in a name": b"X@A: b",
    "a slash in a name": b"X/A: b",
    "a bracket in a name": b"X[A]: b",
    "a parenthesis in a name": b"X(A): b",
    "a quotation mark in a name": b'X"A": b',
    "a byte beyond ASCII in a name": b"X\xe9A: b",
}
_KEPT = {
    "an empty value": (b"X-A:", b""),
    "a value without a space before it": (b"X-A:b", b"b"),
    "bytes beyond ASCII in a value": (b"X-A: \xe9\xff\x80", b"\xe9\xff\x80"),
    "a tab in a value": (b"X-A: b\tc", b"b\tc"),
    "a colon in a value": (b"X-A: b: c", b"b: c"),
    "white space around a value is not, and the value": (b"X-A: \t b c \t ", b"b c"),
    "all that may stand in a name": (b"X-!#$%&'*+.^_`|~a1: b", b"b"),
    "a long value": (b"X-A: " + b"b" * 8000, b"b" * 8000),
}


def _named(line: bytes) -> bytes:
    return line.partition(b":")[0].lower()


CASES = (
    *(
        refused(f"{what} is refused", b"GET /v1/x HTTP/1.1\r\n" + line + b"\r\n" + request().partition(b"\r\n")[2])
        for what, line in _REFUSED.items()
    ),
    refused("a folded line behind the request line is refused",
        request().replace(b"\r\n", b"\r\n X-A: b\r\n", 1)),
    *(
        passed(f"{what} is kept", request(line), Forwarded(fields=((_named(line), value),)))
        for what, (line, value) in _KEPT.items()
    ),
    passed("order and repetitions are kept",
        request(b"X-B: 1", b"X-A: 2", b"Accept: a", b"X-B: 3", b"accept: b"),
        Forwarded(fields=((b"x-b", b"1"), (b"x-a", b"2"), (b"accept", b"a"), (b"x-b", b"3"), (b"accept", b"b")))),
    passed("conditions, ranges and codings are not touched",
        request(b"Range: bytes=0-1", b'If-Match: "a"', b"If-Range: x", b"Accept-Encoding: gzip", b"ETag: x"),
        Forwarded(fields=((b"range", b"bytes=0-1"), (b"if-match", b'"a"'), (b"if-range", b"x"),
            (b"accept-encoding", b"gzip"), (b"etag", b"x")))),
    passed("90 fields pass", request(*(b"X-%d: b" % n for n in range(90))),
        Forwarded(fields=tuple((b"x-%d" % n, b"b") for n in range(90)))),
    refused("too many fields are refused", request(*(b"X-%d: b" % n for n in range(300))), _TOO_LARGE,
        code=None, after="either"),
    refused("a field that is too long is refused", request(b"X-A: " + b"b" * 70_000), _TOO_LARGE,
        code=None, after="either"),
    refused("a name that is too long is refused", request(b"X" * 70_000 + b": b"), _TOO_LARGE,
        code=None, after="either"),
    refused("fields that are too long together are refused",
        request(*(b"X-%d: %b" % (n, b"b" * 1000) for n in range(80))), _TOO_LARGE, code=None, after="either"),
    refused("a head of a million bytes is refused",
        request(*(b"X-%d: %b" % (n, b"b" * 50_000) for n in range(20))), _TOO_LARGE,
        code=None, hang_up=True, after="either"),
)  # fmt: skip
