"""/v1/subscriptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.sandbox.api.collection import COLLECTION, read_days, refuse_waiting
from gateway.sandbox.api.discount_params import DISCOUNTS, read_discount
from gateway.sandbox.api.endpoint import Call, Endpoint
from gateway.sandbox.api.phase_settings import SETTINGS, own_method, read_words
from gateway.sandbox.api.trial_settings import TRIAL_SETTINGS, trial_without_method
from gateway.sandbox.engine.agenda import ENDED
from gateway.sandbox.engine.changes import Change, ItemChange, apply_change
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import change_subscription
from gateway.sandbox.engine.schedules import follow
from gateway.sandbox.engine.standing import with_waiting_labels
from gateway.sandbox.engine.subscriptions import Start, cancel, schedule_end, start, unschedule_end
from gateway.sandbox.engine.trials import resume
from gateway.sandbox.records import Json, Subscription
from gateway.sandbox.shapes.subscriptions import subscription_shape
from gateway.sandbox.wire.paging import CREATED, PAGE, page
from gateway.sandbox.wire.params import Each, Flag, Labels, Shape, Spec, Text, Whole, merge_labels
from gateway.sandbox.wire.problems import missing
from gateway.sandbox.world import World

STATUSES = (
    "active",
    "canceled",
    "incomplete",
    "incomplete_expired",
    "past_due",
    "paused",
    "trialing",
    "unpaid",
)
_BEHAVIORS = ("allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete")
PRORATION = Text(choices=("create_prorations", "always_invoice", "none"))
ITEM: Spec = {
    "id": Text(),
    "price": Text(),
    "quantity": Whole(),
    "deleted": Flag(),
    "metadata": Labels(),
}
ANCHOR = Shape(fields={"type": Text(required=True, choices=("now", "unchanged"))})
_DETAILS: Spec = {"comment": Text(clearable=True), "feedback": Text(clearable=True)}
_UPDATE: Spec = {
    "items": Each(fields=ITEM),
    "proration_behavior": PRORATION,
    "proration_date": Whole(),
    "billing_cycle_anchor": ANCHOR,
    "trial_end": Text(choices=("now",)),
    "payment_behavior": Text(choices=_BEHAVIORS),
    "off_session": Flag(),
    "cancel_at_period_end": Flag(),
    "cancel_at": Whole(clearable=True, words=("min_period_end", "max_period_end")),
    "cancellation_details": Shape(fields=_DETAILS),
    **SETTINGS,
    **COLLECTION,
    "metadata": Labels(),
    "pause_collection": Shape(
        fields={
            "behavior": Text(required=True, choices=("keep_as_draft", "mark_uncollectible", "void")),
            "resumes_at": Whole(),
        },
        clearable=True,
    ),
}


def read_change(params: Mapping[str, Any]) -> Change:
    """The change of items that a request asks for."""
    items = tuple(
        ItemChange(
            item_id=item.get("id"),
            price_id=item.get("price"),
            quantity=item.get("quantity"),
            deleted=item.get("deleted", False),
            metadata=item.get("metadata"),
        )
        for item in params.get("items", ())
    )
    return Change(
        items=items,
        proration_behavior=params.get("proration_behavior", "create_prorations"),
        proration_date=params.get("proration_date"),
        anchor_now=params.get("billing_cycle_anchor", {}).get("type") == "now",
        end_trial="trial_end" in params,
        payment_behavior=params.get("payment_behavior", "allow_incomplete"),
    )


def _create(call: Call) -> Json:
    world, params = call.world, call.params
    customer = world.customer(params["customer"])
    prices = []
    for at, item in enumerate(params["items"]):
        if "price" not in item:
            raise missing(f"items[{at}][price]")
        if "quantity" in item and world.price(item["price"]).meter_id is not None:
            message = "You cannot set the quantity for metered plans. Instead, you should report usage to its meter."
            raise Refused(message, param=f"items[{at}][quantity]")
        prices.append((item["price"], item.get("quantity", 1)))
    coupon_id, code_id = read_discount(world, params, "The sandbox takes one discount of a subscription.")
    subscription = start(
        world,
        Start(
            customer_id=customer.id,
            prices=prices,
            payment_method_id=params.get("default_payment_method"),
            payment_behavior=params.get("payment_behavior", "allow_incomplete"),
            trial_days=params.get("trial_period_days", 0),
            trial_without_method=trial_without_method(params),
            description=params.get("description"),
            metadata=merge_labels({}, params),
            days_until_due=read_days(params),
            coupon_id=coupon_id,
            promotion_code_id=code_id,
        ),
    )
    return subscription_shape(world, subscription)


def _retrieve(call: Call) -> Json:
    return subscription_shape(call.world, call.world.subscription(call.id))


def _update(call: Call) -> Json:
    world, params = call.world, call.params
    subscription = world.subscription(call.id)
    if subscription.status in ENDED:
        message = "A canceled subscription can only update its cancellation_details and metadata."
        raise Refused(message)
    if params.get("payment_behavior") == "pending_if_incomplete":
        refuse_waiting(world, subscription)
    if params.get("items") or "billing_cycle_anchor" in params or "trial_end" in params:
        apply_change(world, subscription, read_change(params))
        follow(world, world.subscription(call.id))
    current = world.subscription(call.id)
    if params.get("payment_behavior") == "pending_if_incomplete" and current.pending_update is not None:
        current = with_waiting_labels(current, params.get("metadata"))
        params = {name: value for name, value in params.items() if name != "metadata"}
    current = _with_fields(world, current, params)
    current = _with_end(world, current, params)
    change_subscription(world, current)
    return subscription_shape(world, current)


def _with_fields(world: World, subscription: Subscription, params: Mapping[str, Any]) -> Subscription:
    method_id = subscription.default_payment_method_id
    if "default_payment_method" in params:
        method_id = own_method(world, subscription.customer_id, params["default_payment_method"])
    changed = replace(
        subscription,
        default_payment_method_id=method_id,
        automatic_tax=params.get("automatic_tax", {}).get("enabled", subscription.automatic_tax),
        description=params.get("description", subscription.description),
        days_until_due=read_days(params, subscription.days_until_due),
        invoice_words=read_words(params, subscription.invoice_words),
        metadata=merge_labels(subscription.metadata, params),
    )
    if "pause_collection" in params:
        pause = params["pause_collection"] or {}
        changed = replace(changed, pause_behavior=pause.get("behavior"), pause_resumes_at=pause.get("resumes_at"))
    return changed


def _with_end(world: World, subscription: Subscription, params: Mapping[str, Any]) -> Subscription:
    if subscription.schedule_id is not None and ("cancel_at" in params or "cancel_at_period_end" in params):
        raise Refused(
            f"The subscription is managed by the subscription schedule `{subscription.schedule_id}`, and updating any "
            "cancelation behavior directly is not allowed. Please update the schedule instead."
        )
    if "cancel_at" in params and params.get("cancel_at_period_end"):
        raise Refused("You may only specify one of these parameters: cancel_at, cancel_at_period_end.")
    ends = [item.period_ends_at for item in subscription.items]
    if params.get("cancel_at_period_end"):
        subscription = schedule_end(world, subscription, min(ends), at_period_end=True)
    elif "cancel_at_period_end" in params or ("cancel_at" in params and params["cancel_at"] is None):
        subscription = unschedule_end(subscription)
    if params.get("cancel_at") is not None:
        words = {"min_period_end": min(ends), "max_period_end": max(ends)}
        at = words.get(params["cancel_at"], params["cancel_at"])
        if at <= world.now:
            raise Refused("`cancel_at` must be in the future.", param="cancel_at")
        subscription = schedule_end(world, subscription, at, at_period_end=False)
    details = params.get("cancellation_details", {})
    return replace(
        subscription,
        cancel_comment=details.get("comment", subscription.cancel_comment),
        cancel_feedback=details.get("feedback", subscription.cancel_feedback),
    )


def _cancel(call: Call) -> Json:
    world, params = call.world, call.params
    subscription = world.subscription(call.id)
    if subscription.status in ENDED:
        raise Refused(f"No such subscription: '{call.id}'", param="id", code="resource_missing")
    details = params.get("cancellation_details", {})
    world.tables.subscriptions[call.id] = replace(
        subscription, cancel_comment=details.get("comment"), cancel_feedback=details.get("feedback")
    )
    ended = cancel(world, call.id, prorate=params.get("prorate", False), invoice_now=params.get("invoice_now", False))
    return subscription_shape(world, ended)


def _resume(call: Call) -> Json:
    return subscription_shape(call.world, resume(call.world, call.id))


def _list(call: Call) -> Json:
    world, params = call.world, call.params
    whose = call.whose
    found = [
        one
        for one in world.tables.subscriptions.values()
        if whose in {None, one.customer_id} and _matches(world, one, params)
    ]
    return page(found, params, "/v1/subscriptions", lambda one: subscription_shape(world, one))


def _matches(world: World, subscription: Subscription, params: Mapping[str, Any]) -> bool:
    status = params.get("status")
    by_status = {
        None: subscription.status not in ENDED,
        "all": True,
        "ended": subscription.status in ENDED,
    }.get(status, subscription.status == status)
    price = params.get("price")
    return (
        by_status
        and ("customer" in params or _clock(world, subscription) == params.get("test_clock"))
        and (price is None or price in {item.price_id for item in subscription.items})
    )


def _clock(world: World, subscription: Subscription) -> str | None:
    """Without a customer, a list shows what is on the clock it names: none, for real time."""
    return world.tables.customers[subscription.customer_id].test_clock_id


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/subscriptions",
        act=_create,
        spec={
            "customer": Text(required=True),
            "items": Each(fields={"price": Text(), "quantity": Whole(least=1)}, required=True),
            "default_payment_method": Text(),
            "payment_behavior": Text(choices=_BEHAVIORS[:3]),
            "trial_period_days": Whole(least=1, most=730),
            "trial_settings": TRIAL_SETTINGS,
            "discounts": DISCOUNTS,
            "description": Text(),
            "metadata": Labels(),
            "off_session": Flag(),
            **COLLECTION,
        },
    ),
    Endpoint(
        method="GET",
        path="/v1/subscriptions",
        act=_list,
        spec={
            "customer": Text(),
            "price": Text(),
            "status": Text(choices=(*STATUSES, "all", "ended")),
            "test_clock": Text(),
            **CREATED,
            **PAGE,
        },
    ),
    Endpoint(method="GET", path="/v1/subscriptions/{id}", act=_retrieve),
    Endpoint(method="POST", path="/v1/subscriptions/{id}", act=_update, spec=_UPDATE),
    Endpoint(
        method="POST",
        path="/v1/subscriptions/{id}/resume",
        act=_resume,
        spec={"billing_cycle_anchor": ANCHOR},
    ),
    Endpoint(
        method="DELETE",
        path="/v1/subscriptions/{id}",
        act=_cancel,
        spec={
            "prorate": Flag(),
            "invoice_now": Flag(),
            "cancellation_details": Shape(fields=_DETAILS),
        },
    ),
)
