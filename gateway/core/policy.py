"""The compiled policy: what is sold, to whom, at which limits. Immutable.

`gateway.policyfiles` builds it from YAML; everything else only reads it. A policy is
complete and consistent by construction: every name it mentions resolves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from gateway.core.alerts import DEFAULT_PERCENTS
from gateway.core.credits import NEVER_EXPIRE, CreditTerms
from gateway.core.debt import Debts
from gateway.core.errors import TargetRejected
from gateway.core.forward_rules import host_name
from gateway.core.limits import Concurrency, Limit
from gateway.core.offer import PLAIN_TERMS, AddOn, CheckoutTerms, SeatRange
from gateway.core.outage_policy import DENY, OutageRule
from gateway.core.overage import Overage, PriceName
from gateway.core.route import Route
from gateway.core.route_table import RouteTable
from gateway.core.settle import Settle
from gateway.core.switching import AS_EVER, SwitchTerms
from gateway.core.target import ENCODED_SLASH, ENCODED_SLASH_REFUSED
from gateway.core.upstream_policy import (
    DEFAULT_GROUP,
    NO_OPTIONS,
    Cors,
    ForwardOptions,
    UpstreamGroup,
)

PlanChange: TypeAlias = Literal["keep", "prorate", "reset"]
"""What a change of plan does to the quota of its billing period (`core.plan_change`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """A named counter per customer."""

    name: str
    title: str
    """What one unit is called on pages: `requests`."""
    settle: Settle | None = None
    """How the real cost is learnt, where a route says nothing else. None: a route's cost is what a call costs."""


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
    when_cache_fails: OutageRule = DENY
    """Who is let in while the cache cannot decide."""
    overages: tuple[Overage, ...] = ()
    """Which of its quotas may be exceeded, one for each meter at most."""
    is_per_seat: bool = field(init=False, repr=False, compare=False, hash=False)
    """Whether any limit is that of one seat."""

    def __post_init__(self) -> None:
        counted = any(not isinstance(limit, Concurrency) and limit.per_seat for limit in self.limits)
        object.__setattr__(self, "is_per_seat", counted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is sold: a Stripe price that grants a tier.

    Of a plan in the policy exactly one of `price_id`, `lookup_key` is set. One that has neither is sold by a
    product whose metadata names the tier, at any of its prices.
    """

    plan_id: str
    tier: str
    title: str
    price_id: str | None
    lookup_key: str | None
    overage_prices: tuple[tuple[str, PriceName], ...] = ()
    """By meter, where overage is billed at another price than the tier says: of another interval or currency."""
    seats: SeatRange | None = None
    """How many are sold, as the quantity of its price. None: seats are not sold, and there is one."""
    add_ons: tuple[str, ...] = ()
    """Names of what may be bought with it, in `Policy.add_ons`."""
    terms: CheckoutTerms = PLAIN_TERMS
    """Of its checkout page."""


def tier_plan_id(tier: str) -> str:
    """The id of the plan that a product's metadata makes of a tier. No plan in a policy can be called that."""
    return f"tier:{tier}"


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
    alerts: tuple[int, ...] = DEFAULT_PERCENTS
    """Shares of a quota, in percent, at which the seller is told, lowest first."""
    credits: CreditTerms = NEVER_EXPIRE
    """For credits that are granted without an expiry of their own."""
    plan_change: PlanChange = "keep"
    """What a change of plan does to the quota of its billing period."""
    switching: SwitchTerms = AS_EVER
    """What a change of plan does to the bill."""
    debts: Debts = "refuse"
    """What an unpaid invoice of a subscription that is over does to a purchase."""
    add_ons: dict[str, AddOn] = field(default_factory=dict)
    """By name."""
    entitlements: frozenset[str] = frozenset()
    """Lookup keys of Stripe's features that count as features here, for customers whose plan is in force."""
    takes_encoded_slashes: bool = field(init=False, repr=False, compare=False)
    """Whether any route does: else a path with one need not be read twice (`core.target`)."""
    needs_settings_upstream: bool = field(init=False, repr=False, compare=False)
    """Whether a request can go to the upstream of the settings: no group is the default, and a route names none."""
    route_groups: frozenset[str] = field(init=False, repr=False, compare=False)
    """The groups of routes that limits may name."""
    has_cors: bool = field(init=False, repr=False, compare=False)
    """Whether any route answers browsers of other origins."""
    has_measures: bool = field(init=False, repr=False, compare=False)
    """Whether any route's price depends on what a call asks for."""
    _table: RouteTable = field(init=False, repr=False, compare=False)
    _by_host: dict[str, UpstreamGroup] = field(init=False, repr=False, compare=False)
    _plans: dict[str, Plan] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        routes, groups = self.routes, self.upstreams.values()
        takes_slashes = any(route.forward.encoded_slashes for route in routes)
        needs_upstream = DEFAULT_GROUP not in self.upstreams and any(route.forward.group is None for route in routes)
        object.__setattr__(self, "takes_encoded_slashes", takes_slashes)
        object.__setattr__(self, "needs_settings_upstream", needs_upstream)
        groups_of_routes = frozenset(route.group for route in routes if route.group is not None)
        object.__setattr__(self, "route_groups", groups_of_routes)
        has_cors = self.cors is not None or any(route.forward.cors is not None for route in routes)
        object.__setattr__(self, "has_cors", has_cors)
        object.__setattr__(self, "has_measures", any(route.measures for route in routes))
        object.__setattr__(self, "_table", RouteTable(routes))
        object.__setattr__(self, "_by_host", {host: group for group in groups for host in group.hosts})
        object.__setattr__(self, "_plans", {plan.plan_id: plan for plan in map(_plan_of_tier, self.tiers.values())})
        self._plans.update(self.plans)

    def find_plan(self, plan_id: str | None) -> Plan | None:
        """The plan of that id, also one that a product's metadata made of a tier; None: it is not sold any more."""
        return None if plan_id is None else self._plans.get(plan_id)

    def find_route(self, method: str, path: str) -> Route | None:
        """The first route that matches; None means refuse. `path` is canonical (`core.target`), undecoded.

        Raises:
            TargetRejected: `path` holds an encoded slash, and the first route that matches does not
                take one, or none matches. A later route is never asked instead.
        """
        route = self._table.find(method, path)
        if ENCODED_SLASH in path and (route is None or not route.forward.encoded_slashes):
            raise TargetRejected(ENCODED_SLASH_REFUSED)
        return route

    def group_for(self, route: Route, host: str) -> UpstreamGroup | None:
        """The servers that answer a request: the route's group, else the host's, else the default one.

        Args:
            route: That matched.
            host: Value of the Host field, as sent.

        Returns:
            None: the upstream in the settings.
        """
        named = route.forward.group
        if named is not None:
            return self.upstreams[named]
        if self._by_host:
            group = self._by_host.get(host_name(host))
            if group is not None:
                return group
        return self.upstreams.get(DEFAULT_GROUP)

    def cors_for(self, route: Route) -> Cors | None:
        """What browsers of other origins may do with a route; None: nothing, and CORS is not answered."""
        cors = self.cors if route.forward.cors is None else route.forward.cors
        return cors if cors is not None and cors.origins else None


def _plan_of_tier(tier: Tier) -> Plan:
    return Plan(plan_id=tier_plan_id(tier.name), tier=tier.name, title=tier.title, price_id=None, lookup_key=None)
