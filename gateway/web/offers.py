"""`GET plans`: everything on sale, in words and prices for people and for the seller's own pages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping

import structlog
from litestar import get

from gateway.billing import PriceFacts
from gateway.core.errors import BillingNotConfigured, BillingRefused, BillingUnavailable
from gateway.core.limit_text import limit_words
from gateway.core.offer import AddOn
from gateway.core.policy import Plan, Policy, Tier
from gateway.web.billing_bodies import AddOnOffer, PlanOffer, Plans, Price, SeatsOffer, TierOffer
from gateway.web.callers import FromRuntime
from gateway.web.credentials import PUBLIC
from gateway.web.problem_shape import problems
from gateway.web.runtime import Runtime

log = structlog.get_logger(__name__)

_PRICES_WAIT_S = 3.0
"""Seconds a list of plans waits for prices; then it comes without."""


@get("/plans", security=PUBLIC, responses=problems(400), summary="List the plans", tags=["billing"])
async def list_plans(runtime: FromRuntime) -> Plans:
    """Everything on sale, with limits in words and prices as last read from Stripe.

    `prices_as_of` is when this answer was made; each price was read at most TIERGATE_PRICE_TTL_S
    before that, or is the last one known while Stripe is away.
    """
    policy = runtime.policy.current
    prices = await read_prices(runtime, policy)
    extra = await read_add_on_prices(runtime, policy)
    return Plans(
        plans=[
            _plan_offer(plan, policy.tiers[plan.tier], (prices or {}).get(id_), add_ons_with(plan, prices, extra))
            for id_, plan in policy.plans.items()
        ],
        add_ons=[_add_on_offer(add_on, (extra or {}).get(name)) for name, add_on in policy.add_ons.items()],
        tiers=[_tier_offer(tier, policy) for tier in sorted(policy.tiers.values(), key=lambda tier: tier.rank)],
        policy=policy.policy_hash,
        prices_as_of=int(runtime.clock.now()) if prices else None,
    )


async def read_prices(runtime: Runtime, policy: Policy) -> dict[str, PriceFacts] | None:
    """Prices by plan id; None if they cannot be read now. Never an error: they are for display."""
    return await _in_time(runtime.billing.fetch_prices(policy.plans.values()))


async def read_add_on_prices(runtime: Runtime, policy: Policy) -> dict[str, PriceFacts] | None:
    """Prices by add-on; as `read_prices`."""
    return await _in_time(runtime.billing.fetch_add_on_prices(policy.add_ons)) if policy.add_ons else {}


async def _in_time(reading: Awaitable[dict[str, PriceFacts]]) -> dict[str, PriceFacts] | None:
    try:
        async with asyncio.timeout(_PRICES_WAIT_S):
            return await reading
    except BillingNotConfigured:  # there are none, and nobody looks for them
        return {}
    except (BillingUnavailable, BillingRefused, TimeoutError) as error:
        log.warning("prices cannot be shown", error=type(error).__name__)
        return None


async def shares_currency(runtime: Runtime, one: PriceFacts | None, other: PriceFacts | None) -> bool:
    """Whether both prices ask in some currency; so it is said where that is not known. It is nearly always known."""
    if one is None or other is None or one.currency == other.currency:
        return True
    try:
        async with asyncio.timeout(_PRICES_WAIT_S):
            sold = [await runtime.billing.fetch_currencies(price.price_id) for price in (one, other)]
    except (BillingUnavailable, BillingRefused, TimeoutError) as error:
        log.warning("currencies cannot be read", error=type(error).__name__)
        return True
    return not sold[0].isdisjoint(sold[1])


def add_ons_with(
    plan: Plan, prices: Mapping[str, PriceFacts] | None, extra: Mapping[str, PriceFacts] | None
) -> list[str]:
    """The add-ons that can be bought with a plan: not those whose price has another interval or currency.

    Args:
        plan: Of the policy.
        prices: By plan.
        extra: By add-on. Where a price is not known, nothing speaks against it.
    """
    own = (prices or {}).get(plan.plan_id)
    return [name for name in plan.add_ons if _fit_one_checkout(own, (extra or {}).get(name))]


def _fit_one_checkout(one: PriceFacts | None, other: PriceFacts | None) -> bool:
    if one is None or other is None:
        return True
    return one.currency == other.currency and renew_together(one, other)


def renew_together(one: PriceFacts | None, other: PriceFacts | None) -> bool:
    """Whether both are paid at the same interval; so it is said where that is not known."""
    if one is None or other is None:
        return True
    return (one.interval, one.interval_count) == (other.interval, other.interval_count)


def _plan_offer(plan: Plan, tier: Tier, price: PriceFacts | None, add_ons: list[str]) -> PlanOffer:
    return PlanOffer(
        plan_id=plan.plan_id,
        title=plan.title,
        tier=tier.name,
        tier_title=tier.title,
        description=tier.description,
        limits=[limit_words(limit) for limit in tier.limits],
        features=sorted(tier.features),
        price=_price(price) if price is not None else None,
        seats=SeatsOffer(least=plan.seats.least, most=plan.seats.most) if plan.seats is not None else None,
        add_ons=add_ons,
        trial_days=plan.terms.trial.days if plan.terms.trial is not None else None,
    )


def _add_on_offer(add_on: AddOn, price: PriceFacts | None) -> AddOnOffer:
    return AddOnOffer(
        add_on=add_on.name,
        title=add_on.title,
        limits=[limit_words(limit) for limit in add_on.limits],
        features=sorted(add_on.features),
        price=_price(price) if price is not None else None,
    )


def _tier_offer(tier: Tier, policy: Policy) -> TierOffer:
    return TierOffer(
        tier=tier.name,
        title=tier.title,
        description=tier.description,
        limits=[limit_words(limit) for limit in tier.limits],
        features=sorted(tier.features),
        is_default=tier.name == policy.default_tier,
    )


def _price(price: PriceFacts) -> Price:
    return Price(
        amount=price.amount,
        currency=price.currency,
        interval=price.interval,
        interval_count=price.interval_count,
        text=price.amount_text,
    )
