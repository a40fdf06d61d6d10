"""Several requests on one connection: answered in order, each judged by itself.

Source: RFC 9112 sections 2.2, 9.3 and 9.3.2.
"""

from __future__ import annotations

from tests.conformance.case import KEY, METHOD, TARGET, Answer, Case, Expected, Forwarded, post, posted, request


def _get(path: bytes, *lines: bytes, key: bytes | None = KEY) -> bytes:
    return request(*lines, start=b"GET %b HTTP/1.1" % path, key=key)


def _got(path: bytes) -> Forwarded:
    return Forwarded(line=b"GET %b HTTP/1.1" % path)


def _ok(path: bytes) -> Answer:
    return Answer(status=(200,), body=path)


A, B, C = b"/v1/a", b"/v1/b", b"/v1/c"
_BAD = Answer(status=(400,))

CASES = (
    Case(says="two requests in one write are answered in order", sends=(_get(A) + _get(B),),
        expects=(Expected(answers=(_ok(A), _ok(B)), after="open", forwarded=(_got(A), _got(B))),)),
    Case(says="three requests in one write are answered in order", sends=(_get(A) + _get(B) + _get(C),),
        expects=(Expected(answers=(_ok(A), _ok(B), _ok(C)), after="open", forwarded=(_got(A), _got(B), _got(C))),)),
    Case(says="a request behind a body is answered second",
        sends=(post(b"Content-Length: 5", body=b"hello") + _get(B),),
        expects=(Expected(answers=(_ok(b"/v1/x"), _ok(B)), after="open", forwarded=(posted(), _got(B))),)),
    Case(says="a request behind a chunked body is answered second",
        sends=(post(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n") + _get(B),),
        expects=(Expected(answers=(_ok(b"/v1/x"), _ok(B)), after="open", forwarded=(posted(), _got(B))),)),
    Case(says="a HEAD before a GET has no body in its answer",
        sends=(request(start=b"HEAD /v1/a HTTP/1.1") + _get(B),),
        expects=(Expected(answers=(Answer(status=(200,), body=b""), _ok(B)), after="open",
            forwarded=(Forwarded(line=b"HEAD /v1/a HTTP/1.1"), _got(B))),)),
    Case(says="a refused target does not disturb the answer before it", sends=(_get(A) + _get(b"/v1//x"),),
        expects=(Expected(answers=(_ok(A), Answer(status=(400,), code=TARGET)), forwarded=(_got(A),)),)),
    Case(says="a refused target does not disturb the answer behind it", sends=(_get(b"/v1//x") + _get(B),),
        expects=(
            Expected(answers=(Answer(status=(400,), code=TARGET), _ok(B)), after="open", forwarded=(_got(B),)),
            Expected(answers=(Answer(status=(400,), code=TARGET),), after="closed"),
        )),
    Case(says="a refused key does not disturb the answers around it",
        sends=(_get(A) + _get(B, key=None) + _get(C),),
        expects=(
            Expected(answers=(_ok(A), Answer(status=(401,), code="invalid-api-key"), _ok(C)), after="open",
                forwarded=(_got(A), _got(C))),
            Expected(answers=(_ok(A), Answer(status=(401,), code="invalid-api-key")), after="closed",
                forwarded=(_got(A),)),
        )),
    Case(says="a refused method does not disturb the answer before it",
        sends=(_get(A) + request(start=b"TRACE /v1/x HTTP/1.1"),),
        expects=(Expected(answers=(_ok(A), Answer(status=(400, 405, 501), code=METHOD)), forwarded=(_got(A),)),)),
    Case(says="what is malformed ends the connection after the answer before it",
        sends=(_get(A) + post(b"Content-Length: x", body=b"hello"),),
        expects=(Expected(answers=(_ok(A), _BAD), after="closed", forwarded=(_got(A),)),)),
    Case(says="nothing behind what is malformed is read",
        sends=(post(b"Content-Length: x") + _get(B),),
        expects=(Expected(answers=(_BAD,), after="closed"),)),
    Case(says="nothing behind Connection: close is read",
        sends=(_get(A, b"Connection: close") + _get(B),),
        expects=(Expected(answers=(_ok(A),), after="closed", forwarded=(_got(A),)),)),
    Case(says="nothing behind HTTP/1.0 is read",
        sends=(request(start=b"GET /v1/a HTTP/1.0") + _get(B),),
        expects=(Expected(answers=(_ok(A),), after="closed", forwarded=(_got(A),)),)),
    Case(says="an empty line before a request is skipped", sends=(b"\r\n" + _get(A),),
        expects=(Expected(answers=(_ok(A),), after="open", forwarded=(_got(A),)),)),
    Case(says="an empty line between requests is skipped", sends=(_get(A) + b"\r\n" + _get(B),),
        expects=(Expected(answers=(_ok(A), _ok(B)), after="open", forwarded=(_got(A), _got(B))),)),
    Case(says="garbage between requests ends the connection", sends=(_get(A) + b"garbage\r\n\r\n" + _get(B),),
        expects=(Expected(answers=(_ok(A), _BAD), after="closed", forwarded=(_got(A),)),)),
    Case(says="bytes behind a body's length are the next request, and no good one",
        sends=(post(b"Content-Length: 5", body=b"hello, world\r\n\r\n"),),
        expects=(Expected(answers=(_ok(b"/v1/x"), _BAD), after="closed", forwarded=(posted(),)),)),
    Case(says="a space before the second request ends the connection", sends=(_get(A) + b" " + _get(B),),
        expects=(Expected(answers=(_ok(A), _BAD), after="closed", forwarded=(_got(A),)),)),
)  # fmt: skip
