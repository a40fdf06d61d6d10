"""May this key make this call, and what would it spend? Pure; the cache only counts.

A decision is made on one policy, one account snapshot and one instant. The charge script
then refuses it if the account has changed meanwhile, so nothing here needs to be fresh.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.core.access import decide_access, in_force
from gateway.core.access_value import Access
from gateway.core.account import Account, KeyRecord
from gateway.core.allow_list import allows
from gateway.core.allowance import Allowance, find_allowance, with_overage
from gateway.core.charge import ConcurrencyClaim, QuotaClaim, RateClaim
from gateway.core.credits import credit_claims, lives_on_credits, next_grant_at
from gateway.core.errors import (
    AccountSuspended,
    AddressNotAllowed,
    CostAboveLimit,
    Denied,
    FeatureNotInTier,
    InvalidKey,
    PaymentRequired,
    RouteNotFound,
    ScopeMissing,
    SubscriptionRequired,
)
from gateway.core.limit_text import REQUESTS
from gateway.core.limits import Concurrency, Limit, Quota, limit_field
from gateway.core.plan_change import ChangedQuota, counted_window
from gateway.core.planned import Plan, PlannedLimit
from gateway.core.policy import Policy, Tier
from gateway.core.ratelimit_fields import seconds_up
from gateway.core.route import Route
from gateway.core.scope import parse_scope


def find_key(account: Account, digest: str, now: float) -> KeyRecord:
    """The live key with this digest.

    Raises:
        InvalidKey: Unknown, revoked or expired: the caller is not told which.
    """
    key = account.keys.get(digest)
    if key is None or (key.expires_at is not None and now >= key.expires_at):
        raise InvalidKey
    return key


def check_address(key: KeyRecord, address: str | None) -> None:
    """Refuse a key that is used from elsewhere than it may be.

    Args:
        key: The key of the call.
        address: The client's, without port; None if it is not known, which no list holds.

    Raises:
        AddressNotAllowed: It may not be used from there.
    """
    if key.allow and not allows(key.allow, address):
        raise AddressNotAllowed(address)


def granted_tier(account: Account, access: Access) -> Tier:
    """The tier that access grants.

    Raises:
        Denied: Suspended, or no tier: with the code that policy chose.
    """
    if access.tier is not None:
        return access.tier
    raise _refusal(account, access)


def plan_request(
    *,
    policy: Policy,
    account: Account,
    digest: str,
    route: Route | None,
    method: str,
    path: str,
    now: float,
    address: str | None = None,
) -> Plan:
    """Decide everything that does not need a counter.

    Args:
        route: What `policy.find_route(method, path)` answered.
        path: Canonical, undecoded (`core.target`).
        now: Unix seconds.
        address: The client's, without port. None: not known, so that a key with a list is refused.

    Raises:
        InvalidKey, Denied, RouteNotFound: In this order: who are you, may this key be used from
            there, are you in good standing, does this exist, may this key, may this tier, could
            its limits ever pay.
    """
    key = find_key(account, digest, now)
    check_address(key, address)
    account = in_force(account, policy, now)
    access = decide_access(account, policy, now)
    tier = granted_tier(account, access)
    if route is None:
        raise RouteNotFound(f"{method} {path} is not part of this API.")
    if key.scopes and not any(parse_scope(scope).matches(method, path) for scope in key.scopes):
        raise ScopeMissing(f"This key may only be used for: {', '.join(key.scopes)}.")
    if route.requires is not None and route.requires not in tier.features:
        raise FeatureNotInTier(route.requires, tier.name, _tiers_with(policy, route.requires))
    cost = dict(route.cost)
    of_route = {None, route.group}
    planned = [
        _planned(
            limit,
            account,
            None,
            cost,
            now,
            tier.limits,
            allowance=find_allowance(policy, account, access, limit, now) if tier.overages else None,
        )
        for limit in tier.limits
        if limit.group in of_route
    ]
    planned += [_planned(limit, account, key.key_id, cost, now) for limit in key.limits if limit.group in of_route]
    if not route.begins:
        planned = [limit for limit in planned if limit is None or not isinstance(limit.claim, ConcurrencyClaim)]
    limits = tuple(limit for limit in planned if limit is not None)
    if route.is_priced:
        limits = tuple(_as_attempt(limit, route) for limit in limits)
    _check_costs(limits)
    live = tuple(limit.claim.field for limit in limits if isinstance(limit.claim, ConcurrencyClaim))
    until = next_grant_at(account, now) if account.grants else None
    return Plan(access=access, tier=tier, key=key, route=route, limits=limits, live=live, until=until)


def _check_costs(limits: tuple[PlannedLimit, ...]) -> None:
    """Refuse a cost that a limit could never cover. Policy has no such tier; a key's own limit may be that small.

    A quota that lives on credits could cover it with the next grant, and one that a change of plan moved in the next
    window: the charge refuses what they cannot. What is left of credits only the charge knows (`refused_charge`).
    """
    for limit in limits:
        if limit.claim.cost > limit.quota and not (limit.lives_on_credits or limit.is_passing):
            raise CostAboveLimit(
                f"This call costs {limit.claim.cost:,} and the {limit.name!r} limit never holds more than"
                f" {limit.quota:,}."
            )


def _as_attempt(limit: PlannedLimit, route: Route) -> PlannedLimit:
    """A rate counts attempts, so it counts 1 for a call that says itself that it costs 0."""
    claim = limit.claim
    if not isinstance(claim, RateClaim) or claim.cost or all(each.meter != limit.meter for each in route.measures):
        return limit
    return replace(limit, claim=replace(claim, cost=1))


def _planned(
    limit: Limit,
    account: Account,
    key_id: str | None,
    cost: dict[str, int],
    now: float,
    extended: tuple[Limit, ...] = (),
    *,
    allowance: Allowance | None = None,
) -> PlannedLimit | None:
    """`extended`: the limits among which credits may stand behind this one; `allowance`: what may beside them."""
    field = limit_field(limit, key_id)
    name = limit.name if key_id is None else f"key-{limit.name}"
    if isinstance(limit, Concurrency):
        place = ConcurrencyClaim(field=field, limit=limit.units)
        of_key = key_id is not None
        return PlannedLimit(name=name, quota=limit.units, window_s=0, meter=REQUESTS, claim=place, of_key=of_key)
    units = cost.get(limit.meter, 0)
    if isinstance(limit, Quota):
        if units == 0:
            return None
        starts_at, ends_at = counted_window(account, now, limit)
        behind = credit_claims(account, limit, extended, units, now) if account.grants and extended else ()
        if allowance is not None:
            behind = with_overage(behind, allowance, account, units, now)
        claim = QuotaClaim(
            field=field, cost=units, limit=limit.units, starts_at=starts_at, ends_at=ends_at, passes_on=bool(behind)
        )
        return PlannedLimit(
            name=name,
            quota=limit.units + sum(each.limit for each in behind),
            window_s=ends_at - starts_at,
            meter=limit.meter,
            claim=claim,
            of_key=key_id is not None,
            credits=behind,
            lives_on_credits=lives_on_credits(limit, extended),
            is_passing=isinstance(limit, ChangedQuota) or (allowance is not None and allowance.is_passing),
            allowance=allowance,
        )
    pace = RateClaim(field=field, cost=units, units=limit.units, window_ms=limit.window_ms, burst=limit.burst)
    refill_ms = -(-limit.burst * limit.window_ms // limit.units)
    return PlannedLimit(
        name=name,
        quota=limit.burst,
        window_s=seconds_up(refill_ms),
        meter=limit.meter,
        claim=pace,
        of_key=key_id is not None,
    )


def _tiers_with(policy: Policy, feature: str) -> tuple[str, ...]:
    return tuple(tier.name for tier in policy.tiers.values() if feature in tier.features)


def _refusal(account: Account, access: Access) -> Denied:
    if access.refusal == AccountSuspended.code:
        return AccountSuspended("This account is suspended. Contact the provider of this API.")
    if access.refusal == PaymentRequired.code:
        subscription = account.subscription
        return PaymentRequired(
            access.warning or "A payment for this subscription is due.",
            is_unconfirmed=subscription is not None and subscription.is_unconfirmed,
        )
    if account.subscription is None:
        return SubscriptionRequired("This API needs a subscription. Choose a plan to continue.")
    return SubscriptionRequired(access.warning or "The subscription has ended. Subscribe again to continue.")
