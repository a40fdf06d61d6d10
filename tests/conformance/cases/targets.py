"""One reading of the path, and that one is matched and forwarded; the query passes byte for byte.

Source: RFC 9112 section 3.2, RFC 3986 sections 3.3 and 6.2.2, RFC 9110 section 4.1.
"""

from __future__ import annotations

from tests.conformance.case import BAD, TARGET, Case, Forwarded, passed, refusal, refused, relayed, request

_REFUSED = {
    "an empty segment": b"/v1//x",
    "two slashes first": b"//v1/x",
    "a host behind two slashes": b"//evil.test/v1/x",
    "a dot segment": b"/v1/./x",
    "two dots": b"/v1/../x",
    "two dots at the end": b"/v1/x/..",
    "a dot segment at the end": b"/v1/x/.",
    "encoded dots": b"/v1/%2e%2e/x",
    "encoded dots in capitals": b"/v1/%2E%2E/x",
    "a half encoded dot segment": b"/v1/.%2e/x",
    "an encoded dot": b"/v1/x%2ehtml",
    "an encoded slash": b"/v1/a%2fb",
    "an encoded slash in capitals": b"/v1/a%2Fb",
    "an encoded backslash": b"/v1/a%5cb",
    "a backslash": b"/v1/a\\b",
    "a semicolon": b"/v1/x;a=b",
    "a semicolon before dots": b"/v1/..;/x",
    "an encoded NUL": b"/v1/x%00",
    "an encoded line feed": b"/v1/x%0a",
    "an encoded carriage return": b"/v1/x%0dy",
    "an encoded DEL": b"/v1/x%7f",
    "a percent sign alone": b"/v1/x%",
    "an escape of one digit": b"/v1/x%2",
    "an escape that is no number": b"/v1/x%zz",
    "an escape in the style of a script": b"/v1/x%u002f",
    "a double escape": b"/v1/a%252fb",
    "a double escape of dots": b"/v1/%252e%252e/x",
    "an encoded letter": b"/v1/%61dmin",
    "an overlong encoding of a slash": b"/v1/a%c0%afb",
    "escapes that are no UTF-8": b"/v1/x%ff",
    "a fragment": b"/v1/x#y",
    "a fragment in the query": b"/v1/x?a#b",
    "bytes beyond ASCII": b"/v1/\xc3\xa4",
    "a byte that is no UTF-8": b"/v1/\xff",
    "bytes beyond ASCII in the query": b"/v1/x?\xc3\xa4",
    "a NUL": b"/v1/x\0",
    "a control byte": b"/v1/x\x01",
    "a DEL": b"/v1/x\x7f",
    "a vertical tab": b"/v1/x\x0by",
    "a control byte in the query": b"/v1/x?a\x01",
    "a NUL in the query": b"/v1/x?a\0b",
    "a quotation mark": b'/v1/"x"',
    "an angle bracket": b"/v1/<x>",
    "a brace": b"/v1/{x}",
    "a bracket": b"/v1/[x]",
    "a caret": b"/v1/x^y",
    "a backtick": b"/v1/x`y",
    "a bar": b"/v1/x|y",
    "no slash first": b"v1/x",
    "an encoded slash first": b"%2fv1/x",
    "a query only": b"?a=b",
}
_RESERVED = {
    "an escape in a reserved path": b"/%5Ftiergate/health",
    "a reserved path in capitals": b"/_TIERGATE/health",
    "a reserved path behind an empty segment": b"//_tiergate/health",
    "a reserved path behind dots": b"/v1/../_tiergate/health",
    "an encoded letter in a reserved path": b"/_tiergat%65/health",
    "an encoded letter in a billing path": b"/api/v1/%77ebhook",
    "an encoded slash in a billing path": b"/api%2Fv1/plans",
}
_LINES = {
    "two spaces before the target": b"GET  /v1/x HTTP/1.1",
    "two spaces before the version": b"GET /v1/x  HTTP/1.1",
    "a tab before the target": b"GET\t/v1/x HTTP/1.1",
    "a tab before the version": b"GET /v1/x\tHTTP/1.1",
    "a space in the target": b"GET /v1/x y HTTP/1.1",
    "a space before the method": b" GET /v1/x HTTP/1.1",
    "no target": b"GET HTTP/1.1",
    "an empty target": b"GET  HTTP/1.1",
    "no method": b"/v1/x HTTP/1.1",
    "an empty method": b" /v1/x HTTP/1.1",
}
_KEPT = {
    "the root": b"/",
    "a slash at the end": b"/v1/x/",
    "escapes in UTF-8": b"/v1/%C3%A4",
    "escapes in small letters": b"/v1/%c3%a4",
    "an encoded space": b"/v1/a%20b",
    "an encoded percent sign": b"/v1/100%25",
    "all that may stand in a path": b"/v1/a-._~!$&'()*+,=:@b",
    "dots in a name": b"/v1/...x/a..b/.x",
    "a colon in the first segment": b"/v1:x",
    "a query": b"/v1/x?a=b&c=d",
    "anything in a query": b"/v1/x?a=/../..//;%2f%00%zz%&b[]=1&&c=?:@!$'()*,",
    "escapes in a query": b"/v1/x?a=%61%2e%2E+%20",
    "a URL in a query": b"/v1/x?u=http://user@evil.test:80/x",
    "a long query": b"/v1/x?" + b"a" * 7000,
}
_LONG = b"a" * 9000


def _line(target: bytes) -> bytes:
    return b"GET %b HTTP/1.1" % target


def _kept(says: str, target: bytes) -> Case:
    return passed(says, request(start=_line(target)), Forwarded(line=_line(target)), body=target)


CASES = (
    *(
        refused(f"{what} is refused", request(start=_line(target)), code=(TARGET, BAD), after="either")
        for what, target in (_REFUSED | _RESERVED).items()
    ),
    *(refused(f"{what} is refused", request(start=line), code=None) for what, line in _LINES.items()),
    *(_kept(f"{what} is kept byte for byte", target) for what, target in _KEPT.items()),
    Case(says="an empty query may be dropped", sends=(request(start=_line(b"/v1/x?")),), expects=tuple(
        relayed(Forwarded(line=_line(target)), body=target) for target in (b"/v1/x?", b"/v1/x")
    )),
    refused("the target of a whole server is refused",
        request(start=b"OPTIONS * HTTP/1.1"), code=TARGET, after="either"),
    refused("an asterisk for a GET is refused", request(start=b"GET * HTTP/1.1"), code=TARGET, after="either"),
    refused("a target in authority form is refused",
        request(start=b"GET api.test:80 HTTP/1.1"), code=TARGET, after="either"),
    refused("an absolute target of another scheme is refused",
        request(start=b"GET ftp://api.test/v1/x HTTP/1.1"), code=TARGET, after="either"),
    refused("an absolute target without a host is refused",
        request(start=b"GET http:///v1/x HTTP/1.1"), code=TARGET, after="either"),
    refused("a path that is too long is refused",
        request(start=_line(b"/v1/" + _LONG)), 414, code="target-too-long", after="either"),
    refused("a query that is too long is refused",
        request(start=_line(b"/v1/x?" + _LONG)), 414, code="target-too-long", after="either"),
    refused("a path of 100,000 bytes is refused",
        request(start=_line(b"/v1/" + b"a" * 100_000)), 414, 400, 431,
        code=None, hang_up=True, after="either"),
    Case(says="a reserved path that is not served is never forwarded",
        sends=(request(start=_line(b"/_tiergate/nope")),), expects=(refusal(404, code="not-found", after="either"),)),
)  # fmt: skip
