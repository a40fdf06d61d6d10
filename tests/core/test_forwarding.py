"""Which fields travel on, and what this hop adds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.forwarding import HeaderRules, headers_inside

HOST = (b"host", b"api.example")


def forward(
    *fields: tuple[bytes, bytes],
    peer: str | None = "192.0.2.1",
    trusted: tuple[str, ...] = (),
    version: str = "1.1",
    lines: list[bytes] | None = None,
) -> list[tuple[bytes, bytes]]:
    forwarded = HeaderRules(trusted_proxies=trusted).forward(
        [HOST, *fields], lines, peer=peer, scheme="http", http_version=version
    )
    assert forwarded.host == HOST[1]
    return [(name, value) for name, _, value in (line.partition(b": ") for line in forwarded.lines)]


def values(fields: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in fields if key == name]


ADDED = [
    (b"x-forwarded-for", b"192.0.2.1"),
    (b"x-forwarded-proto", b"http"),
    (b"x-forwarded-host", b"api.example"),
    (b"via", b"1.1 tiergate"),
]


def test_a_websockets_handshake_ends_here_as_a_key_may_be_in_it():
    handshake = [(b"sec-websocket-protocol", b"tiergate.key.tg_x"), (b"sec-websocket-key", b"k")]
    alike = [(b"sec_websocket_protocol", b"tiergate.key.tg_x")]
    assert forward(*handshake, *alike) == ADDED
    assert headers_inside([*handshake, *alike], identity=[]) == []


def test_ordinary_fields_keep_their_order_and_repetitions():
    sent = [
        (b"accept", b"a"),
        (b"range", b"bytes=0-1"),
        (b"accept", b"b"),
        (b"if-match", b'"x"'),
        (b"x-latin", b"\xe9"),
    ]
    assert forward(*sent) == [*sent, *ADDED]


@pytest.mark.parametrize(
    "name",
    [
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
        b"proxy-authorization",
        b"proxy-authenticate",
        b"content-length",
        b"http2-settings",
        b"x-api-key",
    ],
)
def test_fields_that_end_here_are_not_forwarded(name):
    assert forward((name, b"x")) == ADDED
    assert forward((name.replace(b"-", b"_"), b"x")) == ADDED


def test_an_idempotency_key_travels_on_in_the_spelling_that_was_looked_at_only():
    fields = [(name, b"x") for name in (b"idempotency_key", b"idempotency-key", b"idempotency_keys")]
    assert forward(*fields) == [*fields[1:], *ADDED]


def test_fields_that_connection_names_are_not_forwarded():
    fields = forward(
        (b"x-a", b"1"), (b"connection", b"close, X-A,, ,x-b"), (b"x-b", b"2"), (b"x-c", b"3"), (b"connection", b"")
    )
    assert fields == [(b"x-c", b"3"), *ADDED]


def test_connection_cannot_name_what_we_add():
    fields = forward((b"connection", b"x-tiergate-customer, x-forwarded-for, via, x-request-id"))
    assert fields == ADDED


@pytest.mark.parametrize(
    "name",
    [
        b"x-tiergate-customer",
        b"x-tiergate-anything",
        b"x_tiergate_customer",
        b"x-tiergate_customer",
        b"x-tiergate",
        b"x-request-id",
    ],
)
def test_nobody_else_says_who_the_caller_is(name):
    assert forward((name, b"cu_2")) == ADDED


def test_our_api_key_is_removed_and_other_credentials_pass():
    other = [(b"authorization", b"Bearer eyJhbGciOi"), (b"authorization", b"Basic dTpw")]
    assert forward((b"authorization", b"Bearer tg_live_x"), (b"x-api-key", b"tg_live_x"), *other) == [*other, *ADDED]
    assert forward((b"authorization", b"bEaReR   tg_live_x")) == ADDED


@pytest.mark.parametrize(
    "name",
    [
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-anything",
        b"forwarded",
        b"x-real-ip",
        b"x_forwarded_for",
        b"x-forwarded_for",
        b"x_real_ip",
    ],
)
def test_a_stranger_is_not_believed(name):
    assert forward((name, b"203.0.113.9")) == ADDED


def test_a_trusted_proxy_is_believed_and_added_to_the_chain():
    fields = forward(
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"x-forwarded-for", b"198.51.100.2"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"shop.example"),
        (b"forwarded", b"for=203.0.113.9"),
        (b"x_forwarded_for", b"1.1.1.1"),
        trusted=("192.0.2.0/24",),
    )
    assert values(fields, b"x-forwarded-for") == [b"203.0.113.9, 198.51.100.2, 192.0.2.1"]
    assert values(fields, b"x-forwarded-proto") == [b"https"]
    assert values(fields, b"x-forwarded-host") == [b"shop.example"]
    assert values(fields, b"forwarded") == [b"for=203.0.113.9", b"for=192.0.2.1;proto=http"]
    assert values(fields, b"x_forwarded_for") == []


def test_an_address_with_colons_is_quoted_in_forwarded():
    fields = forward((b"forwarded", b"for=a"), peer="2001:db8::1", trusted=("2001:db8::/32",))
    assert values(fields, b"forwarded")[-1] == b'for="[2001:db8::1]";proto=http'


def test_a_peer_without_an_address_is_unknown():
    assert values(forward(peer=None, trusted=("0.0.0.0/0",)), b"x-forwarded-for") == [b"unknown"]


def test_lines_keep_the_case_and_the_white_space_they_came_with():
    lines = [b"Host: api.example", b"X-A:  one ", b"Cookie: a=1"]
    assert forward((b"x-a", b"one"), (b"cookie", b"a=1"), lines=lines)[:2] == [(b"X-A", b" one "), (b"Cookie", b"a=1")]


@pytest.mark.parametrize(
    ("sent", "passed"),
    [(b"5", b"4"), (b"0005", b"4"), (b"1", b"0"), (b"0", b"0"), (b"x", b"x"), (b"9" * 5000, b"999999999")],
    ids=["five", "zeros", "one", "none", "no-number", "very-long"],
)
def test_a_request_loses_one_hop(sent, passed):
    assert values(forward((b"max-forwards", sent)), b"max-forwards") == [passed]


def test_cookies_that_http_2_split_are_joined():
    fields = forward((b"cookie", b"a=1"), (b"cookie", b"b=2"), version="2")
    assert values(fields, b"cookie") == [b"a=1; b=2"]
    assert values(fields, b"via") == [b"2 tiergate"]


COOKIES = [
    pytest.param([b"tiergate_session=a"], [], id="only-ours"),
    pytest.param([b"tiergate_session=a; tiergate_claim_0=b;"], [], id="only-ours-twice"),
    pytest.param([b"tiergate_claim_0=a; b=2"], [b"b=2"], id="ours-first"),
    pytest.param([b"a=1; tiergate_claim_0=x; b=2"], [b"a=1; b=2"], id="ours-between"),
    pytest.param([b"a=1;tiergate_claim_0=x"], [b"a=1"], id="ours-last-without-a-space"),
    pytest.param([b"a=1;\ttiergate_session = x;  b=\xe9"], [b"a=1;  b=\xe9"], id="odd-spaces"),
    pytest.param([b"a=1", b"tiergate_session=x", b"b=2"], [b"a=1", b"b=2"], id="fields"),
    pytest.param(*[[b"a=tiergate_session; mytiergate_=1; Tiergate_x=1"]] * 2, id="names-that-are-not-ours"),
    pytest.param(*[[b'a="x, y";b ; =c;; d=1;']] * 2, id="odd-cookies"),
    pytest.param([b""], [b""], id="empty"),
]


@pytest.mark.parametrize(("sent", "kept"), COOKIES)
def test_our_cookies_end_here_and_others_keep_their_bytes(sent, kept):
    fields = [(b"cookie", value) for value in sent]
    assert values(forward(*fields), b"cookie") == kept
    assert values(headers_inside(fields, identity=[]), b"cookie") == kept


def test_our_cookies_end_here_where_http_2_split_them():
    fields = forward((b"cookie", b"a=1"), (b"cookie", b"tiergate_session=x"), (b"cookie", b"b=2"), version="2")
    assert values(fields, b"cookie") == [b"a=1; b=2"]
    assert values(forward((b"cookie", b"tiergate_session=x"), version="2"), b"cookie") == []


@given(st.lists(st.tuples(st.sampled_from(["tiergate_a", "tiergate_", "a", "xtiergate_"]), st.integers(0, 9))))
def test_whatever_cookies_are_sent_the_others_arrive_in_order(cookies):
    sent = "; ".join(f"{name}={value}" for name, value in cookies)
    others = "; ".join(f"{name}={value}" for name, value in cookies if not name.startswith("tiergate_"))
    expected = [] if cookies and not others else [others.encode()]
    assert values(forward((b"cookie", sent.encode())), b"cookie") == expected


def test_an_app_in_this_process_gets_everything_but_what_opens_this_gateway():
    others = [
        (b"authorization", b"Bearer eyJhbGciOi"),
        (b"x-forwarded-for", b"192.0.2.7"),
        (b"host", b"api.example"),
    ]
    ours = [(b"authorization", b"bearer tg_live_x"), (b"x-api-key", b"tg_live_x"), (b"cookie", b"tiergate_session=x")]
    identity = [(b"x-tiergate-user", b"ada")]
    assert headers_inside([*ours, *others, (b"connection", b"close")], identity=identity) == others + identity


def test_a_via_of_an_earlier_hop_stays_before_ours():
    assert values(forward((b"via", b"1.0 a")), b"via") == [b"1.0 a", b"1.1 tiergate"]


_field_names = st.sampled_from(
    [
        b"x-tiergate-customer",
        b"x_tiergate_customer",
        b"connection",
        b"x-forwarded-for",
        b"x-a",
        b"accept",
        b"te",
        b"x-tiergate_tier",
    ]
)


@given(st.lists(st.tuples(_field_names, st.sampled_from([b"a", b"x-a, te", b"cu_2", b""])), max_size=8))
def test_an_upstream_hears_only_from_us_who_the_caller_is(fields):
    sent = forward(*fields)
    telling = [field for field in sent if field[0].replace(b"_", b"-").startswith(b"x-tiergate")]
    assert telling == []
    assert values(sent, b"x-forwarded-for") == [b"192.0.2.1"]
    assert not {b"te", b"connection"} & {name for name, _ in sent}
