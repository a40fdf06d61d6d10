"""Which route decides, and which servers answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import TargetRejected
from gateway.core.pattern import parse_pattern
from gateway.core.policy import Policy
from gateway.core.route import Route
from gateway.core.target import canonical_path
from gateway.core.upstream_policy import NO_CORS, Cors, ForwardOptions, Server, UpstreamGroup


def route(text: str, **forward) -> Route:
    pattern = parse_pattern(text)
    return Route(
        pattern=pattern.text, methods=pattern.methods, segments=pattern.segments, forward=ForwardOptions(**forward)
    )


def policy(*routes: Route, **parts) -> Policy:
    return Policy(
        policy_hash="0" * 12, default_tier=None, tiers={}, plans={}, meters={}, routes=routes, lifecycle={}, **parts
    )


def group(name: str, *hosts: str) -> UpstreamGroup:
    return UpstreamGroup(name=name, servers=(Server(url="http://127.0.0.1:1"),), hosts=hosts)


def test_an_encoded_slash_reaches_only_a_route_that_takes_it():
    taking = route("/projects/{id}", encoded_slashes=True)
    rules = policy(taking, route("/**"))
    assert rules.takes_encoded_slashes
    assert rules.find_route("GET", "/projects/group%2Fproject") is taking
    for path in ("/other/group%2Fproject", "/projects/a%2Fb/c"):
        with pytest.raises(TargetRejected, match="encoded slash"):
            rules.find_route("GET", path)


def test_an_encoded_slash_never_falls_through_to_a_later_route_that_takes_it():
    rules = policy(route("GET /projects/{id}"), route("/projects/**", encoded_slashes=True))
    with pytest.raises(TargetRejected):
        rules.find_route("GET", "/projects/a%2Fb")
    assert rules.find_route("POST", "/projects/a%2Fb") is rules.routes[1]


def test_an_encoded_slash_where_nothing_matches_is_ambiguous_as_without_such_routes():
    for rules in (policy(route("/v1/**", encoded_slashes=True)), policy(route("/v1/**"))):
        with pytest.raises(TargetRejected):
            rules.find_route("GET", "/v2/a%2Fb")
        assert rules.find_route("GET", "/v2/a") is None


@st.composite
def _lines(draw):
    segments = draw(st.lists(st.sampled_from(["a", "b", "*"]), max_size=3))
    tail = draw(st.sampled_from([[], ["**"]]))
    return route("/" + "/".join(segments + tail), encoded_slashes=draw(st.booleans()))


@given(
    st.lists(_lines(), max_size=5),
    st.lists(st.lists(st.sampled_from([b"a", b"b", b"%2f", b"%2F"]), min_size=1, max_size=3), min_size=1, max_size=4),
)
def test_the_first_line_that_matches_the_bytes_decides_whether_an_encoded_slash_passes(routes, parts):
    """The oracle parts the raw path at its slashes alone, and compares names with `%2F` as three bytes."""
    segments = [b"".join(part) for part in parts]
    raw = b"/" + b"/".join(segments)
    names = [segment.replace(b"%2f", b"%2F").decode() for segment in segments]

    def matches(line):
        want = line.segments
        if want[-1:] == ("**",):
            want = want[:-1]
            return len(names) >= len(want) and all(w in ("*", n) for w, n in zip(want, names, strict=False))
        return len(names) == len(want) and all(w in ("*", n) for w, n in zip(want, names, strict=True))

    first = next((line for line in routes if matches(line)), None)
    refused = b"%2f" in raw.lower() and (first is None or not first.forward.encoded_slashes)
    try:
        found = policy(*routes).find_route("GET", canonical_path(raw, keeps_encoded_slashes=True))
    except TargetRejected:
        assert refused
    else:
        assert not refused
        assert found is first


def test_the_route_names_the_group_else_the_host_does_else_it_is_the_default():
    named, other = route("/a", group="reports"), route("/**")
    rules = policy(
        named,
        other,
        upstreams={one.name: one for one in (group("reports"), group("web", "www.example.com"), group("default"))},
    )
    assert rules.group_for(named, "www.example.com").name == "reports"
    assert rules.group_for(other, "WWW.example.com.:8080").name == "web"
    assert rules.group_for(other, "elsewhere.example").name == "default"
    assert not rules.needs_settings_upstream


def test_without_a_default_group_the_settings_upstream_answers_what_names_none():
    named, other = route("/a", group="reports"), route("/**")
    rules = policy(named, other, upstreams={"reports": group("reports")})
    assert rules.group_for(other, "") is None
    assert rules.needs_settings_upstream
    assert not policy(named, upstreams={"reports": group("reports")}).needs_settings_upstream
    assert policy(other).needs_settings_upstream


def test_a_routes_own_cors_wins_and_may_be_none():
    everywhere, own = Cors(origins=("*",)), Cors(origins=("https://a.example",))
    rules = policy(route("/a", cors=own), route("/b", cors=NO_CORS), route("/**"), cors=everywhere)
    assert [rules.cors_for(line) for line in rules.routes] == [own, None, everywhere]
    assert policy(route("/**")).cors_for(route("/**")) is None
