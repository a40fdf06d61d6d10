from __future__ import annotations

import pytest

from gateway.core.settle import MOST_UNITS, Settle, count_costs, hear_costs, units_of_bytes

TOKENS = Settle(meter="tokens", source="response header", header=b"x-tokens", at_most=500)
KB = Settle(meter="kb", source="response bytes", per_bytes=1000, at_most=40)
UP = Settle(meter="up", source="request bytes", per_bytes=1000, at_most=40)
LINES = [b"Content-Type: text/plain", b"X-Tokens: 42"]


def test_a_cost_is_told_and_its_field_does_not_reach_the_caller():
    assert hear_costs([TOKENS, KB], LINES) == ([b"Content-Type: text/plain"], {"tokens": 42}, [])


def test_a_field_that_policy_keeps_does():
    kept = Settle(meter="tokens", source="response header", header=b"x-tokens", keeps_header=True)
    assert hear_costs([kept], LINES) == (LINES, {"tokens": 42}, [])


def test_two_meters_may_be_told_by_one_field():
    other = Settle(meter="words", source="response header", header=b"x-tokens", at_most=40)
    lines, units, faults = hear_costs([TOKENS, other], LINES)
    assert (units, faults) == ({"tokens": 42, "words": 40}, [("words", "above the cap")])
    assert lines == LINES[:1]


SAID = {
    "nothing": ([], "missing"),
    "no number": ([b"X-Tokens: many"], "malformed"),
    "nothing in it": ([b"X-Tokens:"], "malformed"),
    "a sign": ([b"X-Tokens: -1"], "malformed"),
    "a fraction": ([b"X-Tokens: 1.5"], "malformed"),
    "digits of another script": ([b"X-Tokens: \xd9\xa1"], "malformed"),
    "more digits than are read": ([b"X-Tokens: 0000000000000001"], "malformed"),
    "two numbers": ([b"X-Tokens: 1, 2"], "malformed"),
    "two fields": ([b"X-Tokens: 1", b"x-tokens: 1"], "malformed"),
}


@pytest.mark.parametrize("said", SAID)
def test_a_cost_that_cannot_be_read_is_a_fault_and_no_cost(said):
    lines, fault = SAID[said]
    assert hear_costs([TOKENS], [b"A: b", *lines]) == ([b"A: b"], {}, [("tokens", fault)])


@pytest.mark.parametrize(("value", "units"), [(b"0", 0), (b"007", 7), (b" 9\t", 9), (b"999999999999999", MOST_UNITS)])
def test_a_whole_number_is_read(value, units):
    rule = Settle(meter="tokens", source="response header", header=b"x-tokens")
    assert hear_costs([rule], [b"x-tokens:" + value])[1] == {"tokens": units}


def test_a_cost_above_the_cap_is_the_cap_and_is_told():
    assert hear_costs([TOKENS], [b"X-Tokens: 501"])[1:] == ({"tokens": 500}, [("tokens", "above the cap")])


def test_bytes_cost_a_unit_for_each_that_was_begun_and_the_cap_at_most():
    assert [units_of_bytes(count, 1000) for count in (0, 1, 1000, 1001)] == [0, 1, 1, 2]
    assert count_costs([TOKENS, KB, UP], response_bytes=2001, request_bytes=0) == {"kb": 3, "up": 0}
    assert count_costs([KB], response_bytes=10**9, request_bytes=5) == {"kb": 40}
