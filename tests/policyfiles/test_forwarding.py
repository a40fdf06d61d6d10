"""What routes and tiers say about forwarding, and what is compiled of it."""

from __future__ import annotations

import pytest

from gateway.core.upstream_policy import (
    FREE_WEBSOCKETS,
    NO_CORS,
    Cors,
    ForwardOptions,
    ForwardTimeouts,
    HeaderEdit,
    Rewrite,
    WebSocketPolicy,
)
from gateway.policyfiles import PolicyInvalid, load_policy


@pytest.fixture
def forward(policies, good):
    """Compiles the last route with more keys, and gives what it says about forwarding."""

    def compile_route(*lines: str, match: str = '"* /v1/**"') -> ForwardOptions:
        keys = "".join(f"    {line}\n" for line in lines)
        text = good.replace('  - match: "* /v1/**"\n', f"  - match: {match}\n{keys}")
        return load_policy(policies(api=text)).routes[-1].forward

    return compile_route


def test_a_route_without_a_word_about_forwarding_says_nothing(forward):
    assert forward() == ForwardOptions()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("timeout: 30s", ForwardTimeouts(first_byte_s=30)),
        ("timeout: 1500 ms", ForwardTimeouts(first_byte_s=1.5)),
        ("timeout: 2 minutes", ForwardTimeouts(first_byte_s=120)),
        ("timeout: {connect: 500ms, idle: 5m}", ForwardTimeouts(connect_s=0.5, idle_s=300)),
        ("timeout: {read_on: 2m}", ForwardTimeouts(read_on_s=120)),
        ("timeout: {read_on: none}", ForwardTimeouts(read_on_s=0)),
        ("timeout: {first_byte: 10s, total: 1h}", ForwardTimeouts(first_byte_s=10, total_s=3600)),
        ("timeout: {total: none}", ForwardTimeouts(total_s=0)),
    ],
)
def test_a_plain_time_out_is_for_the_first_byte_and_a_mapping_says_each(forward, line, expected):
    assert forward(line).timeouts == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [("20MB", 20_000_000), ("1 MiB", 1_048_576), ("512kb", 512_000), ("1_000", 1_000), ("0", 0), ("2GB", 2 * 10**9)],
)
def test_a_body_is_capped_in_decimal_or_binary_units(forward, size, expected):
    assert forward(f"max_body: {size}").max_body_bytes == expected


@pytest.mark.parametrize(
    ("line", "match", "expected"),
    [
        ("rewrite: strip /v1", '"* /v1/**"', Rewrite(strip="/v1")),
        ("rewrite: strip /v1 prefix /api", "GET /v1/x", Rewrite(strip="/v1", prefix="/api")),
        ("rewrite: prefix /api", "/other/{id}", Rewrite(prefix="/api")),
        ("rewrite: strip /caf%c3%a9/%3a", "/caf%C3%A9/:/x", Rewrite(strip="/caf%C3%A9/:")),
    ],
)
def test_a_rewrite_is_kept_in_canonical_spelling(forward, line, match, expected):
    assert forward(line, match=match).rewrite == expected


def test_fields_are_removed_then_set_then_added(forward):
    options = forward(
        "request_headers:",
        "  add: {X-Plan: [gold, new]}",
        "  set: {Authorization: Bearer abc, x-plan: old}",
        "  remove: [Cookie]",
        "response_headers: {set: {Cache-Control: 'no-store, private'}, remove: Server}",
    )
    assert options.request_headers == (
        HeaderEdit(action="remove", name=b"cookie"),
        HeaderEdit(action="set", name=b"authorization", value=b"Bearer abc"),
        HeaderEdit(action="set", name=b"x-plan", value=b"old"),
        HeaderEdit(action="add", name=b"x-plan", value=b"gold"),
        HeaderEdit(action="add", name=b"x-plan", value=b"new"),
    )
    assert options.response_headers == (
        HeaderEdit(action="remove", name=b"server"),
        HeaderEdit(action="set", name=b"cache-control", value=b"no-store, private"),
    )


def test_a_value_may_lie_in_a_file_beside_the_policy(policies, good):
    line = "    request_headers: {set: {Authorization: {file: secrets/upstream}}}\n"
    directory = policies(api=f"{good}".replace('"* /v1/**"\n', f'"* /v1/**"\n{line}'))
    (directory / "secrets").mkdir()
    (directory / "secrets" / "upstream").write_text("Bearer hunter2\n")
    policy = load_policy(directory)
    assert policy.routes[-1].forward.request_headers[0].value == b"Bearer hunter2"
    assert "hunter2" not in repr(policy)
    (directory / "secrets" / "upstream").write_text("Bearer hunter3\n")
    assert load_policy(directory).policy_hash != policy.policy_hash


@pytest.mark.parametrize("content", [b"", b"hunter2\nhunter2", b"hunter2\xff", b"hunter2\0", b"h" * 5000])
def test_a_value_in_a_file_that_no_header_can_carry_is_refused_without_showing_it(policies, good, content):
    line = "    request_headers: {set: {Authorization: {file: upstream}}}\n"
    directory = policies(api=good.replace('"* /v1/**"\n', f'"* /v1/**"\n{line}'))
    (directory / "upstream").write_bytes(content)
    with pytest.raises(PolicyInvalid) as caught:
        load_policy(directory)
    (fault,) = caught.value.faults
    assert fault.line == 18
    assert "the value of 'Authorization'" in fault.message
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in fault.source_line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("websocket: refuse", None),
        ("websocket: allowed", FREE_WEBSOCKETS),
        (
            "websocket: {cost_per_message: 2, cost_per_minute: {tokens: 5, requests: 0}, max_message: 64KiB}",
            WebSocketPolicy(
                cost_per_message=(("requests", 2),), cost_per_minute=(("tokens", 5),), max_message_bytes=65_536
            ),
        ),
    ],
)
def test_websockets_are_refused_allowed_or_charged(forward, line, expected):
    assert forward(line).websocket == expected


@pytest.mark.parametrize(("word", "expected"), [("yes", True), ("no", False), ("true", True), ("on", True)])
def test_a_route_takes_encoded_slashes_when_it_says_so(forward, word, expected):
    assert forward(f"encoded_slashes: {word}").encoded_slashes is expected


def test_cors_of_the_policy_holds_until_a_route_says_otherwise(policies, good):
    text = good.replace("    cost: 10\n", "    cost: 10\n    cors: off\n")
    cors = "cors: {origins: [https://App.example.com, 'http://localhost:5173'], credentials: yes, max_age: 1h}\n"
    policy = load_policy(policies(api=text + cors))
    assert policy.cors == Cors(
        origins=("https://app.example.com", "http://localhost:5173"), credentials=True, max_age_s=3600
    )
    assert policy.routes[0].forward.cors is NO_CORS
    assert [policy.cors_for(route) for route in policy.routes] == [None, policy.cors]


def test_cors_of_a_route_is_whole_by_itself(forward):
    assert forward("cors: {origins: '*', methods: [GET], headers: '*', expose: [X-Total, ETag]}").cors == Cors(
        origins=("*",), methods=("GET",), headers=("*",), expose=("x-total", "etag")
    )


@pytest.mark.parametrize(
    "origin", ["http://[::1]:3000", "capacitor://localhost", "chrome-extension://abcdefghijklmnop", "https://xn--a.b"]
)
def test_an_origin_may_be_an_address_an_app_or_an_extension(forward, origin):
    assert forward(f"cors: {{origins: '{origin}'}}").cors.origins == (origin,)


def test_cors_defined_in_two_files_is_refused_with_both_places(policies, good):
    directory = policies(a=f"{good}cors: off\n", b="version: 1\ncors: {origins: '*'}\n")
    with pytest.raises(PolicyInvalid) as caught:
        load_policy(directory)
    assert "'cors' is defined twice: first at " in str(caught.value)
    assert "b.yaml:2" in str(caught.value)
    assert "a.yaml:20" in str(caught.value)


def test_a_tier_says_time_outs_and_the_body_cap(policies, good):
    text = good.replace("  pro:\n", "  pro:\n    upstream: {timeout: {first_byte: 5m, total: 1h}, max_body: 1GB}\n")
    tiers = load_policy(policies(api=text)).tiers
    assert tiers["pro"].forward == ForwardOptions(
        timeouts=ForwardTimeouts(first_byte_s=300, total_s=3600), max_body_bytes=10**9
    )
    assert tiers["free"].forward == ForwardOptions()


@pytest.mark.parametrize(
    "addition",
    [
        "timeout: 30s",
        "timeout: {idle: 30s}",
        "max_body: 1MB",
        "rewrite: strip /v1",
        "request_headers: {set: {X-A: b}}",
        "request_headers: {set: {X-A: c}}",
        "response_headers: {set: {X-A: b}}",
        "cors: {origins: '*'}",
        "cors: off",
        "encoded_slashes: yes",
        "websocket: refuse",
        "websocket: {cost_per_message: 1}",
        "upstream: api",
    ],
)
def test_the_hash_covers_every_word_about_forwarding(policies, good, addition):
    groups = "upstreams: {api: {servers: [http://10.0.0.1]}}\n"
    before = load_policy(policies(api=good + groups)).policy_hash
    text = good.replace('"* /v1/**"\n', f'"* /v1/**"\n    {addition}\n')
    found = load_policy(policies(api=text + groups)).policy_hash
    assert found != before
    other = text.replace("X-A: b", "X-A: d").replace("30s", "31s").replace("1MB", "2MB")
    assert (load_policy(policies(api=other + groups)).policy_hash != found) is (other != text)


def test_two_spellings_of_one_time_are_one_policy(policies, good):
    hashes = {
        load_policy(policies(api=good.replace('"* /v1/**"\n', f'"* /v1/**"\n    timeout: {time}\n'))).policy_hash
        for time in ("60s", "1m", "60000ms", "{first_byte: 60 s}")
    }
    assert len(hashes) == 1
