"""Changing the plan: what Stripe says it costs, and the button that does it."""

from __future__ import annotations

from litestar import get, post

from gateway.core.access import decide_access
from gateway.sync import PlanChanges
from gateway.web.page_frame import FromVisit, Page, Visit
from gateway.web.page_words import feature_words, limit_sentence, moment


@get("/account/change")
async def show_change(visit: FromVisit, plan_id: str = "") -> Page:
    """What a change would cost if it were made now. Nothing is changed."""
    if visit.signed_in is None:
        return visit.see("/sign-in")
    visit.signed_in.require_manager()
    policy = visit.runtime.policy.current
    plan = visit.checkouts.find_plan(plan_id)
    current_id = decide_access(visit.signed_in.account, policy, visit.runtime.clock.now()).plan_id
    if plan.plan_id == current_id:
        return visit.see("/account?done=current")
    cost = (await _changes(visit).preview(visit.signed_in.customer_id, plan_id)).cost
    tier = policy.tiers[plan.tier]
    return visit.page(
        "change.html",
        plan=plan,
        current=policy.plans[current_id].title if current_id in policy.plans else None,
        tier=tier.title,
        limits=[limit_sentence(limit, policy.meters) for limit in tier.limits],
        features=feature_words(tier),
        lines=cost.lines,
        total=cost.next_invoice_text,
        next_invoice=moment(cost.next_invoice_at),
    )


@post("/account/change")
async def change(visit: FromVisit) -> Page:
    """Change the plan."""
    who = visit.require_signed_in()
    who.require_manager()
    form = await visit.form()
    plan = visit.checkouts.find_plan(form.get("plan_id", ""))
    changed = await _changes(visit).apply(who.customer_id, plan.plan_id, actor=who.actor)
    if changed.result.is_pending:
        url = changed.result.payment_url
        return visit.leave_for(url) if url is not None else visit.see("/account?done=pending")
    return visit.see("/account?done=changed" if changed.is_recorded else "/account?done=changing")


def _changes(visit: Visit) -> PlanChanges:
    return PlanChanges(sync=visit.runtime.sync, clock=visit.runtime.clock)
