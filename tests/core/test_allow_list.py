"""From where a key may be used."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.allow_list import AllowInvalid, allows, is_within, network_text, parse_network


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7/32", "203.0.113.7"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("2001:db8::1", "2001:db8::1"),
        ("::/0", "::/0"),
    ],
)
def test_an_address_or_network_is_kept_in_one_spelling(text, kept):
    assert network_text(parse_network(text)) == kept


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not an IP address"),
        ("example.com", "not an IP address"),
        ("203.0.113.256", "not an IP address"),
        ("203.0.113.7/33", "not an IP address"),
        ("203.0.113.7:443", "not an IP address"),
        ("010.0.0.1", "not an IP address"),
        ("203.0.113.0/24/8", "not an IP address"),
        ("203.0.113.7/24", "write '203.0.113.0/24'"),
        ("2001:db8::1/32", "write '2001:db8::/32'"),
        ("203.0.113.0/255.255.255.0", "write '203.0.113.0/24'"),
        ("203.0.113.0/0.0.0.255", "write '203.0.113.0/24'"),
        ("fe80::1%eth0", "names an interface"),
        ("::ffff:203.0.113.7", "IPv6 clothes"),
        ("::ffff:0:0/96", "IPv6 clothes"),
        (" 203.0.113.7", "not an IP address"),
        ("203.0.113.0/\uff124", "not an IP address"),
        ("x" * 500, "'x{50}'"),
    ],
)
def test_what_could_be_meant_in_two_ways_is_refused_with_what_to_write(text, why):
    with pytest.raises(AllowInvalid, match=why.replace(".", r"\.")):
        parse_network(text)


def test_an_empty_list_allows_everybody_even_the_unknown():
    assert allows((), None)
    assert allows((), "203.0.113.7")


@pytest.mark.parametrize("address", [None, "", "unknown", "203.0.114.1", "2001:db8::1", "testclient", "::203.0.113.7"])
def test_a_list_refuses_every_address_it_does_not_hold_and_the_unknown_one(address):
    assert not allows(("203.0.113.0/24", "2001:db9::/32"), address)


@pytest.mark.parametrize(
    "address", ["203.0.113.9", "::ffff:203.0.113.9", "::FFFF:cb00:7109", "2001:db9:1::5", "fe80::1%x"]
)
def test_a_list_allows_what_one_of_its_networks_holds_in_every_spelling(address):
    assert allows(("203.0.113.0/24", "2001:db9::/32", "fe80::/64"), address)


def test_not_even_a_list_of_everything_holds_an_unknown_address():
    assert not allows(("0.0.0.0/0", "::/0"), None)


blocks = st.builds(
    lambda first, bits: str(ip_network((0x0A000000 + first, 32 - bits), strict=False)),
    st.integers(0, 15),
    st.integers(0, 4),
)
lists = st.lists(blocks, max_size=4).map(tuple)
OUTSIDE = ("10.0.0.16", "10.0.1.1", "2001:db8::1")
ADDRESSES = (*(str(ip_address(0x0A000000 + last)) for last in range(16)), *OUTSIDE)


@given(lists, lists)
def test_a_list_is_within_another_if_no_address_is_allowed_by_it_alone(inner, outer):
    oracle = all(allows(outer, address) for address in ADDRESSES if allows(inner, address))
    assert is_within(inner, outer) == oracle


def test_two_halves_hold_their_whole_and_families_do_not_mix():
    assert is_within(("10.0.0.0/8",), ("10.128.0.0/9", "10.0.0.0/9"))
    assert is_within(("10.0.0.0/8", "2001:db8::/64"), ("2001:db8::/32", "10.0.0.0/8"))
    assert not is_within(("10.0.0.0/8",), ("::/0",))
    assert not is_within(("::/0",), ("0.0.0.0/0",))
