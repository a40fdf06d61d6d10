"""Where a message ends: Content-Length, Transfer-Encoding, versions, line ends.

Source: RFC 9112 sections 2.2, 2.3, 5, 6.1 to 6.3, and 11.2.
"""

from __future__ import annotations

from tests.conformance.case import BAD, VERSION, chunked, passed, post, posted, refused, request

TE = b"Transfer-Encoding: chunked"
CL = b"Content-Length: 5"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
CODING = (400, 501)
"""A coding that we do not know is 501 (RFC 9112 section 6.1); a parser that refuses it says 400."""

_LENGTHS = {
    "with a plus sign": b"+5",
    "with a minus sign": b"-5",
    "in hexadecimal": b"0x5",
    "with an underscore": b"5_0",
    "with a fraction": b"5.0",
    "with an exponent": b"5e0",
    "that is empty": b"",
    "that is white space": b" ",
    "in two words": b"5 5",
    "twice in a list": b"5, 5",
    "twice in a list without a space": b"5,5",
    "of two values in a list": b"5, 6",
    "with an empty list member": b"5,",
    "with a parameter": b"5;a=b",
    "in quotes": b'"5"',
    "in Arabic digits": b"\xd9\xa5",
    "in a superscript": b"\xb2",
    "with a vertical tab": b"\x0b5",
    "with a form feed": b"5\x0c",
    "of 20 digits": b"9" * 20,
    "that wraps around at 64 bits": b"18446744073709551621",
    "of 400 digits": b"9" * 400,
}

_CODINGS = {
    "chunked twice in a list": b"chunked, chunked",
    "gzip before chunked": b"gzip, chunked",
    "chunked before gzip": b"chunked, gzip",
    "identity": b"identity",
    "identity and chunked": b"identity, chunked",
    "gzip alone": b"gzip",
    "of an unknown name": b"xchunked",
    "that begins like chunked": b"chunkedx",
    "with a parameter": b"chunked;q=1",
    "in quotes": b'"chunked"',
    "that is empty": b"",
    "with an empty list member": b"chunked,",
    "with an empty first member": b",chunked",
    "with a vertical tab": b"\x0bchunked",
    "with a form feed behind": b"chunked\x0c",
    "with a no-break space": b"\xa0chunked",
    "in two words": b"chunked chunked",
}

_VERSIONS = {
    "HTTP/2.0 in a request line": b"HTTP/2.0",
    "HTTP/3.0 in a request line": b"HTTP/3.0",
    "HTTP/0.9 in a request line": b"HTTP/0.9",
    "a version of two digits": b"HTTP/1.10",
    "a version with a leading zero": b"HTTP/01.1",
    "a version in small letters": b"http/1.1",
    "another protocol's name": b"HTTQ/1.1",
    "a version without a minor": b"HTTP/1",
    "a space behind the version": b"HTTP/1.1 ",
    "a word behind the version": b"HTTP/1.1 x",
    "a version with a comma": b"HTTP/1,1",
}

CASES = (
    passed("a body of known length passes", post(CL, body=b"hello"), posted()),
    passed("an empty body passes", post(b"Content-Length: 0"), posted(b"")),
    passed("a length with leading zeros passes", post(b"Content-Length: 005", body=b"hello"), posted()),
    passed("white space around a length is no part of it", post(b"Content-Length: \t 5 \t", body=b"hello"), posted()),
    passed("a chunked body passes", chunked(CHUNKS), posted()),
    passed("the name of the coding in capitals passes", post(b"Transfer-Encoding: CHUNKED", body=CHUNKS), posted()),
    passed("white space around the coding is no part of it",
        post(b"Transfer-Encoding: \tchunked \t", body=CHUNKS), posted()),
    passed("a POST without a length has no body", post(), posted(b"")),
    passed("Connection cannot hide the length",
        post(CL, b"Connection: content-length", body=b"hello"), posted()),
    passed("Connection cannot hide the coding",
        post(TE, b"Connection: transfer-encoding", body=CHUNKS), posted()),
    refused("a length before a coding is refused", post(CL, TE, body=CHUNKS)),
    refused("a coding before a length is refused", post(TE, CL, body=CHUNKS)),
    refused("a length of 0 with a coding is refused", post(b"Content-Length: 0", TE, body=CHUNKS)),
    refused("two lengths that differ are refused", post(CL, b"Content-Length: 6", body=b"hello!")),
    refused("the same length twice is refused", post(CL, CL, body=b"hello")),
    *(
        refused(f"a length {what} is refused", post(b"Content-Length: " + value, body=b"hello"))
        for what, value in _LENGTHS.items()
    ),
    refused("a huge length is refused before any of the body comes",
        post(b"Content-Length: 99999999999"), 413, code="body-too-large", after="either", whole=False),
    refused("a space before the colon of Content-Length is refused", post(b"Content-Length : 5", body=b"hello")),
    refused("a tab before the colon of Content-Length is refused", post(b"Content-Length\t: 5", body=b"hello")),
    refused("a coding twice is refused", post(TE, TE, body=CHUNKS), *CODING),
    refused("a coding and another in a second field are refused",
        post(TE, b"Transfer-Encoding: identity", body=CHUNKS), *CODING),
    *(
        refused(f"a coding {what} is refused", post(b"Transfer-Encoding: " + value, body=CHUNKS), *CODING)
        for what, value in _CODINGS.items()
    ),
    refused("a space before the colon of Transfer-Encoding is refused",
        post(b"Transfer-Encoding : chunked", body=CHUNKS)),
    refused("a coding on a folded line is refused", post(b"Transfer-Encoding:\r\n chunked", body=CHUNKS)),
    refused("a coding that goes on on a folded line is refused", post(TE + b"\r\n , identity", body=CHUNKS)),
    refused("a coding in a folded line of another field is refused",
        post(b"X-A: b\r\n Transfer-Encoding: chunked", CL, body=b"hello")),
    refused("a coding behind a bare carriage return is refused", post(b"X-A: b\rTransfer-Encoding: chunked", body=b"")),
    refused("a coding behind a bare line feed is refused", post(b"X-A: b\nTransfer-Encoding: chunked", body=CHUNKS)),
    refused("a coding whose name is preceded by a space is refused", post(b" Transfer-Encoding: chunked", body=CHUNKS)),
    refused("a coding whose name holds a NUL is refused", post(b"Transfer-Encoding\0: chunked", body=CHUNKS)),
    refused("a length whose name holds a NUL is refused", post(b"Content-Length\0: 5", body=b"hello")),
    refused("a length behind a vertical tab is refused", post(b"\x0bContent-Length: 5", body=b"hello")),
    refused("a coding on HTTP/1.0 is refused", post(TE, version=b"HTTP/1.0", body=CHUNKS)),
    passed("a coding under a look-alike name is no coding, and goes nowhere",
        post(b"Transfer_Encoding: chunked"), posted(b"")),
    passed("a length under a look-alike name is no length, and goes nowhere",
        post(b"Content_Length: 5"), posted(b"")),
    *(
        refused(f"{what} is refused", request(start=b"GET /v1/x " + version), 400, 505, code=(BAD, VERSION))
        for what, version in _VERSIONS.items()
    ),
    refused("lines that end in a line feed only are refused",
        request(b"X-A: b").replace(b"\r\n", b"\n")),
    refused("a head that ends in a line feed only is refused", request(b"X-A: b")[:-2] + b"\n"),
    refused("a request line that ends in a line feed only is refused", request().replace(b"\r\n", b"\n", 1)),
    refused("a request line that ends in a carriage return only is refused", request().replace(b"\r\n", b"\r", 1)),
    refused("two carriage returns at the end of a line are refused", request(b"X-A: b\r")),
)  # fmt: skip
