"""Callers and upstreams that stop. Played with short time-outs. Source: RFC 9110 sections 15.5.9 and 15.6.5."""

from __future__ import annotations

from tests.conformance.case import Answer, Case, Expected, Forwarded, Upstream, chunked, post, posted, refusal, request

_REQUEST_TIMEOUT = (408,)
_STALLED = Expected(answers=(Answer(status=_REQUEST_TIMEOUT),), after="closed", may_hang_up=True, may_have_begun=True)
_TIMEOUT = Answer(status=(504,), code="upstream-timeout")


def _slow(says: str, sends: bytes, *expects: Expected, upstream: Upstream | None = None) -> Case:
    whole = upstream is not None
    return Case(
        says=says, sends=(sends,), expects=expects, whole=whole, impatient=True, upstream=upstream or Upstream()
    )


CASES = (
    _slow("a head that does not come to its end is given up",
        request()[:-2], refusal(*_REQUEST_TIMEOUT, hang_up=True, code=None)),
    _slow("a request line that does not come to its end is given up",
        b"GET /v1", refusal(*_REQUEST_TIMEOUT, hang_up=True, code=None)),
    _slow("a request of HTTP/0.9 is refused, or given up",
        b"GET /v1/x\r\n", refusal(400, 408, 505, hang_up=True, code=None)),
    _slow("a greeting of SSH is refused, or given up",
        b"SSH-2.0-OpenSSH_9.6\r\n", refusal(400, 408, 505, hang_up=True, code=None)),
    _slow("a body of which nothing comes is given up", post(b"Content-Length: 5"), _STALLED),
    _slow("a body that stalls is given up", post(b"Content-Length: 9", body=b"hello"), _STALLED),
    _slow("a chunked body that stalls is given up", chunked(b"5\r\nhello\r\n"), _STALLED),
    _slow("an upstream that says nothing is given up", request(),
        Expected(answers=(_TIMEOUT,), after="open", forwarded=(Forwarded(),), charged=0),
        upstream=Upstream(sends=b"", then="hang")),
    _slow("an upstream that stops in its head is given up", request(),
        Expected(answers=(_TIMEOUT,), after="open", forwarded=(Forwarded(),), charged=0),
        upstream=Upstream(sends=b"HTTP/1.1 200 OK\r\nX-A", then="hang")),
    _slow("an upstream that stops in its answer breaks it off", request(),
        Expected(answers=(Answer(status=(200,), body=b"hello", cut=True),), after="closed", forwarded=(Forwarded(),)),
        upstream=Upstream(sends=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", then="hang")),
    _slow("an upstream that takes a body and says nothing is given up", post(b"Content-Length: 5", body=b"hello"),
        Expected(answers=(_TIMEOUT,), after="open", forwarded=(posted(),), charged=0),
        upstream=Upstream(sends=b"", then="hang")),
)  # fmt: skip
