"""Offers to go on in another protocol, and other protocols on this port.

An offer is not taken up, so it changes nothing: the request is served, and what follows is HTTP/1.1.

Source: RFC 9110 section 7.8, RFC 9113 sections 3.3 and 3.4.
"""

from __future__ import annotations

from tests.conformance.case import Answer, Case, Expected, Forwarded, passed, post, posted, refusal, request

_H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__")
_OTHER = (b"Connection: Upgrade", b"Upgrade: foo/1")
_TLS_HELLO = bytes.fromhex("16030100f8010000f40303") + bytes(237)
_REFUSED = refusal(400, 426, 501, 505, code=None, hang_up=True)


def _not_http(says: str, data: bytes) -> Case:
    return Case(says=says, sends=(data,), expects=(_REFUSED,), whole=False)


CASES = (
    passed("an offer of HTTP/2 changes nothing", request(*_H2C)),
    passed("an offer of HTTP/2 loses no body",
        post(*_H2C, b"Content-Length: 5", body=b"hello"), posted()),
    passed("an offer of HTTP/2 loses no chunked body",
        post(*_H2C, b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"), posted()),
    passed("an offer of an unknown protocol changes nothing", request(*_OTHER)),
    passed("an offer that Connection does not list changes nothing", request(b"Upgrade: h2c")),
    passed("an offer of several protocols changes nothing", request(b"Connection: upgrade", b"Upgrade: h2c, foo/1")),
    Case(says="a request behind an offer is served", sends=(request(*_H2C) + request(start=b"GET /v1/y HTTP/1.1"),),
        expects=(Expected(
            answers=(Answer(status=(200,), body=b"/v1/x"), Answer(status=(200,), body=b"/v1/y")), after="open",
            forwarded=(Forwarded(), Forwarded(line=b"GET /v1/y HTTP/1.1"))),)),
    _not_http("the preface of HTTP/2 is refused",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")),
    _not_http("a TLS hello is refused", _TLS_HELLO),
    _not_http("a line of a proxy protocol is refused", b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + request()),
    _not_http("a binary line of a proxy protocol is refused",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + request()),
    _not_http("zeros are refused", bytes(64)),
    _not_http("an answer is refused", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
)  # fmt: skip
