from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import BodyTooLarge, CostUnreadable
from gateway.core.http_body import CHUNKED
from gateway.core.measure import Measure
from gateway.core.pricing import most_body_bytes, price_call
from gateway.core.route import Route
from gateway.core.settle import Settle

HEADER = Measure(meter="tokens", source="header", name="x-units", at_most=500)
KB = Measure(meter="kb", source="bytes", per_bytes=1000, at_most=40)
ITEMS = Measure(meter="items", source="json", name="order.items", counts_items=True, at_most=3)
NUMBER = Measure(meter="items", source="json", name="n", at_most=100)


def route_of(*measures, **more):
    return Route(pattern="* /**", methods=None, segments=("**",), cost=(("requests", 1),), measures=measures, **more)


def price(measure, *headers, framing=None, body=b""):
    return dict(price_call(route_of(measure), headers, framing, body).cost)[measure.meter]


def test_a_call_costs_what_its_header_says_beside_what_every_call_costs():
    priced = price_call(route_of(HEADER), [(b"x-units", b"42")], None, b"")
    assert (dict(priced.cost), priced.settle, priced.is_priced) == ({"requests": 1, "tokens": 42}, (), True)


UNREADABLE = [b"0", b"-1", b"501", b"1.0", b"1e2", b"many", b"", b"\xb2", b"00000000000000001"]


@pytest.mark.parametrize("value", UNREADABLE)
def test_a_header_that_is_no_number_within_the_bounds_is_refused(value):
    with pytest.raises(CostUnreadable, match="'x-units' header says: one whole number from 1 to 500"):
        price(HEADER, (b"x-units", value))


def test_a_header_that_is_sent_twice_is_refused():
    with pytest.raises(CostUnreadable):
        price(HEADER, (b"x-units", b"1"), (b"x-units", b"1"))


@pytest.mark.parametrize("default", [None, 7])
@pytest.mark.parametrize(
    "other", [(b"x_units", b"500"), (b"connection", b"close, X-Units"), (b"connection", b"x-units")], ids=str
)
def test_a_header_that_the_api_would_read_otherwise_is_refused(default, other):
    measure = Measure(meter="tokens", source="header", name="x-units", at_most=500, default=default)
    for headers in ([(b"x-units", b"1"), other], [other, (b"x-units", b"1")], [other]):
        with pytest.raises(CostUnreadable):
            price(measure, *headers)
    assert price(measure, (b"x-units", b"1"), (b"x_unit", b"2"), (b"connection", b"close, x-unit")) == 1


def test_without_the_header_a_call_costs_the_default_or_is_refused():
    with pytest.raises(CostUnreadable, match="'x-units' header says, and it is missing"):
        price(HEADER, (b"x-unit", b"4"))
    assert price(Measure(meter="tokens", source="header", name="x-units", at_most=500, default=7)) == 7


@pytest.mark.parametrize(("length", "units"), [(None, 0), (0, 0), (1, 1), (1000, 1), (1001, 2), (40_000, 40)])
def test_a_body_costs_a_unit_for_each_kb_that_was_begun(length, units):
    priced = price_call(route_of(KB), [], length, b"")
    assert (dict(priced.cost)["kb"], priced.settle) == (units, ())


def test_a_body_that_costs_more_than_a_call_may_is_too_large():
    with pytest.raises(BodyTooLarge, match="40,000 bytes at most"):
        price(KB, framing=40_001)


def test_a_body_of_unknown_length_is_reserved_at_the_most_and_settled_at_its_end():
    priced = price_call(route_of(KB), [], CHUNKED, b"")
    rule = Settle(meter="kb", source="request bytes", per_bytes=1000, at_most=40)
    assert (dict(priced.cost)["kb"], priced.settle) == (40, (rule,))
    assert most_body_bytes(priced.settle) == 40_000


def test_what_is_settled_by_the_response_is_not_settled_by_the_request_too():
    rule = Settle(meter="kb", source="response bytes", per_bytes=1000)
    priced = price_call(route_of(KB, settle=(rule,)), [], CHUNKED, b"")
    assert (dict(priced.cost)["kb"], priced.settle, most_body_bytes(priced.settle)) == (40, (rule,), None)


JSON = {
    "a list": (ITEMS, {"order": {"items": [1, 2]}}, 2),
    "an empty list": (ITEMS, {"order": {"items": []}}, 0),
    "a number": (NUMBER, {"n": 100}, 100),
}


@pytest.mark.parametrize("case", JSON)
def test_a_call_costs_what_its_json_says(case):
    measure, document, units = JSON[case]
    assert price(measure, framing=CHUNKED, body=json.dumps(document).encode()) == units


WRONG = {
    "too long a list": (ITEMS, b'{"order": {"items": [1, 2, 3, 4]}}'),
    "no list": (ITEMS, b'{"order": {"items": "abc"}}'),
    "a mapping": (ITEMS, b'{"order": {"items": {"a": 1}}}'),
    "nothing": (NUMBER, b'{"n": 0}'),
    "less": (NUMBER, b'{"n": -1}'),
    "too much": (NUMBER, b'{"n": 101}'),
    "a fraction": (NUMBER, b'{"n": 1.0}'),
    "a truth": (NUMBER, b'{"n": true}'),
    "text": (NUMBER, b'{"n": "1"}'),
    "a name said twice": (NUMBER, b'{"n": 1, "n": 100}'),
    "a name said twice elsewhere": (NUMBER, b'{"n": 1, "m": [{"a": 1, "a": 2}]}'),
    "a name said twice in another case": (NUMBER, b'{"n": 1, "N": 100}'),
    "a name said in another case only": (NUMBER, b'{"N": 100}'),
    "a name on the way said twice in another case": (ITEMS, b'{"order": {"items": [1]}, "Order": {"items": [1, 2]}}'),
    "a name that folds to the same": (ITEMS, '{"order": {"items": [1], "item\u017f": [1, 2]}}'.encode()),
    "no json": (NUMBER, b"n=1"),
    "two documents": (NUMBER, b'{"n": 1} {"n": 2}'),
    "a constant": (NUMBER, b'{"n": 1, "m": NaN}'),
    "another encoding": (NUMBER, '{"n": 1}'.encode("utf-16")),
    "a byte order mark": (NUMBER, b'\xef\xbb\xbf{"n": 1}'),
    "brackets without end": (NUMBER, b"[" * 65_536),
    "more digits than are read": (NUMBER, b'{"n": 1' + b"0" * 5000 + b"}"),
}


@pytest.mark.parametrize("case", WRONG)
def test_json_that_says_no_cost_within_the_bounds_is_refused(case):
    measure, body = WRONG[case]
    with pytest.raises(CostUnreadable):
        price(measure, framing=len(body), body=body)


def test_names_that_differ_by_case_matter_only_on_the_way_to_the_price():
    body = b'{"n": 3, "other": 1, "OTHER": 2, "m": {"n": 1, "N": 2}}'
    assert price(NUMBER, framing=len(body), body=body) == 3
    lenient = Measure(meter="items", source="json", name="n", at_most=100, default=1)
    with pytest.raises(CostUnreadable, match="differs from 'n' by its case only"):
        price(lenient, framing=10, body=b'{"N": 100}')


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"7", b"null", b'{"order": {}}', b'{"order": []}'])
def test_what_the_json_does_not_have_costs_the_default_or_is_refused(body):
    with pytest.raises(CostUnreadable, match="it is missing"):
        price(ITEMS, framing=len(body), body=body)
    lenient = Measure(meter="items", source="json", name="order.items", counts_items=True, at_most=3, default=2)
    assert price(lenient, framing=len(body), body=body) == 2


def test_a_compressed_body_is_not_read():
    with pytest.raises(CostUnreadable, match="compressed"):
        price(NUMBER, (b"content-encoding", b"gzip"), framing=9, body=b'{"n": 1}')
    assert price(NUMBER, (b"content-encoding", b"identity"), framing=9, body=b'{"n": 1}') == 1


@given(st.binary(max_size=60) | st.recursive(st.none() | st.integers(), st.lists).map(lambda x: json.dumps(x).encode()))
def test_no_body_makes_a_price_out_of_bounds_or_an_error_of_another_kind(body):
    with contextlib.suppress(CostUnreadable):
        assert 1 <= price(NUMBER, framing=len(body), body=body) <= 100
