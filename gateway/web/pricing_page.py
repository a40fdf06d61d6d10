"""Pricing: what the policy in force sells, at the prices that Stripe has; and the way to the checkout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from litestar import get, post

from gateway.billing import PriceFacts
from gateway.checkout import AlreadySubscribed
from gateway.core.access import decide_access
from gateway.core.offer import SeatRange
from gateway.core.plan_map import running_of
from gateway.core.policy import Policy, Tier
from gateway.core.purchase import Extras
from gateway.sync import ExtrasOrder
from gateway.web.billing_gate import needs_billing
from gateway.web.callers import client_address
from gateway.web.claim_cookie import claim_cookie, old_claims
from gateway.web.extras_form import AddOnCard, add_on_card, asked_seats, extras_fields, picked_add_ons
from gateway.web.offers import add_ons_with, read_add_on_prices, read_prices
from gateway.web.page_frame import FromVisit, Page, Visit
from gateway.web.page_words import feature_words, limit_sentence, price_words
from gateway.web.refusals import NotAuthorized
from gateway.web.returning import begun_before, paid_before
from gateway.web.stripe_turns import take_turn

if TYPE_CHECKING:
    from gateway.core.account import Subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCard:
    """One plan on sale."""

    plan_id: str
    title: str
    price: tuple[str, str] | None
    """Amount and interval in words."""
    is_current: bool
    seats: SeatRange | None
    trial_days: int | None
    add_ons: tuple[AddOnCard, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TierCard:
    """One tier, with the plans that grant it."""

    title: str
    description: str
    is_default: bool
    limits: tuple[str, ...]
    features: tuple[str, ...]
    plans: tuple[PlanCard, ...]


@get("/")
async def show_start(visit: FromVisit) -> Page:
    """The pages start with the prices."""
    return visit.see("/pricing")


@get("/pricing")
async def show_pricing(visit: FromVisit) -> Page:
    """All tiers with their limits and plans. Without Stripe there are no prices, and the rest still stands."""
    policy = visit.runtime.policy.current
    prices = await read_prices(visit.runtime, policy) if policy.plans else {}
    extra = await read_add_on_prices(visit.runtime, policy) or {}
    current_plan = _current_plan(visit, policy)
    return visit.page(
        "pricing.html",
        tiers=tier_cards(policy, prices or {}, extra, current_plan),
        has_plan=current_plan is not None,
        prices_known=prices is not None,
        can_buy=_can_buy(visit),
        is_sold=visit.runtime.billing.is_configured,
        may_manage=visit.signed_in is None or visit.signed_in.may_manage,
    )


@post("/pricing", guards=[needs_billing])
async def buy(visit: FromVisit) -> Page:
    """Start a checkout: for the customer who is signed in, or for somebody new."""
    fields = await visit.form()
    plan_id, extras = fields.get("plan_id", ""), _extras(fields)
    if visit.signed_in is None:
        return await _sign_up(visit, plan_id, extras)
    visit.signed_in.require_manager()
    await take_turn(visit.runtime, visit.signed_in.customer_id)
    try:
        link = await visit.checkouts.for_customer(visit.signed_in.customer_id, plan_id, extras)
    except AlreadySubscribed:
        chosen = _beside(extras, running_of(visit.signed_in.account.subscription))
        wanted = {"plan_id": visit.checkouts.find_plan(plan_id).plan_id} | extras_fields(chosen)
        return visit.see(f"/account/change?{urlencode(wanted)}")
    return visit.leave_for(link.url)


def _extras(fields: dict[str, str]) -> Extras:
    """What was chosen beside the plan. A number that is none is refused as one that is not sold."""
    return Extras(seats=asked_seats(fields), add_ons=picked_add_ons(fields))


def _beside(extras: Extras, subscription: Subscription | None) -> ExtrasOrder:
    """What was chosen, for a subscription: this page sells, so what is there already stays beside it."""
    had = () if subscription is None else tuple(name for name, _ in subscription.add_ons)
    add_ons = tuple(dict.fromkeys((*had, *extras.add_ons))) if extras.add_ons else None
    return ExtrasOrder(seats=extras.seats, add_ons=add_ons)


def tier_cards(
    policy: Policy, prices: dict[str, PriceFacts], extra: dict[str, PriceFacts], current_plan: str | None
) -> tuple[TierCard, ...]:
    """The tiers of a policy, lowest first.

    Args:
        policy: Its tiers.
        prices: By plan.
        extra: By add-on.
        current_plan: Of who looks.
    """
    tiers = sorted(policy.tiers.values(), key=lambda tier: tier.rank)
    add_ons = {name: add_on_card(add_on, policy, extra.get(name)) for name, add_on in policy.add_ons.items()}
    offered = {
        plan.plan_id: tuple(add_ons[name] for name in add_ons_with(plan, prices, extra))
        for plan in policy.plans.values()
    }
    return tuple(_card(tier, policy, prices, offered, current_plan) for tier in tiers)


def _card(
    tier: Tier,
    policy: Policy,
    prices: dict[str, PriceFacts],
    offered: dict[str, tuple[AddOnCard, ...]],
    current_plan: str | None,
) -> TierCard:
    return TierCard(
        title=tier.title,
        description=tier.description,
        is_default=tier.name == policy.default_tier,
        limits=tuple(limit_sentence(limit, policy.meters) for limit in tier.limits),
        features=feature_words(tier),
        plans=tuple(
            PlanCard(
                plan_id=plan.plan_id,
                title=plan.title,
                price=price_words(prices.get(plan.plan_id)),
                is_current=plan.plan_id == current_plan,
                seats=plan.seats,
                trial_days=plan.terms.trial.days if plan.terms.trial is not None else None,
                add_ons=offered[plan.plan_id],
            )
            for plan in policy.plans.values()
            if plan.tier == tier.name
        ),
    )


async def _sign_up(visit: Visit, plan_id: str, extras: Extras) -> Page:
    if not _can_buy(visit):
        raise NotAuthorized("Plans are bought through the provider's own site, or with a key: sign in first.")
    begun = await begun_before(visit)
    try:
        signup = await visit.checkouts.for_newcomer(
            plan_id,
            address=client_address(visit.request, visit.runtime),
            begun_as=begun[0].customer_id if begun else None,
            extras=extras,
        )
    except AlreadySubscribed:
        if not begun:
            raise
        return visit.see(f"/success?session_id={(await paid_before(visit, begun)).session_id}")
    claim = claim_cookie(signup.link.session_id, signup.claim_secret, is_secure=visit.is_secure)
    old = old_claims(visit.request.cookies, fresh=1, is_secure=visit.is_secure)
    return visit.leave_for(signup.link.url, cookies=[claim, *old])


def _can_buy(visit: Visit) -> bool:
    if not visit.runtime.billing.is_configured:
        return False
    if visit.signed_in is not None:
        return visit.signed_in.may_manage
    return visit.runtime.settings.signup == "open"


def _current_plan(visit: Visit, policy: Policy) -> str | None:
    if visit.signed_in is None:
        return None
    return decide_access(visit.signed_in.account, policy, visit.runtime.clock.now()).plan_id
