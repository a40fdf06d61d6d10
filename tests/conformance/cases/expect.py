"""Expect: 100-continue, which lets a caller keep its body until the gateway wants it.

The decision comes before the body: who is refused gets no 100.

Source: RFC 9110 section 10.1.1.
"""

from __future__ import annotations

from tests.conformance.case import Answer, Case, Expected, Pause, post, posted, refusal, relayed
from tests.conformance.servers import MAX_BODY_BYTES

_EXPECT = b"Expect: 100-continue"
_CL = b"Content-Length: 5"
_FINAL = Answer(status=(200,), body=b"/v1/x")
_CONTINUE = Answer(status=(100,), body=b"")
_GO_ON = Expected(answers=(_CONTINUE, _FINAL), after="open", forwarded=(posted(),))
_AT_ONCE = (_GO_ON, relayed(posted()))


def _waits(says: str, head: bytes, *expects: Expected, body: bytes = b"hello") -> Case:
    return Case(says=says, sends=(head, Pause.FOR_INTERIM, body), expects=expects, whole=False)


CASES = (
    _waits("who is admitted is told to go on", post(_EXPECT, _CL), _GO_ON),
    _waits("the expectation in any letters is understood", post(b"EXPECT: 100-Continue", _CL), _GO_ON),
    _waits("who sends chunks is told to go on",
        post(_EXPECT, b"Transfer-Encoding: chunked"), _GO_ON, body=b"5\r\nhello\r\n0\r\n\r\n"),
    _waits("who has no key is not told to go on", post(_EXPECT, _CL, key=None),
        refusal(401, code="invalid-api-key", after="either")),
    _waits("whose body would be too large is not told to go on",
        post(_EXPECT, b"Content-Length: %d" % (MAX_BODY_BYTES + 1)),
        refusal(413, code="body-too-large", after="either")),
    _waits("whose path is refused is not told to go on",
        post(_EXPECT, _CL).replace(b"/v1/x", b"/v1//x"), refusal(400, code="ambiguous-target", after="either")),
    _waits("whose framing is refused is not told to go on", post(_EXPECT, _CL, b"Content-Length: 6"), refusal(400)),
    Case(says="who does not wait is served", sends=(post(_EXPECT, _CL, body=b"hello"),), expects=_AT_ONCE),
    Case(says="an expectation without a body changes nothing", sends=(post(_EXPECT, b"Content-Length: 0"),),
        expects=(relayed(posted(b"")), Expected(answers=(_CONTINUE, _FINAL), after="open", forwarded=(posted(b""),)))),
    Case(says="an expectation on HTTP/1.0 is ignored", sends=(post(_EXPECT, _CL, version=b"HTTP/1.0", body=b"hello"),),
        expects=(relayed(posted(), after="closed"),)),
    Case(says="an unknown expectation is refused", sends=(post(b"Expect: 200-ok", _CL, body=b"hello"),),
        expects=(refusal(417, code=None, after="either"),)),
    Case(says="an unknown expectation beside a known one is refused",
        sends=(post(b"Expect: 100-continue, x=y", _CL, body=b"hello"),),
        expects=(refusal(417, code=None, after="either"),)),
    Case(says="an unknown expectation in a second field is refused",
        sends=(post(_EXPECT, b"Expect: x", _CL, body=b"hello"),),
        expects=(refusal(417, code=None, after="either"),)),
)  # fmt: skip
