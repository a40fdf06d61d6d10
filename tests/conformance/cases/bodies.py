"""The chunks of a body, byte by exact byte, and what must never come of its trailer fields.

The head of such a request is good, so it may have been forwarded before its body shows that it is not:
then the upstream gets a request that breaks off, never one that looks whole.

Source: RFC 9112 sections 7.1 and 8.
"""

from __future__ import annotations

from dataclasses import replace

from tests.conformance.case import (
    BROKEN_BODY,
    KEY,
    Answer,
    Case,
    Forwarded,
    Pause,
    chunked,
    passed,
    post,
    posted,
    refused,
    relayed,
    request,
)
from tests.conformance.servers import MAX_BODY_BYTES

_END = b"0\r\n\r\n"
_TRAILERS = {
    "an identity": b"X-Tiergate-User: mallory\r\nX-Tiergate-Tier: enterprise\r\n",
    "a key": b"X-API-Key: " + KEY + b"\r\nAuthorization: Bearer " + KEY + b"\r\n",
    "a Host": b"Host: evil.test\r\n",
    "a length": b"Content-Length: 7\r\n",
    "a coding": b"Transfer-Encoding: gzip\r\n",
    "an address": b"X-Forwarded-For: 10.0.0.1\r\n",
    "an unknown field": b"X-Checksum: 1\r\n",
}
_OF_FRAMING = {"a length", "a coding"}
"""Such a trailer may also be refused with its request: no sender may send it (RFC 9110 section 6.5.1)."""
_BROKEN = {
    "a size that is no number": b"g\r\nhello\r\n",
    "an empty size": b"\r\nhello\r\n",
    "a negative size": b"-5\r\nhello\r\n",
    "a size with a plus sign": b"+5\r\nhello\r\n",
    "a size with a prefix": b"0x5\r\nhello\r\n",
    "a size behind a space": b" 5\r\nhello\r\n",
    "a size with an underscore": b"0_5\r\nhello\r\n",
    "a size that wraps around at 64 bits": b"10000000000000005\r\nhello\r\n",
    "a size of 300 digits": b"f" * 300 + b"\r\nhello\r\n",
    "a size line that ends in a line feed only": b"5\nhello\r\n",
    "a size line that ends in a carriage return only": b"5\rhello\r\n",
    "data without a line end": b"5\r\nhello",
    "data that ends in a line feed only": b"5\r\nhello\n",
    "data that is longer than its size": b"4\r\nhello\r\n",
    "an extension with a line feed in it": b"5;a\nb\r\nhello\r\n",
    "an extension with a NUL in it": b"5;a\0\r\nhello\r\n",
    "an extension with a carriage return in it": b"5;a\rb\r\nhello\r\n",
}
_EXTENSIONS = {
    "an extension": b";a=b",
    "an extension without a value": b";a",
    "an extension in quotes": b';a="b;c"',
}
_BROKEN_END = {
    "a last chunk without an empty line": b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "a trailer without a colon": b"0\r\nabc\r\n\r\n",
    "a trailer with a space before its colon": b"0\r\nA : b\r\n\r\n",
    "a trailer with a NUL": b"0\r\nA: \0\r\n\r\n",
    "a trailer that ends in a line feed only": b"0\r\nA: b\n\r\n",
    "a folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
}
_LARGE = b"x" * 30_000

CASES = (
    *(
        passed(f"{what} of a chunk means nothing", chunked(b"5%b\r\nhello\r\n%b" % (extension, _END)), posted())
        for what, extension in _EXTENSIONS.items()
    ),
    passed("a body in many chunks passes", chunked(b"1\r\nh\r\n2\r\nel\r\n2\r\nlo\r\n" + _END), posted()),
    passed("an empty chunked body passes", chunked(_END), posted(b"")),
    passed("a size with leading zeros passes", chunked(b"0005\r\nhello\r\n000\r\n\r\n"), posted()),
    passed("a size in capitals passes", chunked(b"A\r\nhellohello\r\n" + _END), posted(b"hellohello")),
    passed("bytes of any value pass", post(b"Content-Length: 256", body=bytes(range(256))), posted(bytes(range(256)))),
    passed("a large body passes", post(b"Content-Length: 30000", body=_LARGE), posted(_LARGE)),
    passed("a large chunked body passes", chunked(b"7530\r\n" + _LARGE + b"\r\n" + _END), posted(_LARGE)),
    *(
        Case(
            says=f"{what} in trailer fields goes nowhere",
            sends=(chunked(b"5\r\nhello\r\n0\r\n" + trailer + b"\r\n"),),
            expects=(relayed(posted()), BROKEN_BODY) if what in _OF_FRAMING else (relayed(posted()),),
        )
        for what, trailer in _TRAILERS.items()
    ),
    *(
        Case(says=f"{what} breaks the request off", sends=(chunked(chunk + _END),), expects=(BROKEN_BODY,))
        for what, chunk in _BROKEN.items()
    ),
    *(
        Case(says=f"{what} breaks the request off", sends=(chunked(b"5\r\nhello\r\n" + end),), expects=(BROKEN_BODY,))
        for what, end in _BROKEN_END.items()
    ),
    Case(says="an extension without end breaks the request off",
        sends=(chunked(b"5;" + b"a" * 70_000 + b"\r\nhello\r\n" + _END),), expects=(BROKEN_BODY,)),
    Case(says="trailer fields without end break the request off",
        sends=(chunked(b"5\r\nhello\r\n0\r\n" + b"A: b\r\n" * 20_000 + b"\r\n"),), expects=(BROKEN_BODY,)),
    Case(says="a body that ends before its length is no request",
        sends=(post(b"Content-Length: 50", body=b"hello"), Pause.EOF), expects=(BROKEN_BODY,), whole=False),
    Case(says="a chunked body that ends in a chunk is no request",
        sends=(chunked(b"5\r\nhel"), Pause.EOF), expects=(BROKEN_BODY,), whole=False),
    Case(says="a chunked body that ends before its last chunk is no request",
        sends=(chunked(b"5\r\nhello\r\n"), Pause.EOF), expects=(BROKEN_BODY,), whole=False),
    Case(says="a chunked body that ends before the last empty line is no request",
        sends=(chunked(b"5\r\nhello\r\n0\r\n"), Pause.EOF), expects=(BROKEN_BODY,), whole=False),
    refused("a body longer than the cap is refused before any of it comes",
        post(b"Content-Length: %d" % (MAX_BODY_BYTES + 1)), 413, code="body-too-large", after="either", whole=False),
    Case(says="a chunked body longer than the cap is broken off",
        sends=(chunked(b"%x\r\n" % (MAX_BODY_BYTES + 1) + b"x" * (MAX_BODY_BYTES + 1) + b"\r\n" + _END),),
        expects=(replace(BROKEN_BODY, answers=(Answer(status=(413,), code="body-too-large"),), after="either"),)),
    passed("a GET may have a body",
        request(b"Content-Length: 5") + b"hello", Forwarded(body=b"hello")),
)  # fmt: skip
