"""Who is behind the proxies in front."""

import pytest

from gateway.core.proxies import TrustedProxies


@pytest.mark.parametrize(
    ("peer", "claimed", "expected"),
    [
        pytest.param("203.0.113.5", [b"1.1.1.1"], "203.0.113.5", id="stranger"),
        pytest.param("10.0.0.1", [], "10.0.0.1", id="proxy-that-says-nothing"),
        pytest.param("10.0.0.1", [b"203.0.113.5"], "203.0.113.5", id="one-proxy"),
        pytest.param("10.0.0.1", [b"1.1.1.1, 203.0.113.5, 10.0.0.2"], "203.0.113.5", id="forged-from-the-left"),
        pytest.param("10.0.0.1", [b"1.1.1.1", b"203.0.113.5"], "203.0.113.5", id="two-fields"),
        pytest.param("10.0.0.1", [b"203.0.113.5, nonsense"], "10.0.0.1", id="not-an-address"),
        pytest.param("10.0.0.1", [b"203.0.113.5:4711"], "203.0.113.5", id="with-port"),
        pytest.param("10.0.0.1", [b"[2001:db8::1]:4711"], "2001:db8::1", id="ipv6-with-port"),
        pytest.param("10.0.0.1", [b"2001:DB8::1"], "2001:db8::1", id="ipv6"),
        pytest.param("::ffff:10.0.0.1", [b"::ffff:203.0.113.5"], "203.0.113.5", id="ipv4-in-ipv6"),
        pytest.param("10.0.0.1", [b"10.0.0.3, 10.0.0.2"], "10.0.0.3", id="proxies-only"),
        pytest.param(None, [b"203.0.113.5"], None, id="no-peer"),
        pytest.param("not-an-address", [b"203.0.113.5"], "not-an-address", id="odd-peer"),
    ],
)
def test_the_caller_is_the_first_from_the_right_that_is_not_our_proxy(peer, claimed, expected):
    proxies = TrustedProxies(("10.0.0.0/8",))
    assert proxies.client_address([(b"x-forwarded-for", value) for value in claimed], peer) == expected
