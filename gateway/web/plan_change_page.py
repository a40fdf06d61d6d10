"""Changing the plan: what Stripe says it costs, the button that does it, and the one that takes it back."""

from __future__ import annotations

from typing import get_args

from litestar import get, post

from gateway.core.access import decide_access
from gateway.core.switching import When
from gateway.sync import PlanChanges
from gateway.web.page_frame import FromVisit, Page, Visit
from gateway.web.page_words import feature_words, limit_sentence, moment
from gateway.web.stripe_turns import take_turn


@get("/account/change")
async def show_change(visit: FromVisit, plan_id: str = "", when: str = "") -> Page:
    """What a change would cost if it were asked for now. Nothing is changed."""
    if visit.signed_in is None:
        return visit.see("/sign-in")
    visit.signed_in.require_manager()
    await take_turn(visit.runtime, visit.signed_in.customer_id)
    policy = visit.runtime.policy.current
    plan = visit.checkouts.find_plan(plan_id)
    current_id = decide_access(visit.signed_in.account, policy, visit.runtime.clock.now()).plan_id
    if plan.plan_id == current_id:
        return visit.see("/account?done=current")
    preview = await _changes(visit).preview(visit.signed_in.customer_id, plan_id, when=_when(when))
    tier = policy.tiers[plan.tier]
    return visit.page(
        "change.html",
        plan=plan,
        current=policy.plans[current_id].title if current_id in policy.plans else None,
        tier=tier.title,
        limits=[limit_sentence(limit, policy.meters) for limit in tier.limits],
        features=feature_words(tier),
        when=preview.when,
        takes_effect=moment(preview.takes_effect_at) if preview.when == "period-end" else None,
        other_when=next((one for one in preview.allowed if one != preview.when), None),
        lines=preview.cost.lines,
        total=preview.cost.next_invoice_text,
        next_invoice=moment(preview.cost.next_invoice_at),
    )


@post("/account/change")
async def change(visit: FromVisit) -> Page:
    """Change the plan, or plan the change."""
    who = visit.require_signed_in()
    who.require_manager()
    await take_turn(visit.runtime, who.customer_id)
    form = await visit.form()
    plan = visit.checkouts.find_plan(form.get("plan_id", ""))
    when = _when(form.get("when", ""))
    changed = await _changes(visit).apply(who.customer_id, plan.plan_id, actor=who.actor, when=when)
    if changed.result.is_pending:
        url = changed.result.payment_url
        return visit.leave_for(url) if url is not None else visit.see("/account?done=pending")
    if changed.when == "period-end":
        return visit.see("/account?done=planned")
    return visit.see("/account?done=changed" if changed.is_recorded else "/account?done=changing")


@post("/account/change/keep")
async def keep(visit: FromVisit) -> Page:
    """Take a planned change back."""
    who = visit.require_signed_in()
    who.require_manager()
    await take_turn(visit.runtime, who.customer_id)
    await _changes(visit).keep(who.customer_id, actor=who.actor)
    return visit.see("/account?done=kept")


def _when(text: str) -> When | None:
    """The customer's word; any other is as none, and policy has its usual way."""
    words: tuple[When, ...] = get_args(When)
    return next((word for word in words if word == text), None)


def _changes(visit: Visit) -> PlanChanges:
    return PlanChanges(sync=visit.runtime.sync, clock=visit.runtime.clock)
