"""Requests that two parsers could read differently are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import (
    ExpectationFailed,
    HeadersTooLarge,
    MalformedRequest,
    MethodRefused,
    TargetRejected,
    TiergateError,
    VersionNotSupported,
)
from gateway.core.request_gate import CHUNKED, body_framing, check_request

HOST = (b"host", b"api.example")


def check(*fields: tuple[bytes, bytes], method: str = "GET", path: bytes = b"/v1", version: str = "1.1") -> None:
    check_request(method, path, list(fields), version)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([HOST], id="least"),
        pytest.param([HOST, (b"content-length", b"0")], id="empty-body"),
        pytest.param([HOST, (b"content-length", b"10")], id="length"),
        pytest.param([HOST, (b"transfer-encoding", b"chunked")], id="chunked"),
        pytest.param([HOST, (b"transfer-encoding", b"Chunked")], id="chunked-capital"),
        pytest.param([HOST, (b"x", b"")], id="empty-value"),
        pytest.param([HOST, (b"x", b"a\tb \xe9")], id="tab-and-latin"),
        pytest.param([HOST, (b"accept", b"a"), (b"accept", b"b")], id="repeated"),
    ],
)
def test_an_ordinary_request_passes(fields):
    check(*fields, method="POST")


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([(b"content-length", b"5"), (b"transfer-encoding", b"chunked")], id="length-and-coding"),
        pytest.param([(b"content-length", b"5"), (b"content-length", b"6")], id="two-lengths"),
        pytest.param([(b"content-length", b"5"), (b"content-length", b"5")], id="the-same-length-twice"),
        pytest.param([(b"content-length", b"5, 5")], id="lengths-in-a-list"),
        pytest.param([(b"content-length", b"+5")], id="signed-length"),
        pytest.param([(b"content-length", b"-5")], id="negative-length"),
        pytest.param([(b"content-length", b"0x5")], id="hex-length"),
        pytest.param([(b"content-length", b"")], id="empty-length"),
        pytest.param([(b"content-length", b" 5")], id="length-with-space"),
        pytest.param([(b"content-length", b"5_0")], id="length-with-underscore"),
        pytest.param([(b"content-length", b"9" * 30)], id="huge-length"),
        pytest.param([(b"content-length", b"\xb2")], id="superscript-length"),
        pytest.param([(b"transfer-encoding", b"gzip, chunked")], id="two-codings"),
        pytest.param([(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")], id="coding-twice"),
        pytest.param([(b"transfer-encoding", b"chunked, chunked")], id="coding-twice-in-a-list"),
        pytest.param([(b"transfer-encoding", b"identity")], id="identity"),
        pytest.param([(b"transfer-encoding", b"")], id="empty-coding"),
        pytest.param([(b"transfer-encoding", b"\x0bchunked")], id="coding-with-control"),
        pytest.param([(b"transfer-encoding", b"chunked;q=1")], id="coding-with-parameter"),
        pytest.param([(b"x", b"a\r\nb: c")], id="line-break"),
        pytest.param([(b"x", b"a\nb")], id="line-feed"),
        pytest.param([(b"x", b"a\0b")], id="nul"),
        pytest.param([(b"x", b"a\x7fb")], id="delete"),
        pytest.param([(b"x y", b"a")], id="space-in-name"),
        pytest.param([(b"x:y", b"a")], id="colon-in-name"),
        pytest.param([(b"", b"a")], id="no-name"),
        pytest.param([(b"x\xe9", b"a")], id="latin-name"),
        pytest.param([(b"X-Upper", b"a")], id="name-not-in-lower-case"),
    ],
)
def test_ambiguous_framing_and_odd_bytes_are_refused(fields):
    with pytest.raises(MalformedRequest):
        check(HOST, *fields, method="POST")


@pytest.mark.parametrize(
    "host", [b"a", b"a.b:80", b"127.0.0.1:8000", b"[::1]", b"[::1]:80", b"a_b.example", b"a:", b"a:65535", b"a,b"]
)
def test_a_host_name_or_address_passes(host):
    check((b"host", host))


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b":80",
        b"a:b",
        b"a:99999",
        b"a:-1",
        b"a b",
        b"a/b",
        b"u@a",
        b"[::1",
        b"[x]",
        b"[]",
        b"[::1]x",
        b"a:80:80",
        b"a#b",
        b"a?b",
        b"a\\b",
        b"\xe9",
        b"[::1]:x",
        b"a:\xb2",
    ],
)
def test_any_other_host_is_refused(host):
    with pytest.raises(MalformedRequest):
        check((b"host", host))


def test_a_request_needs_exactly_one_host():
    with pytest.raises(MalformedRequest):
        check()
    with pytest.raises(MalformedRequest):
        check(HOST, HOST)
    with pytest.raises(MalformedRequest):
        check(HOST, HOST, version="1.0")
    check(version="1.0")
    check(version="2")


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "get", "FOO", "", "GET ", "PRI"])
def test_methods_that_are_not_forwarded_are_refused(method):
    with pytest.raises(MethodRefused):
        check(HOST, method=method)


@pytest.mark.parametrize("path", [b"", b"*", b"http://a/", b"a"])
def test_only_an_origin_form_target_passes(path):
    with pytest.raises(TargetRejected):
        check(HOST, path=path)


@pytest.mark.parametrize("version", ["1.0", "2", "3"])
def test_a_transfer_encoding_outside_http_1_1_is_refused(version):
    with pytest.raises(MalformedRequest):
        check(HOST, (b"transfer-encoding", b"chunked"), method="POST", version=version)


def test_options_that_may_go_no_further_are_not_forwarded():
    with pytest.raises(MethodRefused):
        check(HOST, (b"max-forwards", b"0"), method="OPTIONS")
    with pytest.raises(MalformedRequest):
        check(HOST, (b"max-forwards", b"x"), method="OPTIONS")
    check(HOST, (b"max-forwards", b"1"), method="OPTIONS")
    check(HOST, (b"max-forwards", b"0"), method="GET")


def test_the_framing_of_a_checked_request_is_known():
    assert body_framing([HOST], "1.1") is None
    assert body_framing([HOST, (b"content-length", b"007")], "1.1") == 7
    assert body_framing([HOST, (b"transfer-encoding", b"chunked")], "1.1") == CHUNKED
    assert body_framing([HOST], "2") == CHUNKED
    assert body_framing([HOST, (b"content-length", b"0")], "2") == 0


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([(b"x%d" % number, b"") for number in range(300)], id="too-many-fields"),
        pytest.param([(b"x", b"y" * 70_000)], id="a-long-value"),
        pytest.param([(b"x" * 70_000, b"y")], id="a-long-name"),
        pytest.param([(b"x%d" % number, b"y" * 1000) for number in range(80)], id="long-together"),
        pytest.param([(b"x", b"\0" * 70_000)], id="long-and-odd"),
    ],
)
def test_too_much_header_is_refused_as_too_much(fields):
    with pytest.raises(HeadersTooLarge):
        check(HOST, *fields)


@pytest.mark.parametrize("version", ["0.9", "1.2", "2.0", "3.0", "", "x"])
def test_a_version_that_is_not_spoken_is_refused_whatever_the_method(version):
    for method in ("GET", "PRI"):
        with pytest.raises(VersionNotSupported):
            check(HOST, method=method, version=version)


def test_one_server_calls_http_1_0_by_its_first_digit_and_invents_an_empty_host_for_it():
    check(version="1")
    check((b"host", b""), version="1")
    check((b"host", b""), version="1.0")
    with pytest.raises(MalformedRequest):
        check((b"host", b""), (b"host", b""), version="1.0")
    assert body_framing([HOST], "1") is None
    with pytest.raises(MalformedRequest):
        check(HOST, (b"transfer-encoding", b"chunked"), method="POST", version="1")


@pytest.mark.parametrize("values", [[b"200-ok"], [b"100-continue, x"], [b"100-continue", b"x"], [b""], [b"100"]])
def test_an_expectation_that_is_not_known_is_refused(values):
    with pytest.raises(ExpectationFailed):
        check(HOST, *((b"expect", value) for value in values), method="POST")


def test_the_known_expectation_passes_in_any_letters_and_any_on_http_1_0_is_ignored():
    check(HOST, (b"expect", b"100-continue"), method="POST")
    check(HOST, (b"expect", b"100-Continue"), method="POST")
    check(HOST, (b"expect", b"x"), method="POST", version="1.0")


_names = st.sampled_from([b"host", b"content-length", b"transfer-encoding", b"x", b"max-forwards"]) | st.binary(
    max_size=4
)
_values = st.sampled_from([b"5", b"5, 5", b"chunked", b"Chunked", b"a.b", b"", b"x\r\ny"]) | st.binary(max_size=6)


@given(
    method=st.sampled_from(["GET", "POST", "OPTIONS", "TRACE"]),
    fields=st.lists(st.tuples(_names, _values), max_size=5),
    version=st.sampled_from(["1.0", "1.1", "2"]),
)
def test_what_passes_can_be_written_and_framed_in_one_way_only(method, fields, version):
    try:
        check_request(method, b"/", fields, version)
    except TiergateError:
        return
    assert method != "TRACE"
    names = [name for name, _ in fields]
    framing = body_framing(fields, version)
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    assert framing is None or framing >= CHUNKED
    written = b"".join(name + b": " + value + b"\r\n" for name, value in fields)
    assert written.count(b"\n") == written.count(b"\r") == len(fields)
    assert b"\0" not in written
