from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.pattern import PatternInvalid, covers, is_shadowed, parse_pattern
from gateway.core.route import Route, segments_match
from gateway.core.route_table import RouteTable
from gateway.core.target import canonical_path


def route(text: str) -> Route:
    pattern = parse_pattern(text)
    return Route(pattern=pattern.text, methods=pattern.methods, segments=pattern.segments)


@pytest.mark.parametrize(
    ("pattern", "method", "path", "is_match"),
    [
        ("GET /v1/x", "GET", "/v1/x", True),
        ("GET /v1/x", "HEAD", "/v1/x", True),
        ("POST /v1/x", "HEAD", "/v1/x", False),
        ("GET /v1/x", "GET", "/v1/x/", False),
        ("GET /v1/x", "GET", "/v1/X", False),
        ("GET /v1/x", "GET", "/v1/%78", False),
        ("* /v1/x", "PROPFIND", "/v1/x", True),
        ("/v1/x", "DELETE", "/v1/x", True),
        ("GET,POST /v1/x", "POST", "/v1/x", True),
        ("GET|POST /v1/x", "PUT", "/v1/x", False),
        ("GET /v1/{id}", "GET", "/v1/7", True),
        ("GET /v1/{id}", "GET", "/v1/", True),
        ("GET /v1/{id}", "GET", "/v1/7/8", False),
        ("GET /v1/*/b", "GET", "/v1/a/b", True),
        ("GET /v1/**", "GET", "/v1", True),
        ("GET /v1/**", "GET", "/v1/", True),
        ("GET /v1/**", "GET", "/v1/a/b/c", True),
        ("GET /v1/**", "GET", "/v10", False),
        ("GET /**", "GET", "/", True),
        ("GET /", "GET", "/", True),
        ("GET /", "GET", "/x", False),
    ],
)
def test_a_pattern_matches_what_it_says(pattern: str, method: str, path: str, *, is_match: bool) -> None:
    assert route(pattern).matches(method, path) is is_match
    assert (RouteTable([route(pattern)]).find(method, path) is not None) is is_match


@pytest.mark.parametrize(("written", "sent"), [("%3a", ":"), ("%C3%A9", "%c3%a9"), ("~", "%7E"), ("a%20b", "a%20b")])
def test_a_literal_matches_every_spelling_that_is_accepted(written: str, sent: str) -> None:
    assert route(f"GET /v1/{written}").matches("GET", canonical_path(f"/v1/{sent}".encode()))


@pytest.mark.parametrize(
    "segment", ["%2F", "%5c", "%2e%2e", "..", ".", "a;b", "%41", "%zz", "%252F", "é", "a\\b", "%00"]
)
def test_a_literal_that_requests_may_not_hold_is_refused(segment: str) -> None:
    with pytest.raises(PatternInvalid, match="could never match"):
        parse_pattern(f"GET /v1/{segment}")


@pytest.mark.parametrize("text", ["POST,GET /a", "GET|POST  /a", " GET,POST /a "])
def test_a_pattern_is_normalised(text: str) -> None:
    assert parse_pattern(text).text == "GET,POST /a"


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(PatternInvalid) as caught:
        parse_pattern("DELTE /v1/x")
    assert caught.value.suggestion == "DELETE"


segments = st.lists(st.sampled_from(["a", "b", "{x}", "*"]), max_size=4)
paths = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=5).map(lambda parts: "/" + "/".join(parts))
methods = st.sampled_from(["* ", "GET ", "POST ", "GET,POST ", "HEAD ", ""])
patterns = st.builds(
    lambda method, parts, is_open: f"{method}/{'/'.join([*parts, '**'] if is_open else parts)}",
    methods,
    segments,
    st.booleans(),
)


@settings(max_examples=300)
@given(st.lists(patterns, max_size=8), st.sampled_from(["GET", "POST", "HEAD", "PUT"]), paths)
def test_the_table_finds_what_trying_every_line_finds(texts: list[str], method: str, path: str) -> None:
    routes = [route(text) for text in texts]
    first = next((line for line in routes if line.matches(method, path)), None)
    assert RouteTable(routes).find(method, path) is first


@settings(max_examples=300)
@given(st.lists(patterns, max_size=6), patterns, st.sampled_from(["GET", "POST", "HEAD", "PUT"]), paths)
def test_a_shadowed_line_never_decides(earlier: list[str], later: str, method: str, path: str) -> None:
    if is_shadowed(parse_pattern(later), [parse_pattern(text) for text in earlier]) is None:
        return
    if route(later).matches(method, path):
        assert any(route(text).matches(method, path) for text in earlier)


@given(patterns, patterns)
def test_a_pattern_that_covers_another_matches_its_own_example(wide: str, narrow: str) -> None:
    one, other = parse_pattern(wide).segments, parse_pattern(narrow).segments
    example = "/" + "/".join("zz" if part in ("*", "**") else part for part in other)
    if covers(one, other):
        assert segments_match(one, example)


def test_finding_a_route_among_many_visits_only_the_path() -> None:
    """A bound on work instead of time: of 2,000 lines, one is a candidate."""
    routes = [route(f"GET /v1/resource{number}/{{id}}") for number in range(2000)]
    table = RouteTable(routes)
    node = table._root.literals["v1"]
    assert len(node.literals) == 2000
    assert len(node.literals["resource1999"].any_one.here) == 1  # type: ignore[union-attr]  # it has a parameter
    assert table.find("GET", "/v1/resource1999/7") is routes[1999]
