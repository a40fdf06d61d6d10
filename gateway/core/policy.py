"""The compiled policy: what is sold, to whom, at which limits. Immutable.

`gateway.policyfiles` builds it from YAML; everything else only reads it. A policy is
complete and consistent by construction: every name it mentions resolves.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.core.limits import Limit
from gateway.core.route import Route
from gateway.core.route_table import RouteTable
from gateway.core.upstream_policy import NO_OPTIONS, Cors, ForwardOptions, UpstreamGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """A named counter per customer."""

    name: str
    title: str
    """What one unit is called on pages: `requests`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """What a customer may do. `rank` 0 is the lowest."""

    name: str
    rank: int
    title: str
    description: str
    limits: tuple[Limit, ...]
    features: frozenset[str]
    forward: ForwardOptions = NO_OPTIONS
    """What its customers' requests get where their route says nothing: time-outs and the body cap only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is sold: a Stripe price that grants a tier. Exactly one of `price_id`, `lookup_key` is set."""

    plan_id: str
    tier: str
    title: str
    price_id: str | None
    lookup_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a Stripe status does to access: keep the tier for a while, then fall back or refuse."""

    keep_s: int | None
    """Seconds the tier is kept, from when the status was first seen; None: as long as it lasts."""
    then: str | None
    """A tier's name, or None: refuse with `refusal`. Unused when `keep_s` is None."""
    refusal: str
    """Problem code when `then` is None: `payment-required` or `subscription-required`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything the seller decided. `policy_hash` is 12 hex digits of SHA-256 over the compiled content."""

    policy_hash: str
    default_tier: str | None
    tiers: dict[str, Tier]
    plans: dict[str, Plan]
    meters: dict[str, Meter]
    routes: tuple[Route, ...]
    lifecycle: dict[str, Standing]
    """By Stripe status, and two rows of our own; has every one of `core.access.LIFECYCLE_ROWS`."""
    upstreams: dict[str, UpstreamGroup] = field(default_factory=dict)
    """By name. A group called `default` replaces the upstream in the settings."""
    cors: Cors | None = None
    """For routes that say nothing themselves. None: no CORS."""
    _table: RouteTable = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_table", RouteTable(self.routes))

    def find_route(self, method: str, path: str) -> Route | None:
        """The first route that matches; None means refuse. `path` is canonical (`core.target`), undecoded."""
        return self._table.find(method, path)
