"""Exactly one Host, and one that every parser reads alike.

Source: RFC 9112 sections 3.2 and 3.2.2, RFC 9110 section 7.2, RFC 3986 section 3.2.
"""

from __future__ import annotations

from tests.conformance.case import TARGET, Case, Forwarded, passed, refusal, refused, relayed, request

_GOOD = {
    "a name": b"api.example.com",
    "a name with a port": b"api.example.com:8443",
    "a name with an empty port": b"api.example.com:",
    "an IPv4 address": b"127.0.0.1:80",
    "an IPv6 address": b"[::1]:80",
    "a name with an underscore": b"my_api.example.com",
    "a name in capitals": b"API.Example.COM",
}
_BAD = {
    "that is empty": b"",
    "that is only a port": b":80",
    "with a user": b"user@api.test",
    "with a user and a password": b"user:pass@api.test",
    "with a port that is no number": b"api.test:http",
    "with a negative port": b"api.test:-1",
    "with a port beyond 65535": b"api.test:99999",
    "with two ports": b"api.test:80:80",
    "with a space in it": b"api.test evil.test",
    "of two names in a list": b"api.test, evil.test",
    "with a path": b"api.test/v1",
    "with a query": b"api.test?x",
    "with a fragment": b"api.test#x",
    "with a backslash": b"api.test\\x",
    "with a scheme": b"http://api.test",
    "that is half an IPv6 address": b"[::1",
    "of brackets around a name": b"[api.test]",
    "of empty brackets": b"[]",
    "with something behind the brackets": b"[::1]x",
    "with bytes beyond ASCII": b"\xc3\xa4pi.test",
    "with angle brackets": b"<api.test>",
}
_ABSOLUTE = request(start=b"GET http://api.test/v1/x HTTP/1.1")
_OTHER = request(start=b"GET http://other.test/v1/x HTTP/1.1")

CASES = (
    *(
        passed(f"{what} in Host passes, and is told to the upstream", request(host=host),
            Forwarded(added=((b"x-forwarded-host", host),)))
        for what, host in _GOOD.items()
    ),
    passed("the name of the field in any letters passes", request(b"hOsT: api.test", host=None)),
    refused("a request without Host is refused", request(host=None), after="either"),
    refused("two Hosts are refused", request(b"Host: evil.test"), after="either"),
    refused("the same Host twice is refused", request(b"Host: api.test"), after="either"),
    *(refused(f"a Host {what} is refused", request(host=host), after="either") for what, host in _BAD.items()),
    refused("a space before the colon of Host is refused", request(b"Host : evil.test")),
    refused("a Host on a folded line is refused", request(b"Host:\r\n api.test", host=None)),
    refused("a Host behind a bare carriage return is refused", request(b"X-A: b\rHost: api.test", host=None)),
    passed("HTTP/1.0 needs no Host", request(start=b"GET /v1/x HTTP/1.0", host=None), after="closed"),
    refused("two Hosts on HTTP/1.0 are refused", request(b"Host: evil.test", start=b"GET /v1/x HTTP/1.0")),
    Case(says="a target in absolute form is refused, or forwarded in origin form", sends=(_ABSOLUTE,), expects=(
        refusal(400, code=TARGET, after="either"),
        relayed(Forwarded(added=((b"x-forwarded-host", b"api.test"),))),
    )),
    Case(says="a target in absolute form is refused, or its host wins over Host", sends=(_OTHER,), expects=(
        refusal(400, code=None, after="either"),
        relayed(Forwarded(added=((b"x-forwarded-host", b"other.test"),))),
    )),
    refused("a target in absolute form without Host is refused",
        request(start=b"GET http://api.test/v1/x HTTP/1.1", host=None), code=None, after="either"),
    refused("two Hosts beside an absolute target are refused",
        request(b"Host: evil.test", start=b"GET http://api.test/v1/x HTTP/1.1"), code=None, after="either"),
)  # fmt: skip
