"""Routes of the proxied API: a method and a path pattern, with cost and requirements.

Pattern segments: a literal; `*` or `{name}` for exactly one segment; `**`, last only, for any
number of segments including none. Matching is on the undecoded path, case-sensitive, and a
trailing slash is a segment of its own (`/v1/x` does not match `/v1/x/`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

from gateway.core.measure import Measure
from gateway.core.once import OnceTerms
from gateway.core.outcome import BELOW_500, Billable
from gateway.core.settle import Settle
from gateway.core.upstream_policy import NO_OPTIONS, ForwardOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One line of `routes:`; the first that matches decides."""

    pattern: str
    """As written, normalised: `POST /v1/render/**`. Names the route in metrics and explanations."""
    methods: frozenset[str] | None
    """None: any method. A pattern for GET also matches HEAD."""
    segments: tuple[str, ...]
    cost: tuple[tuple[str, int], ...] = ()
    """(meter, units) pairs, units >= 0; a meter not named costs nothing here."""
    requires: str | None = None
    """Feature the tier must have."""
    forward: ForwardOptions = NO_OPTIONS
    billable: Billable = BELOW_500
    once: OnceTerms | None = None
    """What an Idempotency-Key means here. None: nothing to the gateway; it passes as any other field.
    So it is where `settle` or `measures` say the cost: one charge must not pay for calls that cost differently."""
    settle: tuple[Settle, ...] = ()
    """How the real cost is learnt at the end, of meters in `cost`; until then `cost` is reserved."""
    measures: tuple[Measure, ...] = ()
    """What a call costs by what it asks for, beside `cost`."""
    is_priced: bool = field(default=False, hash=False, compare=False)
    """A copy for one call, with its measures in `cost`."""
    group: str | None = None
    """Which routes it is counted with by limits of their own (`core.limits`)."""
    begins: bool = True
    """Whether a call begins by it, which takes a place among those in progress."""

    def matches(self, method: str, path: str) -> bool:
        """Whether this line speaks of `method` and canonical `path` (starts with `/`, no query)."""
        if self.methods is not None and method not in self.methods:
            return False
        return segments_match(self.segments, path)


@lru_cache(maxsize=1024)
def priced(route: Route, cost: tuple[tuple[str, int], ...]) -> Route:
    """The same route at the price of what a call that has begun goes on to do; the same object each time."""
    return replace(route, cost=cost, begins=False)


def segments_match(segments: tuple[str, ...], path: str) -> bool:
    """Match a canonical path against compiled segments."""
    parts = path.split("/")[1:]
    if segments and segments[-1] == "**":
        head = segments[:-1]
        if len(parts) < len(head):
            return False
        parts = parts[: len(head)]
    else:
        head = segments
        if len(parts) != len(head):
            return False
    return all(want in ("*", part) for want, part in zip(head, parts, strict=True))
