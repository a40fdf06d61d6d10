"""Which methods travel. Source: RFC 9110 section 9, and section 7.6.2 for Max-Forwards."""

from __future__ import annotations

from gateway.core.pattern import METHODS as FORWARDED
from tests.conformance.case import BAD, METHOD, Answer, Case, Expected, Forwarded, passed, refused, request

_UNKNOWN = (400, 405, 501)
_REFUSED = {
    "TRACE": b"TRACE /v1/x HTTP/1.1",
    "a method in small letters": b"get /v1/x HTTP/1.1",
    "a method in mixed letters": b"Get /v1/x HTTP/1.1",
    "an unknown method": b"FOO /v1/x HTTP/1.1",
    "a method that extends another": b"GETX /v1/x HTTP/1.1",
    "a method with a character that it cannot hold": b"GE(T /v1/x HTTP/1.1",
    "a method with a NUL": b"GET\0 /v1/x HTTP/1.1",
    "a method beyond ASCII": b"G\xc3\x8bT /v1/x HTTP/1.1",
    "a method of HTTP/2's preface": b"PRI /v1/x HTTP/1.1",
    "a method of 300 letters": b"A" * 300 + b" /v1/x HTTP/1.1",
}


def _forwards(method: str) -> Case:
    line = b"%b /v1/x HTTP/1.1" % method.encode()
    expected = Expected(
        answers=(Answer(status=(200,), body=b"" if method == "HEAD" else b"/v1/x"),),
        after="open",
        forwarded=(Forwarded(line=line),),
    )
    return Case(says=f"{method} is forwarded", sends=(request(start=line),), expects=(expected,))


CASES = (
    *(_forwards(method) for method in sorted(FORWARDED)),
    *(
        refused(f"{what} is not forwarded", request(start=line), *_UNKNOWN, code=(METHOD, BAD), after="either")
        for what, line in _REFUSED.items()
    ),
    refused("CONNECT is not forwarded",
        request(start=b"CONNECT api.test:443 HTTP/1.1"), *_UNKNOWN, code=None, after="either"),
    refused("CONNECT with a path is not forwarded",
        request(start=b"CONNECT /v1/x HTTP/1.1"), *_UNKNOWN, code=None, after="either"),
    refused("a method of 100,000 letters is not forwarded",
        request(start=b"A" * 100_000 + b" /v1/x HTTP/1.1"), *_UNKNOWN, 414, 431,
        code=None, hang_up=True, after="either"),
    refused("OPTIONS that may go no further is not forwarded",
        request(b"Max-Forwards: 0", start=b"OPTIONS /v1/x HTTP/1.1"), 501, code=METHOD, after="either"),
    refused("Max-Forwards that is no number is refused on OPTIONS",
        request(b"Max-Forwards: x", start=b"OPTIONS /v1/x HTTP/1.1"), after="either"),
    passed("Max-Forwards of OPTIONS is counted down",
        request(b"Max-Forwards: 3", start=b"OPTIONS /v1/x HTTP/1.1"),
        Forwarded(line=b"OPTIONS /v1/x HTTP/1.1", fields=((b"max-forwards", b"2"),))),
    passed("Max-Forwards means nothing to a GET",
        request(b"Max-Forwards: 0"), Forwarded(fields=((b"max-forwards", b"0"),))),
)  # fmt: skip
