"""Scopes: what a single key may be used for, written like a route of the policy (`GET /v1/**`, `* /v1/echo`)."""

from __future__ import annotations

from functools import lru_cache

from gateway.core.pattern import PatternInvalid, parse_pattern
from gateway.core.route import Route


class ScopeInvalid(ValueError):
    """Not a scope; the message says why and gives an example."""


@lru_cache(maxsize=1024)
def parse_scope(text: str) -> Route:
    """Compile one scope.

    Raises:
        ScopeInvalid: No request could ever match it.
    """
    try:
        pattern = parse_pattern(text)
    except PatternInvalid as invalid:
        raise ScopeInvalid(f"scope {text[:80]!r}: {invalid}; write it like 'GET /v1/**' or '* /v1/echo'") from None
    return Route(pattern=pattern.text, methods=pattern.methods, segments=pattern.segments)
