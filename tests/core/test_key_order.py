"""What a new key may be, and what a key may ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.account import KeyRecord
from gateway.core.allow_list import is_within
from gateway.core.key_order import MAX_NETWORKS, BeyondIssuer, KeyInvalidRequest, KeyOrder, checked_order

NOW = 1_000


def issuer(**bounds) -> KeyRecord:
    return KeyRecord(key_id="k1", name="n", last4="abcd", created_at=1, **bounds)


def test_networks_are_kept_in_one_spelling_and_once():
    order = KeyOrder(allow=("2001:DB8::/32", "203.0.113.7/32", "203.0.113.7"))
    assert checked_order(order, None, NOW).allow == ("2001:db8::/32", "203.0.113.7")


def test_a_key_has_at_most_twenty_networks():
    texts = tuple(f"203.0.113.{last}" for last in range(MAX_NETWORKS + 1))
    assert checked_order(KeyOrder(allow=texts[1:]), None, NOW).allow == texts[1:]
    with pytest.raises(KeyInvalidRequest, match="at most 20 addresses"):
        checked_order(KeyOrder(allow=texts), None, NOW)


@pytest.mark.parametrize("text", ["", "localhost", "203.0.113.7/24", "fe80::1%eth0", "x" * 10_000])
def test_what_is_no_network_is_refused_in_a_sentence(text):
    with pytest.raises(KeyInvalidRequest, match=r"^allow_ips: '.{0,60}' .{10,120}\.$"):
        checked_order(KeyOrder(allow=(text,)), None, NOW)


def test_an_order_that_names_no_bounds_gets_those_of_the_key_that_asks():
    order = checked_order(KeyOrder(), issuer(expires_at=2_000, allow=("203.0.113.0/24",)), NOW)
    assert (order.expires_at, order.allow) == (2_000, ("203.0.113.0/24",))


def test_a_key_never_gets_one_that_outlives_it():
    assert checked_order(KeyOrder(expires_at=1_999), issuer(expires_at=2_000), NOW).expires_at == 1_999
    with pytest.raises(BeyondIssuer, match=r"ends at 1970-01-01T00:33:20Z"):
        checked_order(KeyOrder(expires_at=2_001), issuer(expires_at=2_000), NOW)


def test_a_key_never_gets_one_that_works_where_it_does_not():
    asks = issuer(allow=("203.0.113.0/24", "2001:db8::/32"))
    assert checked_order(KeyOrder(allow=("203.0.113.7",)), asks, NOW).allow == ("203.0.113.7",)
    for wider in ("203.0.112.0/23", "0.0.0.0/0", "::/0", "198.51.100.1"):
        with pytest.raises(BeyondIssuer, match="fewer addresses"):
            checked_order(KeyOrder(allow=("203.0.113.7", wider)), asks, NOW)


def test_the_seller_and_a_key_without_bounds_may_ask_for_any():
    order = KeyOrder(allow=("203.0.113.7",), expires_at=5_000)
    assert checked_order(order, None, NOW) == checked_order(order, issuer(), NOW) == order


networks = st.lists(st.sampled_from(["10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9", "10.1.2.3", "::/0"]), max_size=3)
ends = st.none() | st.integers(NOW + 1, NOW + 5)


@given(networks, ends, networks, ends)
def test_whatever_is_ordered_stays_within_the_bounds_of_the_key_that_asks(allow, end, own_allow, own_end):
    asks = issuer(allow=tuple(own_allow), expires_at=own_end)
    try:
        order = checked_order(KeyOrder(allow=tuple(allow), expires_at=end), asks, NOW)
    except BeyondIssuer:
        return
    assert is_within(order.allow, asks.allow)
    assert asks.expires_at is None or (order.expires_at is not None and order.expires_at <= asks.expires_at)


def test_the_scopes_of_a_key_are_bounded_together():
    fits = tuple(f"GET /{n:02d}{'a' * 93}" for n in range(20))
    assert checked_order(KeyOrder(scopes=fits), None, 0).scopes == fits
    with pytest.raises(KeyInvalidRequest, match="2,000 characters together"):
        checked_order(KeyOrder(scopes=(*fits[:-1], fits[-1] + "a")), None, 0)
