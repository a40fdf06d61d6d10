"""Changes of a running subscription, under the billing prefix: previewed, made, planned, taken back."""

from __future__ import annotations

from litestar import delete, post
from litestar.params import FromQuery, JSONBody

from gateway.ledger import CustomerUnknown
from gateway.sync import ExtrasOrder, PlanChanges, PlanPreview
from gateway.web.billing_bodies import ChangeAnswer, ChangeOrder, InvoiceLine, SubscriptionView
from gateway.web.billing_gate import needs_billing
from gateway.web.billing_routes import FromCheckouts, view_subscription
from gateway.web.callers import FromCaller, FromRuntime, find_named
from gateway.web.problem_shape import problems
from gateway.web.refusals import RequestInvalid
from gateway.web.runtime import Runtime
from gateway.web.stripe_turns import take_turn_of


@post(
    "/subscription/change",
    status_code=200,
    guards=[needs_billing],
    responses=problems(400, 401, 402, 403, 404, 409, 422, 429, 501, 502),
    summary="Change the plan",
    tags=["billing"],
)
async def change_subscription(
    data: JSONBody[ChangeOrder], runtime: FromRuntime, caller: FromCaller, checkouts: FromCheckouts
) -> ChangeAnswer:
    """Preview a change of plan, or with `preview: false` make it.

    Of one that takes effect now, new limits hold when this returns. One for the end of the period can be
    changed until then, or taken back with DELETE.
    """
    caller.require_manager()
    await take_turn_of(caller, runtime)
    if (data.plan_id, data.seats, data.add_ons) == (None, None, None):
        raise RequestInvalid("Say what is to change: 'plan_id', 'seats' or 'add_ons'.")
    if data.plan_id is not None:
        checkouts.find_plan(data.plan_id)
    customer_id = await find_named(runtime, caller, data.user_id, data.customer_id)
    changes = PlanChanges(sync=runtime.sync, clock=runtime.clock)
    extras = ExtrasOrder(seats=data.seats, add_ons=None if data.add_ons is None else tuple(data.add_ons))
    if data.preview:
        return _previewed(await changes.preview(customer_id, data.plan_id, when=data.when, extras=extras))
    changed = await changes.apply(customer_id, data.plan_id, actor=caller.actor, when=data.when, extras=extras)
    is_later = changed.when == "period-end"
    return ChangeAnswer(
        plan_id=changed.plan_id,
        applied=not changed.result.is_pending and not is_later,
        scheduled=is_later,
        pending=changed.result.is_pending,
        when=changed.when,
        takes_effect_at=changed.takes_effect_at,
        payment_url=changed.result.payment_url,
        subscription=await _view(customer_id, runtime),
    )


@delete(
    "/subscription/change",
    status_code=200,
    guards=[needs_billing],
    responses=problems(400, 401, 403, 404, 409, 429, 501, 502),
    summary="Take a planned change back",
    tags=["billing"],
)
async def keep_plan(
    runtime: FromRuntime,
    caller: FromCaller,
    user_id: FromQuery[str | None] = None,
    customer_id: FromQuery[str | None] = None,
) -> SubscriptionView:
    """Have the plan stay as it is. Nothing happens if nothing is planned."""
    caller.require_manager()
    await take_turn_of(caller, runtime)
    named = await find_named(runtime, caller, user_id, customer_id)
    await PlanChanges(sync=runtime.sync, clock=runtime.clock).keep(named, actor=caller.actor)
    return await _view(named, runtime)


async def _view(customer_id: str, runtime: Runtime) -> SubscriptionView:
    account = await runtime.ledger.load_account(customer_id)
    if account is None:
        raise CustomerUnknown(customer_id)
    return view_subscription(account, runtime)


def _previewed(preview: PlanPreview) -> ChangeAnswer:
    cost = preview.cost
    return ChangeAnswer(
        plan_id=preview.plan_id,
        applied=False,
        direction=preview.direction,
        when=preview.when,
        when_allowed=list(preview.allowed),
        takes_effect_at=preview.takes_effect_at,
        currency=cost.currency,
        amount_due=cost.next_invoice,
        amount_due_text=cost.next_invoice_text,
        lines=[
            InvoiceLine(kind=line.kind, description=line.description, amount=line.amount, text=line.text)
            for line in cost.lines
        ],
        next_invoice_at=cost.next_invoice_at,
    )


HANDLERS = (change_subscription, keep_plan)
