"""Which fields travel: what belongs to a connection ends here, identities are ours, keys stay.

Source: RFC 9110 sections 7.6.1 and 7.6.3, RFC 9112 section 9, RFC 9111.
"""

from __future__ import annotations

from tests.conformance.case import KEY, Answer, Case, Expected, Forwarded, passed, refusal, refused, request

_HOPS = (
    b"Keep-Alive: timeout=5",
    b"Proxy-Connection: keep-alive",
    b"TE: trailers",
    b"Trailer: X-A",
    b"Proxy-Authorization: Basic eDp5",
    b"Proxy-Authenticate: Basic",
)
_PRIVATE = Forwarded(fields=((b"x-public", b"2"),))
_IDENTITIES = {
    "an identity of the caller's own making": b"X-Tiergate-User: mallory",
    "a tier of the caller's own making": b"X-Tiergate-Tier: enterprise",
    "an identity field that we do not set": b"X-Tiergate-Anything: x",
    "an identity under a look-alike name": b"X_Tiergate_User: mallory",
    "an identity under a name that is half alike": b"X-Tiergate_User: mallory",
    "the bare prefix of identities": b"X-Tiergate: x",
    "a key under a look-alike name": b"X_API_Key: x",
    "a key in Authorization": b"Authorization: Bearer " + KEY,
    "what a caller says about itself": b"X-Forwarded-Host: evil.test",
    "what a caller says about its protocol": b"X-Forwarded-Proto: https",
    "an address under a look-alike name": b"X_Forwarded_For: 10.0.0.1",
    "an address of a proxy's": b"X-Real-IP: 10.0.0.1",
    "Forwarded of a stranger": b"Forwarded: for=10.0.0.1",
    "our cookie": b"Cookie: tiergate_session=x",
}
_OLD = b"GET /v1/x HTTP/1.0"

CASES = (
    *(
        passed(f"{line.partition(b':')[0].decode()} ends here", request(line, b"X-A: b"),
            Forwarded(fields=((b"x-a", b"b"),)))
        for line in _HOPS
    ),
    *(
        passed(f"{what} goes no further", request(line),
            Forwarded(added=((b"x-forwarded-for", b"127.0.0.1"), (b"x-forwarded-host", b"api.test"),
                (b"x-forwarded-proto", b"http"), (b"x-tiergate-tier", b"free"))))
        for what, line in _IDENTITIES.items()
    ),
    passed("a field that Connection lists ends here",
        request(b"Connection: x-private", b"X-Private: 1", b"X-Public: 2"), _PRIVATE),
    passed("fields that Connection lists in any letters end here",
        request(b"Connection: keep-alive, X-PRIVATE", b"X-Private: 1", b"X-Public: 2"), _PRIVATE),
    passed("empty members of Connection mean nothing",
        request(b"Connection: , x-private ,,", b"X-Private: 1", b"X-Public: 2"), _PRIVATE),
    passed("fields listed in a second Connection end here",
        request(b"Connection: keep-alive", b"X-Private: 1", b"X-Public: 2", b"Connection: x-private"), _PRIVATE),
    passed("Connection cannot strip an identity", request(b"Connection: x-tiergate-tier, x-tiergate-user"),
        Forwarded(added=((b"x-tiergate-tier", b"free"),))),
    passed("Connection cannot strip what is said of the caller", request(b"Connection: x-forwarded-for, via"),
        Forwarded(added=((b"x-forwarded-for", b"127.0.0.1"), (b"via", b"1.1 tiergate")))),
    passed("Connection cannot strip the Host", request(b"Connection: host"),
        Forwarded(added=((b"x-forwarded-host", b"api.test"),))),
    passed("Via names this hop and its protocol", request(), Forwarded(added=((b"via", b"1.1 tiergate"),))),
    passed("another cookie is kept beside ours", request(b"Cookie: a=b; tiergate_session=x; c=d"),
        Forwarded(fields=((b"cookie", b"a=b; c=d"),))),
    passed("credentials of the API's own are kept", request(b"Authorization: Basic eDp5"),
        Forwarded(fields=((b"authorization", b"Basic eDp5"),))),
    passed("a key in Authorization opens", request(b"Authorization: Bearer " + KEY, key=None)),
    refused("a request without a key is refused", request(key=None), 401, code="invalid-api-key", after="either"),
    refused("two keys that differ are refused", request(b"Authorization: Bearer tg_test_other"), after="either"),
    Case(says="Connection: close ends the connection after the answer", sends=(request(b"Connection: close"),),
        expects=(Expected(
            answers=(Answer(status=(200,), body=b"/v1/x", fields=((b"connection", b"close"),)),),
            after="closed", forwarded=(Forwarded(),)),)),
    Case(says="Connection: close beside another option ends the connection",
        sends=(request(b"Connection: x-private, CLOSE", b"X-Private: 1"),),
        expects=(Expected(answers=(Answer(status=(200,), body=b"/v1/x"),), after="closed", forwarded=(Forwarded(),)),)),
    Case(says="HTTP/1.0 is not kept alive unasked", sends=(request(start=_OLD),),
        expects=(Expected(answers=(Answer(status=(200,), body=b"/v1/x"),), after="closed",
            forwarded=(Forwarded(added=((b"via", b"1.0 tiergate"),)),)),)),
    Case(says="HTTP/1.0 may be kept alive where it asks", sends=(request(b"Connection: keep-alive", start=_OLD),),
        expects=(Expected(answers=(Answer(status=(200,), body=b"/v1/x"),), forwarded=(Forwarded(),)),)),
    Case(says="a refusal of HTTP/1.0 ends the connection", sends=(request(start=_OLD, key=None),),
        expects=(refusal(401, code="invalid-api-key"),)),
)  # fmt: skip
