from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.pattern import Pattern, PatternInvalid, Precedence, parse_pattern
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


def covers(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    """The oracle: whether every path that `narrow` matches is matched by `wide`, segment by segment."""
    narrow_open, wide_open = narrow[-1:] == ("**",), wide[-1:] == ("**",)
    narrow_head, wide_head = narrow[: len(narrow) - narrow_open], wide[: len(wide) - wide_open]
    if len(narrow_head) < len(wide_head) or (not wide_open and (narrow_open or len(narrow_head) != len(wide_head))):
        return False
    return all(want in ("*", have) for want, have in zip(wide_head, narrow_head, strict=False))


def hiding(later: Pattern, earlier: list[Pattern]) -> Pattern | None:
    """The oracle: trying every earlier line."""
    covering = [pattern for pattern in earlier if covers(pattern.segments, later.segments)]
    for pattern in covering:
        if pattern.methods is None:
            return pattern
    for count, pattern in enumerate(covering, 1):
        together = frozenset().union(*(each.methods or () for each in covering[:count]))
        if later.methods is not None and later.methods <= together:
            return pattern
    return None


@settings(max_examples=500)
@given(st.lists(patterns, max_size=8))
def test_a_line_is_hidden_by_the_line_that_comparing_it_with_all_before_finds(texts: list[str]) -> None:
    before, earlier = Precedence(), []
    for text in texts:
        later = parse_pattern(text)
        hidden_by = before.find_hiding(later)
        assert hidden_by is hiding(later, earlier)
        earlier.append(later)
        if hidden_by is None:
            before.add(later)


@settings(max_examples=300)
@given(st.lists(patterns, max_size=6), patterns, st.sampled_from(["GET", "POST", "HEAD", "PUT"]), paths)
def test_a_hidden_line_never_decides(earlier: list[str], later: str, method: str, path: str) -> None:
    before = Precedence()
    for text in earlier:
        before.add(parse_pattern(text))
    if before.find_hiding(parse_pattern(later)) is not None and route(later).matches(method, path):
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
    assert table._tree.covering(["v1", "resource1999", "7"]) == [(1999, routes[1999])]
    assert table.find("GET", "/v1/resource1999/7") is routes[1999]


def test_a_line_is_compared_only_with_those_on_its_path() -> None:
    before = Precedence()
    for number in range(2000):
        before.add(parse_pattern(f"GET /v1/resource{number}/{{id}}"))
    again = parse_pattern("GET /v1/resource7/{name}")
    assert len(before._tree.covering(again.segments)) == 1
    assert before.find_hiding(again) == parse_pattern("GET /v1/resource7/{id}")


@pytest.mark.parametrize("path", ["/v1/**", "/v1/*"])
def test_a_star_in_a_request_is_a_name_like_any_other(path: str) -> None:
    assert RouteTable([route("GET /v1/{id}")]).find("GET", path) is not None
    assert RouteTable([route("GET /v1/x")]).find("GET", path) is None


@pytest.mark.parametrize("segment", ["%2a", "%2A%2A"])
def test_an_escaped_star_in_a_pattern_is_refused_because_it_would_stand_for_anything(segment: str) -> None:
    with pytest.raises(PatternInvalid, match="stands for"):
        parse_pattern(f"GET /v1/{segment}")
