"""Request ids and trace contexts: what is passed on, and what is replaced."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.trace import REQUEST_ID_LENGTH, carries_trace, is_traceparent, new_traceparent, request_id

RANDOM = bytes(range(16)) + bytes(range(1, 9))
OURS = b"00-000102030405060708090a0b0c0d0e0f-0102030405060708-01"
GOOD = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STATE = (b"tracestate", b"congo=t61rcWkgMzE")

GRAMMAR = re.compile(
    rb"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.*)?", re.DOTALL
)


def oracle(value: bytes) -> bool:
    """The field as the specification's grammar writes it."""
    match = GRAMMAR.fullmatch(value)
    return match is not None and (match["more"] is None or match["version"] != b"00")


def passed(*fields: tuple[bytes, bytes]) -> bool:
    return carries_trace([(b"host", b"api.example"), *fields])


def test_a_trace_that_came_well_formed_is_passed_as_it_came():
    assert passed((b"traceparent", GOOD))
    assert passed(STATE, (b"traceparent", GOOD), STATE)


@pytest.mark.parametrize("flags", [b"00", b"01", b"03", b"ff"])
def test_flags_are_for_others_to_read(flags):
    assert passed((b"traceparent", GOOD[:-2] + flags))


@pytest.mark.parametrize(
    "value", [b"01" + GOOD[2:], b"cc" + GOOD[2:] + b"-what-the-future-brings", b"fe" + GOOD[2:] + b"-"]
)
def test_a_later_version_is_passed_too(value):
    assert passed((b"traceparent", value))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        GOOD[:-1],
        GOOD + b"0",
        GOOD + b"-",
        GOOD + b"-00",
        b"ff" + GOOD[2:],
        b"FE" + GOOD[2:],
        b"0" + GOOD[1:].replace(b"0-", b"-", 1),
        b"00-" + b"0" * 32 + GOOD[35:],
        GOOD[:36] + b"0" * 16 + b"-01",
        GOOD.upper(),
        GOOD.replace(b"-", b"_"),
        GOOD.replace(b"4bf9", b"4bg9"),
        GOOD.replace(b"4bf9", b"4b-9"),
        b"cc" + GOOD[2:] + b".future",
        b" " + GOOD,
        GOOD + b" ",
        GOOD + b"," + GOOD,
        GOOD.replace(b"-01", b"-0\xb2"),
    ],
    ids=str,
)
def test_what_is_no_trace_begins_one_and_takes_its_state_with_it(value):
    assert not passed((b"traceparent", value), STATE)


def test_two_traces_are_none_even_if_they_agree():
    assert not passed((b"traceparent", GOOD), (b"traceparent", GOOD))


def test_a_call_without_a_trace_begins_one_and_a_state_alone_belongs_to_none():
    assert not passed()
    assert not passed(STATE)


def test_a_trace_that_begins_here_is_marked_as_sampled():
    assert new_traceparent(RANDOM) == b"traceparent: " + OURS


@given(st.binary(min_size=24, max_size=24).filter(lambda ids: any(ids[:16]) and any(ids[16:])))
def test_whatever_begins_here_is_passed_by_the_next_gateway(random):
    name, _, value = new_traceparent(random).partition(b": ")
    assert passed((name, value))


nearly_hex = st.sampled_from(list(b"0123456789abcdefAF-g"))


@st.composite
def near_traces(draw: st.DrawFn) -> bytes:
    """Mostly right, with a few bytes changed, dropped or added."""
    value = bytearray(draw(st.sampled_from([GOOD, b"cc" + GOOD[2:] + b"-x", b"ff" + GOOD[2:]])))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(value) - 1))
        value[place : place + draw(st.integers(0, 1))] = bytes(draw(st.lists(nearly_hex, max_size=1)))
    return bytes(value)


@given(near_traces() | st.from_regex(GRAMMAR, fullmatch=True) | st.binary(max_size=60))
def test_a_trace_is_what_the_grammar_says(value):
    assert is_traceparent(value) == oracle(value)


def test_a_request_id_is_taken_from_a_trusted_proxy_and_from_nobody_else():
    headers = [(b"accept", b"*/*"), (b"x-request-id", b"7b6c-42/A.b_c~d+e=f:g")]
    assert request_id(headers, trusted=True) == b"7b6c-42/A.b_c~d+e=f:g"
    assert request_id(headers, trusted=False) is None
    assert request_id(headers[:1], trusted=True) is None


def test_two_request_ids_are_none():
    assert request_id([(b"x-request-id", b"a")] * 2, trusted=True) is None


@given(st.binary(max_size=REQUEST_ID_LENGTH + 2) | st.from_regex(rb"[A-Za-z0-9._~+/=:-]{1,130}", fullmatch=True))
def test_a_request_id_that_could_confuse_a_log_is_replaced(value):
    is_plain = re.fullmatch(rb"[A-Za-z0-9._~+/=:-]{1,128}", value) is not None
    assert request_id([(b"x-request-id", value)], trusted=True) == (value if is_plain else None)
