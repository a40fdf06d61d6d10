"""Scopes of single keys."""

import pytest

from gateway.core.scope import ScopeInvalid, parse_scope


@pytest.mark.parametrize(
    ("scope", "method", "path", "matches"),
    [
        ("GET /v1/**", "GET", "/v1/a/b", True),
        ("GET /v1/**", "HEAD", "/v1/a", True),
        ("GET /v1/**", "POST", "/v1/a", False),
        ("* /v1/echo", "DELETE", "/v1/echo", True),
        ("* /v1/echo", "GET", "/v1/echo/x", False),
        ("POST /v1/{thing}/run", "POST", "/v1/job/run", True),
        ("POST /v1/{thing}/run", "POST", "/v1/a/b/run", False),
    ],
)
def test_a_scope_covers_what_it_says(scope, method, path, matches):
    assert parse_scope(scope).matches(method, path) is matches


@pytest.mark.parametrize("text", ["", "GET", "GET v1", "FETCH /v1", "GET /v1/**/x", "get /v1", "GET /_tiergate/x"])
def test_what_is_not_a_scope_is_refused_with_an_example(text):
    with pytest.raises(ScopeInvalid, match="write it like 'GET /v1/"):
        parse_scope(text)
