"""Changing the plan, its seats and its add-ons: what it costs, the button that does it, and the one that takes it back.

What it costs is Stripe's word. A form that names no plan changes what is beside the one that there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import get_args
from urllib.parse import urlencode

from litestar import get, post

from gateway.core.access import decide_access
from gateway.core.account import Account
from gateway.core.bought import tier_as_bought
from gateway.core.limits import Quota
from gateway.core.plan_map import plan_of_record, running_of
from gateway.core.policy import Plan, Policy, Tier
from gateway.core.switching import When
from gateway.sync import ExtrasOrder, NoSubscription, PlanChanges
from gateway.web.billing_gate import needs_billing
from gateway.web.extras_form import EXTRAS, asked_extras, extras_fields
from gateway.web.page_frame import FromVisit, Page, Visit
from gateway.web.page_words import feature_words, limit_sentence, moment
from gateway.web.stripe_turns import take_turn


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What a form asks for."""

    plan: Plan
    plan_id: str | None
    """None: the form is about what is beside the plan that there is."""
    extras: ExtrasOrder
    when: When | None

    @property
    def fields(self) -> dict[str, str]:
        """The fields by which a form asks for the same again, without the time."""
        return ({} if self.plan_id is None else {"plan_id": self.plan_id}) | extras_fields(self.extras)


@get("/account/change", guards=[needs_billing])
async def show_change(visit: FromVisit) -> Page:
    """What a change would cost if it were asked for now. Nothing is changed."""
    who = visit.signed_in
    if who is None:
        return visit.see("/sign-in")
    who.require_manager()
    await take_turn(visit.runtime, who.customer_id)
    policy = visit.runtime.policy.current
    wish = _wish(visit, who.account, dict(visit.request.query_params.multi_items()))
    current_id = decide_access(who.account, policy, visit.runtime.clock.now()).plan_id
    if wish.plan_id == current_id and wish.extras.seats is None and wish.extras.add_ons is None:
        return visit.see("/account?done=current")
    preview = await _changes(visit).preview(who.customer_id, wish.plan_id, when=wish.when, extras=wish.extras)
    if preview.direction == "same":
        return visit.see("/account?done=same")
    tier = _tier(wish, who.account, policy)
    other_when = next((one for one in preview.allowed if one != preview.when), None)
    return visit.page(
        "change.html",
        plan=wish.plan,
        is_beside=wish.plan_id is None,
        current=policy.plans[current_id].title if current_id in policy.plans else None,
        tier=tier.title,
        bought=_bought(wish, who.account, policy),
        limits=[limit_sentence(limit, policy.meters) for limit in tier.limits],
        is_shared=preview.when == "now" and policy.plan_change == "prorate" and _has_period_quota(tier),
        features=feature_words(tier),
        takes_effect=moment(preview.takes_effect_at) if preview.when == "period-end" else None,
        fields=wish.fields | {"when": preview.when},
        other_when=other_when,
        other_query=urlencode(wish.fields | {"when": other_when or ""}),
        lines=preview.cost.lines,
        total=preview.cost.next_invoice_text,
        next_invoice=moment(preview.cost.next_invoice_at),
    )


@post("/account/change", guards=[needs_billing])
async def change(visit: FromVisit) -> Page:
    """Change the plan or what is beside it, or plan the change."""
    who = visit.require_signed_in()
    who.require_manager()
    await take_turn(visit.runtime, who.customer_id)
    wish = _wish(visit, who.account, await visit.form())
    changed = await _changes(visit).apply(
        who.customer_id, wish.plan_id, actor=who.actor, when=wish.when, extras=wish.extras
    )
    if changed.result.is_pending:
        url = changed.result.payment_url
        return visit.leave_for(url) if url is not None else visit.see("/account?done=pending")
    if changed.when == "period-end":
        return visit.see("/account?done=planned")
    done = "changed" if wish.plan_id is not None else "adjusted"
    return visit.see(f"/account?done={done}" if changed.is_recorded else "/account?done=changing")


@post("/account/change/keep", guards=[needs_billing])
async def keep(visit: FromVisit) -> Page:
    """Take a planned change back."""
    who = visit.require_signed_in()
    who.require_manager()
    await take_turn(visit.runtime, who.customer_id)
    await _changes(visit).keep(who.customer_id, actor=who.actor)
    return visit.see("/account?done=kept")


def _wish(visit: Visit, account: Account, fields: Mapping[str, str]) -> _Wish:
    plan_id, subscription = fields.get("plan_id", ""), running_of(account.subscription)
    is_beside = EXTRAS in fields and not plan_id
    if is_beside and subscription is None:
        raise NoSubscription("There is no running subscription to change.")
    policy = visit.runtime.policy.current
    there = None if subscription is None else subscription.plan_id
    current = None if subscription is None else plan_of_record(subscription, policy)
    there = there if current is None else current.plan_id
    plan = visit.checkouts.find_plan((there or "") if is_beside else plan_id)
    return _Wish(
        plan=plan,
        plan_id=None if is_beside else plan.plan_id,
        extras=asked_extras(fields, plan, subscription, policy),
        when=_when(fields.get("when", "")),
    )


def _tier(wish: _Wish, account: Account, policy: Policy) -> Tier:
    """The tier of the plan with what will be bought, once the change is made."""
    tier, subscription = policy.tiers[wish.plan.tier], running_of(account.subscription)
    if subscription is None:
        return tier
    add_ons = subscription.add_ons
    if wish.extras.add_ons is not None:
        had = dict(add_ons)
        add_ons = tuple((name, had.get(name, 1)) for name in wish.extras.add_ons)
    seats = subscription.seats if wish.extras.seats is None else wish.extras.seats
    return tier_as_bought(tier, replace(subscription, seats=seats, add_ons=add_ons), policy)


def _has_period_quota(tier: Tier) -> bool:
    return any(isinstance(limit, Quota) and limit.window_s is None for limit in tier.limits)


def _bought(wish: _Wish, account: Account, policy: Policy) -> list[str]:
    """What is paid for besides, once the change is made: `5 seats`, and the titles of add-ons."""
    subscription = running_of(account.subscription)
    had = () if subscription is None else tuple(name for name, _ in subscription.add_ons)
    seats = wish.extras.seats if wish.extras.seats is not None else 1 if subscription is None else subscription.seats
    names = had if wish.extras.add_ons is None else wish.extras.add_ons
    words = [] if wish.plan.seats is None and seats == 1 else [f"{seats:,} {'seat' if seats == 1 else 'seats'}"]
    return words + [policy.add_ons[name].title for name in names if name in policy.add_ons]


def _when(text: str) -> When | None:
    """The customer's word; any other is as none, and policy has its usual way."""
    words: tuple[When, ...] = get_args(When)
    return next((word for word in words if word == text), None)


def _changes(visit: Visit) -> PlanChanges:
    return PlanChanges(sync=visit.runtime.sync, clock=visit.runtime.clock)
