"""Our chunk decoder against llhttp's: what we accept, it accepts, and with the same payload."""

from __future__ import annotations

from itertools import pairwise

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.http_body import MAX_LINE_BYTES, MAX_TRAILER_BYTES, BodyInvalid, ChunkedBody, ClosingBody, SizedBody

_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Oracle:
    def __init__(self) -> None:
        self.payload = b""
        self.messages = 0
        self.complete = False

    def on_message_begin(self) -> None:
        self.messages += 1

    def on_body(self, data: bytes) -> None:
        self.payload += data

    def on_message_complete(self) -> None:
        self.complete = True


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(edges)]


def decode(parts: list[bytes]) -> tuple[bytes, ChunkedBody]:
    body = ChunkedBody()
    payload = b""
    for part in parts:
        if body.complete:
            body.rest += part
            continue
        payload += body.feed(part)
    return payload, body


_parts = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
_cuts = st.lists(st.integers(min_value=0, max_value=400), max_size=12)
_extension = st.sampled_from([b"", b";a", b";a=b", b";a=b;c=d"])
_trailer = st.sampled_from([b"", b"X: y\r\n", b"X: y\r\nZ: \r\n"])


@given(parts=_parts, extension=_extension, trailer=_trailer, cuts=_cuts)
def test_chunks_come_out_as_they_went_in_however_they_are_cut(parts, extension, trailer, cuts):
    data = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts) + b"0\r\n" + trailer + b"\r\n"
    payload, body = decode(pieces(data, cuts))
    assert payload == b"".join(parts)
    assert (body.complete, body.rest) == (True, b"")


_alphabet = st.sampled_from(
    [b"\r\n", b"\r", b"\n", b"0", b"1", b"2", b"a", b"A", b"g", b";", b" ", b"x", b":", b"\0", b"hello"]
)


_end = st.sampled_from([b"", b"0\r\n\r\n", b"\r\n0\r\n\r\n", b"\r\n\r\n"])


@given(junk=st.tuples(st.lists(_alphabet, max_size=14).map(b"".join), _end).map(b"".join), cuts=_cuts)
def test_nothing_is_accepted_that_llhttp_refuses_or_reads_differently(junk, cuts):
    try:
        payload, body = decode(pieces(junk, cuts))
    except BodyInvalid:
        return
    if body.rest or not body.complete:
        return
    oracle = Oracle()
    httptools.HttpResponseParser(oracle).feed_data(_HEAD + junk)
    assert payload == oracle.payload
    assert body.complete == oracle.complete
    assert oracle.messages == 1


@given(length=st.integers(min_value=1, max_value=50), data=st.binary(max_size=80), cuts=_cuts)
def test_a_sized_body_ends_where_it_said(length, data, cuts):
    body = SizedBody(length)
    payload = b""
    for part in pieces(data, cuts):
        if body.complete:
            break
        payload += body.feed(part)
    assert payload == data[:length]
    assert body.complete == (len(data) >= length)
    assert body.closed() == body.complete


def test_an_unframed_body_is_whole_when_the_connection_closes():
    body = ClosingBody()
    assert body.feed(b"abc") == b"abc"
    assert not body.complete
    assert body.closed()


@pytest.mark.parametrize("line", [b"X Y: 1", b"X : 1", b" X: 1", b"\tX: 1", b"X\xc3\xa4: 1", b"(X): 1", b": 1", b"X"])
def test_a_trailer_line_that_is_no_field_line_is_refused(line):
    with pytest.raises(BodyInvalid):
        ChunkedBody().feed(b"0\r\n" + line + b"\r\n\r\n")


@pytest.mark.parametrize("data", [b"5;" + b"a" * (MAX_LINE_BYTES - 2), b"0\r\nX: " + b"a" * (MAX_TRAILER_BYTES - 3)])
@pytest.mark.parametrize("behind", [0, 1])
def test_a_line_as_long_as_it_may_be_is_read_in_two_pieces_too(data, behind):
    body = ChunkedBody()
    sent = data + b"\r\n"
    at = len(data) + behind
    assert body.feed(sent[:at]) + body.feed(sent[at:]) == b""


def test_a_line_without_end_is_refused_while_it_grows():
    body = ChunkedBody()
    body.feed(b"1" * MAX_LINE_BYTES)
    with pytest.raises(BodyInvalid):
        body.feed(b"1")
