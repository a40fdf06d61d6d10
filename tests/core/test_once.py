from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import IdempotencyKeyInvalid
from gateway.core.once import MOST_KEY, OnceTerms, parse_once_key, read_once

TERMS = OnceTerms()
KEY = (b"idempotency-key", b'"8e03978e"')


def of(
    *headers: tuple[bytes, bytes],
    method: str = "POST",
    path: bytes = b"/v1/x",
    query: bytes = b"",
    version: str = "1.1",
):
    return read_once(TERMS, headers, method, path, query, version)


@pytest.mark.parametrize(
    ("field", "key"),
    [
        (b'"8e03978e-40d5"', b"8e03978e-40d5"),
        (b"8e03978e-40d5", b"8e03978e-40d5"),
        (b' "a b, c; d" ', b"a b, c; d"),
        (rb'"a\"b\\c"', rb'a"b\c'),
        (b'""', None),
        (b"", None),
        (b"   ", None),
        (b'"', None),
        (b'"a', None),
        (b'a"b', None),
        (b'"a";p=1', None),
        (b"a, b", None),
        (b"a b", None),
        (b"a;b", None),
        (rb'"a\b"', None),
        (b'"\xc3\xa9"', None),
        (b"\xe9", None),
        (b"a\tb", None),
        (b"a" * MOST_KEY, b"a" * MOST_KEY),
        (b'"' + b"a" * MOST_KEY + b'"', b"a" * MOST_KEY),
        (b"a" * (MOST_KEY + 1), None),
        (b'"' + b"a" * (MOST_KEY + 1) + b'"', None),
    ],
)
def test_a_key_is_one_quoted_string_or_one_bare_word(field, key):
    if key is None:
        with pytest.raises(IdempotencyKeyInvalid):
            parse_once_key(field)
    else:
        assert parse_once_key(field) == key


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=MOST_KEY))
def test_every_printable_key_can_be_quoted(text):
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_once_key(f'"{quoted}"'.encode()) == text.encode()


@given(st.binary(max_size=300))
def test_any_other_bytes_are_refused_and_break_nothing(field):
    with contextlib.suppress(IdempotencyKeyInvalid):
        assert 1 <= len(parse_once_key(field)) <= MOST_KEY


def test_a_call_without_a_key_promises_nothing():
    assert of((b"content-length", b"3")) is None


def test_two_keys_are_refused_also_if_they_are_equal():
    with pytest.raises(IdempotencyKeyInvalid, match="more than one"):
        of(KEY, KEY)


@pytest.mark.parametrize("value", [b"Idempotency-Key", b"close,idempotency-key "])
def test_a_key_that_connection_keeps_from_the_api_is_refused(value):
    for headers in ([KEY, (b"connection", value)], [(b"connection", value), KEY]):
        with pytest.raises(IdempotencyKeyInvalid, match="Connection"):
            of(*headers)
    assert of(KEY, (b"connection", b"keep-alive, te")) == of(KEY)
    assert of((b"connection", value)) is None


def test_the_same_call_has_the_same_fingerprint_whatever_its_other_fields():
    first = of(KEY, (b"content-length", b"3"), (b"user-agent", b"a"))
    assert of((b"accept", b"*/*"), (b"content-length", b"3"), (b"idempotency-key", b"8e03978e")) == first


@pytest.mark.parametrize(
    "other",
    [
        of(KEY, method="PATCH"),
        of(KEY, path=b"/v1/y"),
        of(KEY, query=b"a=1"),
        of(KEY, (b"content-length", b"0")),
        of(KEY, path=b"/v1/", query=b"x"),
    ],
    ids=["method", "path", "query", "length", "path and query"],
)
def test_another_call_has_another_fingerprint(other):
    first = of(KEY)
    assert other.digest == first.digest
    assert other.fingerprint != first.fingerprint


def test_another_key_has_another_digest_and_neither_holds_the_separator_of_the_cache():
    first, other = of(KEY), of((b"idempotency-key", b"8e03978f"))
    assert first.digest != other.digest
    assert "|" not in first.digest + first.fingerprint


def test_a_key_means_nothing_where_the_body_announces_no_length():
    assert of(KEY, (b"transfer-encoding", b"chunked")) is None
    assert of(KEY, version="2") is None
    assert of(KEY) is not None
    assert of(KEY, (b"content-length", b"3"), version="2") is not None
    with pytest.raises(IdempotencyKeyInvalid):
        of((b"idempotency-key", b""), (b"transfer-encoding", b"chunked"))
