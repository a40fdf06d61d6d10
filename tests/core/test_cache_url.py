"""URLs of several hosts, and what they mean for each."""

from __future__ import annotations

from gateway.core.cache_url import is_of_several, parse_cache_url


def test_each_server_gets_what_the_url_says_of_all():
    address = parse_cache_url("rediss+sentinel://u:p%40ss@h1,[::1]:5/mymaster/2?ssl_cert_reqs=none&client_name=a%20b")
    assert address.hosts == (("h1", 26379), ("::1", 5))
    assert address.service == "mymaster"
    assert address.server("10.0.0.1", 6379) == "rediss://u:p%40ss@10.0.0.1:6379/2?ssl_cert_reqs=none&client_name=a+b"
    assert address.server("fe80::1", 6379).startswith("rediss://u:p%40ss@[fe80::1]:6379/2?")


def test_any_node_of_a_cluster_may_be_named():
    address = parse_cache_url("redis+cluster://:pw@h1,h2:7000")
    assert (address.kind, address.hosts) == ("cluster", (("h1", 6379), ("h2", 7000)))
    assert address.server("10.0.0.9", 6380) == "redis://:pw@10.0.0.9:6380/0"


def test_sentinels_get_their_own_user_only():
    address = parse_cache_url("redis+sentinel://u:secret@h/m?sentinel_username=s&sentinel_password=o%2Fther")
    assert address.sentinel("h", 26379) == "redis://s:o%2Fther@h:26379"
    assert "sentinel" not in address.server("h", 1)
    assert parse_cache_url("redis+sentinel://:secret@h/m").sentinel("h", 1) == "redis://h:1"


def test_a_url_of_one_server_is_left_to_the_library():
    assert not is_of_several("redis://h1:6379/0")
    assert not is_of_several("unix:///a,b")
