"""One request hidden in another: what a lenient parser would take for two.

Each hides `GET /v1/hidden` with a live key where some parser would find it. It must never be
forwarded, and never be charged.

Source: RFC 9112 section 11.2.
"""

from __future__ import annotations

from tests.conformance.case import (
    BROKEN_BODY,
    Answer,
    Case,
    Expected,
    Forwarded,
    passed,
    post,
    posted,
    refusal,
    refused,
    request,
)

INNER = request(start=b"GET /v1/hidden HTTP/1.1")
_LENGTH = b"Content-Length: %d" % len(INNER)
_END = b"0\r\n\r\n"
_TE = b"Transfer-Encoding: chunked"
_CODING = (400, 501)
_DISGUISES = {
    "a coding with a space before its colon": b"Transfer-Encoding : chunked",
    "a coding with a tab": b"Transfer-Encoding:\tx",
    "an unknown coding": b"Transfer-Encoding: xchunked",
    "a coding behind a line feed": b"X-A: b\nTransfer-Encoding: chunked",
    "a coding behind a carriage return": b"X-A: b\rTransfer-Encoding: chunked",
    "a folded coding": b"Transfer-Encoding:\r\n chunked",
    "a coding in quotes": b"Transfer-Encoding: 'chunked'",
    "a coding with a NUL": b"Transfer-Encoding: chunked\0",
    "a coding with a vertical tab": b"Transfer-Encoding: \x0bchunked",
    "a coding without a value": b"Transfer-Encoding:",
    "a coding twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    "a coding named with a space before it": b" Transfer-Encoding: chunked",
}
_IN_CHUNKS = b"%x\r\n%b\r\n" % (len(INNER), INNER)

CASES = (
    refused("CL.TE: a length over a last chunk and a request",
        post(b"Content-Length: %d" % (len(_END) + len(INNER)), _TE, body=_END + INNER)),
    refused("TE.CL: a chunk that holds a request, and a length before it",
        post(b"Content-Length: 4", _TE, body=_IN_CHUNKS + _END)),
    *(
        refused(f"TE.TE: {what} beside a length", post(line, b"Content-Length: 5", body=_END + INNER), *_CODING)
        for what, line in _DISGUISES.items()
    ),
    passed("CL.0: a body that is a request is a body", post(_LENGTH, body=INNER), posted(INNER)),
    passed("0.CL: the body of a GET is a body", request(_LENGTH) + INNER, Forwarded(body=INNER)),
    passed("0.TE: the chunked body of a GET is a body",
        request(_TE) + _IN_CHUNKS + _END, Forwarded(body=INNER)),
    passed("a body of a DELETE is a body", request(_LENGTH, start=b"DELETE /v1/x HTTP/1.1") + INNER,
        Forwarded(line=b"DELETE /v1/x HTTP/1.1", body=INNER)),
    passed("a chunked body that is a request is a body", post(_TE, body=_IN_CHUNKS + _END), posted(INNER)),
    Case(says="a body behind a refused key is no request", sends=(post(_LENGTH, key=None, body=INNER),),
        expects=(refusal(401, code="invalid-api-key", after="either"),)),
    Case(says="a chunked body behind a refused key is no request",
        sends=(post(_TE, key=None, body=_IN_CHUNKS + _END),),
        expects=(refusal(401, code="invalid-api-key", after="either"),)),
    Case(says="a body behind a refused target is no request",
        sends=(post(_LENGTH, body=INNER).replace(b"/v1/x", b"/v1//x", 1),),
        expects=(refusal(400, code="ambiguous-target", after="either"),)),
    Case(says="a body behind a refused method is no request",
        sends=(post(_LENGTH, body=INNER).replace(b"POST", b"TRACE", 1),),
        expects=(refusal(400, 405, 501, code=None, after="either"),)),
    Case(says="a body behind a refused expectation is no request, waited for or not",
        sends=(post(_LENGTH, b"Expect: 100-continue", key=None, body=INNER),),
        expects=(refusal(401, code="invalid-api-key", after="either"),)),
    Case(says="a request behind a chunk extension with a line feed",
        sends=(post(_TE, body=b"5;\n" + b"hello\r\n" + _END + INNER),), expects=(BROKEN_BODY,)),
    Case(says="a request behind a last chunk that ends in a line feed",
        sends=(post(_TE, body=b"5\r\nhello\r\n0\n\n" + INNER),), expects=(BROKEN_BODY,)),
    Case(says="a request behind a chunk size that wraps around",
        sends=(post(_TE, body=b"100000000000000000\r\n" + INNER + _END),), expects=(BROKEN_BODY,)),
    Case(says="a request behind an upgrade's answer that never comes",
        sends=(request(b"Connection: Upgrade", b"Upgrade: foo/1") + INNER,),
        expects=(Expected(
            answers=(Answer(status=(200,), body=b"/v1/x"), Answer(status=(200,), body=b"/v1/hidden")),
            after="open", forwarded=(Forwarded(), Forwarded(line=b"GET /v1/hidden HTTP/1.1"))),)),
    refused("a request in a folded line", request(b"X-A: b\r\n " + INNER[:-4].replace(b"\r\n", b"\r\n "))),
    refused("a request behind a second, smaller length", post(b"Content-Length: 0", _LENGTH, body=INNER)),
    refused("a request behind a length in a list", post(b"Content-Length: 0, %d" % len(INNER), body=INNER)),
    refused("a request behind a length of HTTP/1.0 with a coding",
        post(_TE, _LENGTH, version=b"HTTP/1.0", body=INNER)),
)  # fmt: skip
