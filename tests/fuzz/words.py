"""What messages are made of: ordinary words, and the ones that parsers have been fooled with."""

from __future__ import annotations

ODDITIES = (0.0, 0.02, 0.05, 0.15, 0.4)
"""Chances of an odd word that streams are drawn with."""

METHODS = (
    b"GET", b"GET", b"GET", b"POST", b"POST", b"POST", b"PUT", b"HEAD", b"DELETE", b"PATCH", b"OPTIONS", b"QUERY",
)  # fmt: skip
ODD_METHODS = (
    b"TRACE", b"CONNECT", b"BREW", b"get", b"PRI", b"G\0T", b"", b"GE T", b"GET\t", b"\xc3\x84", b"!#$%&'*+-.^_`|~",
    b"A" * 300,
)  # fmt: skip
VERSIONS = (b"HTTP/1.1",) * 12 + (b"HTTP/1.0",) * 3
ODD_VERSIONS = (
    b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.10", b"http/1.1", b"HTTP/1", b"", b"HTTP/1.1 ", b"HTTP/01.1",
    b"HTTP/1.1\t", b"HTTP/1,1", b"HTTP/\xb9.1", b"HTTPS/1.1", b"HTTP/1.1\r", b"HTTP/+1.1", b"HTTP /1.1",
)  # fmt: skip

SEGMENTS = (
    b"v1", b"a", b"b", b"items", b"42", b"x-y_z", b"~me", b"a.b", b"...", b"a..b", b".hidden", b"%20", b"%C3%A4",
    b"%c3%a4", b"a%3Ab", b"a:b", b"100%25", b"$&'()*+,=!@", b"%21", b"%7E", b"%e2%82%ac", b"admin", b"render", b"",
)  # fmt: skip
ODD_SEGMENTS = (
    b".", b"..", b"%2e", b"%2E%2e", b".%2e", b"%2e.", b"%252e", b"%2f", b"%2F", b"%5c", b"%5C", b"\\", b"..\\", b";",
    b";x=y", b"..;", b"a;b", b"%3b", b"%00", b"%0a", b"%0d%0a", b"%7f", b"%", b"%2", b"%zz", b"%u002f", b"%c0%af",
    b"%c0%ae", b"%e0%80%af", b"%ff", b"%61", b"%41dmin", b"%5F", b"%25252f", b"%252f", b"#", b"#x", b"\xc3\xa4",
    b"\xff", b"\0", b"\x7f", b" ", b"\t", b"|", b"^", b"`", b"{x}", b"[x]", b"<x>", b'"', b"*", b"**", b"_tiergate",
    b"%5ftiergate", b"_TIERGATE", b"api", b"%61pi", b"health", b"%2525", b"%25", b"%2525%32%46", b"%EF%BC%8F",
    b"%ef%bc%8e%ef%bc%8e", b"%E2%88%95", b"%c2%a0", b"..%00", b"%3f", b"%23", b"?", b"//",
)  # fmt: skip
QUERIES = (
    b"", b"?", b"?a=b", b"?a=b&c=%20", b"?x=/../..//;%2f%00%zz", b"?u=http://e.test/", b"??", b"?[]={}|^`",
    b"?a=1&a=2",
)  # fmt: skip
ODD_QUERIES = (
    b"?#", b"?\xff", b"?\0", b"? ", b"?\x7f", b"?\r", b"?\\", b'?"<>', b"?\t", b"?a#b", b"?" + b"a" * 9000,
)  # fmt: skip
ODD_TARGETS = (
    b"*", b"", b"http://api.test/v1/a", b"http://evil.test/", b"api.test:80", b"//evil.test/v1", b"v1/a", b"?a",
    b"%2fv1", b"/" + b"a" * 8200, b"https:/v1", b"http:", b"/v1 /a", b"\\v1", b"/\xef\xbb\xbf", b"file:///etc",
    b"/v1/" + b"%20" * 2800,
)  # fmt: skip

HOSTS = (b"api.test", b"api.test:8080", b"127.0.0.1", b"[::1]:80", b"API.TEST.", b"x")
ODD_HOSTS = (
    b"", b"a b", b"a,b", b"api.test:", b"api.test:x", b"api.test:99999", b"http://api.test", b"api.test/x",
    b"u@api.test", b"[::1", b"[x]", b"::1", b"a\tb", b"a\0b", b"\xc3\xa4", b"a:b:c", b"api.test#", b"api.test?x",
    b"api.test\\x", b"[::1]x", b"%00", b"a;b", b"[]", b"[1.2]", b":80", b"api.test:+80", b"api.test:\xb2",
)  # fmt: skip

LENGTHS = (b"0", b"5", b"05", b" 5", b"5 ")
ODD_LENGTHS = (
    b"+5", b"-5", b"0x5", b"5_0", b"5.0", b"", b"5,5", b"5, 5", b"5,6", b"5 5", b"\xb2", b"\x0b5", b"5\x0c",
    b"9" * 18, b"9" * 19, b"18446744073709551621", b"4294967301", b"9" * 400, b"5;a", b'"5"', b"\xd9\xa5", b"5\r",
    b"5\0", b"\xa05", b"1e1", b"-0", b"NaN",
)  # fmt: skip
CODINGS = (b"chunked", b"chunked", b"Chunked", b"CHUNKED", b" chunked ", b"\tchunked")
ODD_CODINGS = (
    b"gzip, chunked", b"chunked, chunked", b"chunked, identity", b"identity", b"xchunked", b"chunkedx",
    b"chunked;q=1", b'"chunked"', b"", b"chunked,", b",chunked", b"\x0bchunked", b"chunked\x0c", b"\xa0chunked",
    b"chunked chunked", b"chu\0nked", b"chunk\xc3\xa9d", b"gzip", b"chunked\r", b"\rchunked", b"\x00chunked",
    b"trailers", b"chun\tked",
)  # fmt: skip
FRAMING_NAMES = (
    b"Content-Length", b"content-length", b"Transfer-Encoding", b"transfer-encoding", b"CONTENT-LENGTH",
    b"Content_Length", b"Transfer_Encoding", b"Content-Length ", b" Content-Length", b"Transfer-Encoding ",
    b" Transfer-Encoding", b"\tTransfer-Encoding", b"Transfer-Encoding\t", b"Transfer\xadEncoding",
    b"Content-Length\0", b"Transfer-Encod\xc4\xb1ng", b"X-Transfer-Encoding", b"Content-Length\x0b",
    b"Content-Len\rgth", b"TE",
)  # fmt: skip

FIELDS = (
    b"Accept: */*", b"User-Agent: fuzz/1", b"X-A: b", b"X-A:b", b"X-A:  b  ", b"X-Empty:", b"x-a: 1",
    b"X-Text: \xc3\xa4\xff", b"Cookie: a=b", b"Cookie: tiergate_session=x; a=b", b"Connection: keep-alive",
    b"Connection: close", b"Connection: Keep-Alive, X-A", b"Connection: te, close", b"Connection: ,",
    b"Connection: x-a, x-b", b"Connection: content-length", b"Connection: transfer-encoding, host",
    b"Keep-Alive: timeout=5", b"TE: trailers", b"Trailer: X-T", b"Proxy-Connection: keep-alive", b"Upgrade: h2c",
    b"Upgrade: websocket", b"Connection: Upgrade", b"HTTP2-Settings: AAEAAEAA", b"Expect: 100-continue",
    b"Via: 1.0 x", b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-Host: evil.test", b"Forwarded: for=6.6.6.6",
    b"X-Real-IP: 6.6.6.6", b"X_Forwarded_For: 6.6.6.6", b"X-Tiergate-Tier: gold", b"X_Tiergate_Customer: x",
    b"X-Tiergate: 1", b"Authorization: Basic eDp5", b"Authorization: Bearer other", b'If-None-Match: "a"',
    b"Range: bytes=0-1", b"Max-Forwards: 5", b"Max-Forwards: 0", b"X-Request-ID: abc", b"Content-Type: text/plain",
    b"X-HTTP-Method-Override: DELETE", b"X-Original-URL: /admin", b"Origin: https://o.test",
)  # fmt: skip
ODD_FIELDS = (
    b"X-A : b", b"X-A\t: b", b" X-A: b", b"\tfolded", b" folded", b": b", b"X-A", b"", b"X A: b", b"X-A: a\0b",
    b"X-A: a\rb", b"X-A: a\nb", b"X-\xc3\xa4: b", b"X-A: \x01", b"X-A: \x7f", b"(X): y", b"X-A=b", b"X\0: y",
    b"Expect: 200-ok", b"Expect: ", b"Max-Forwards: x", b"X-A: b\r", b"Host: evil.test", b"host: api.test",
    b"Host : evil.test", b" Host: evil.test", b"GET /evil HTTP/1.1", b"Connection: \0", b"\r", b"X-A: \x0bb",
    b"X-A\x0b: b", b"Max-Forwards: \xb2", b"X-Long: " + b"a" * 70_000, b"\xef\xbb\xbfHost: x",
)  # fmt: skip

EXTENSIONS = (b"", b"", b"", b"", b";a=b", b";a", b';a="b;c"', b";", b" ;a", b"; a = b")
ODD_SIZES = (
    b"", b"0x5", b"+5", b"-1", b" 5", b"5 ", b"5\t", b"5 x", b"g", b"\xb2", b"5_0", b"00000000000000005",
    b"FFFFFFFFFFFFFFFF", b"7fffffffffffffff", b"100000000", b"5;a\nb", b"5;a\rb", b"5\n", b"5;\0", b"5\r", b"\n5",
    b"5\x0c", b"5;" + b"a" * 5000, b"5,5", b"0 ", b"00", b"-0", b"0;a", b"0;a\n",
)  # fmt: skip
TRAILERS = (b"X-T: 1", b"X-T:", b"Content-MD5: abc")
ODD_TRAILERS = (
    b"X-T", b" X-T: 1", b": x", b"X T: 1", b"X-T : 1", b"X-T: \0", b"X-T: \x7f", b"X-T: a\nb", b"X-T: a\rb",
    b"Content-Length: 5", b"Host: evil.test", b"Transfer-Encoding: chunked", b"X-Tiergate-Tier: gold",
    b"GET /evil HTTP/1.1", b"X-T: " + b"a" * 17_000, b"\r", b"X\xc3\xa4: b",
)  # fmt: skip

ENDS = (b"\r\n",)
ODD_ENDS = (
    b"\n", b"\r", b"\r\r\n", b"\n\r", b"", b"\r\n ", b"\r\n\t", b"\x0b\r\n", b"\x85", b" \r\n", b"\0\r\n",
    b"\r\n\r\n", b"\xe2\x80\xa8",
)  # fmt: skip
BYTES = (
    b"\0", b"\t", b"\n", b"\x0b", b"\x0c", b"\r", b" ", b"\r\n", b"\r\n\r\n", b"#", b"%", b",", b":", b";", b"/",
    b"?", b"\\", b"\x7f", b"\x85", b"\xa0", b"\xff", b"0", b"a", b"F",
)  # fmt: skip

STATUSES = (200, 200, 200, 200, 201, 204, 206, 301, 304, 400, 404, 500, 503, 299, 599)
REASONS = (b" OK", b" ", b"", b" Not so good", b" \xc3\xa4", b" a  b")
ODD_STATUS_LINES = (
    b"HTTP/1.1 099 x", b"HTTP/1.1 600 x", b"HTTP/1.1 20 x", b"HTTP/1.1 2000 x", b"HTTP/1.1 200x", b"HTTP/1.1  200 x",
    b"HTTP/1.1\t200 x", b"HTTP/2 200", b"HTTP/1.2 200 OK", b"http/1.1 200 OK", b"ICY 200 OK", b"",
    b"HTTP/1.1 200 O\0K", b"HTTP/1.1 +20 OK", b"HTTP/1.1 \xb2\xb2\xb2 x", b"HTTP/1.1 200 O\rK", b" HTTP/1.1 200 OK",
    b"HTTP/1.1 101 Switching", b"HTTP/0.9 200 OK", b"HTTP/1.1", b"HTTP/1.1 ", b"<html>", b"HTTP/1.1 200 OK\n",
    b"\x15\x03\x01", b"HTTP/1.1 2 00",
)  # fmt: skip
RESPONSE_FIELDS = (
    b"Content-Type: text/plain", b"Set-Cookie: a=b", b"Set-Cookie: c=d", b"Connection: close",
    b"Connection: keep-alive", b"Connection: x-a", b"X-A: b", b"X-A:b", b"X-Empty:", b"Keep-Alive: timeout=5, max=3",
    b"Keep-Alive: timeout=0", b"Keep-Alive: timeout=\xb2", b"Date: x", b"Via: 1.1 other", b"Upgrade: h2c",
    b"Trailer: X-T", b"Location: /x", b"Server: s", b"Proxy-Authenticate: Basic", b'RateLimit: "x"',
    b"Content-Encoding: gzip", b"X-Text: \xc3\xa4\xff", b"Connection: content-length", b"Connection: Close",
    b"Connection: transfer-encoding, date", b'ETag: "x"', b"TE: x",
)  # fmt: skip
INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", b"HTTP/1.1 102 \r\n\r\n",
    b"HTTP/1.0 100\r\n\r\n",
)  # fmt: skip
ODD_INTERIM = (
    b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.1 101 Switching\r\n\r\n",
    b"HTTP/1.1 103 x\r\n\r\n" * 20, b"HTTP/1.1 100 x\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 100 x\r\nConnection: close\r\n\r\n",
)  # fmt: skip
