"""Subscriptions and their items."""

from __future__ import annotations

from gateway.sandbox.records import Item, Json, Subscription
from gateway.sandbox.shapes.catalog import plan_shape, price_shape
from gateway.sandbox.shapes.lists import list_shape
from gateway.sandbox.world import World


def item_shape(world: World, subscription_id: str, item: Item) -> Json:
    """`subscription_item`, with its price in full. The billing period lives here; a metered one has no quantity."""
    price = world.price(item.price_id)
    quantity = {"quantity": item.quantity} if price.meter_id is None else {}
    return {
        "id": item.id,
        "object": "subscription_item",
        "billed_until": item.period_ends_at,
        "billing_thresholds": None,
        "created": item.created,
        "current_period_end": item.period_ends_at,
        "current_period_start": item.period_starts_at,
        "discounts": [],
        "metadata": dict(item.metadata),
        "plan": plan_shape(price),
        "price": price_shape(price),
        **quantity,
        "subscription": subscription_id,
        "tax_rates": [],
    }


def subscription_shape(world: World, subscription: Subscription) -> Json:
    """`subscription`."""
    items = [item_shape(world, subscription.id, item) for item in subscription.items]
    url = f"/v1/subscription_items?subscription={subscription.id}"
    return {
        "id": subscription.id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": subscription.automatic_tax,
            "liability": {"type": "self"} if subscription.automatic_tax else None,
        },
        "billing_cycle_anchor": subscription.anchor,
        "billing_cycle_anchor_config": None,
        "billing_mode": {
            "flexible": {"proration_discounts": "included"},
            "type": "flexible",
            "updated_at": subscription.created,
        },
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": subscription.cancel_at,
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "canceled_at": subscription.canceled_at,
        "cancellation_details": {
            "comment": subscription.cancel_comment,
            "feedback": subscription.cancel_feedback,
            "feedback_option": None,
            "reason": subscription.cancel_reason,
        },
        "collection_method": "charge_automatically" if subscription.days_until_due is None else "send_invoice",
        "created": subscription.created,
        "currency": subscription.currency,
        "customer": subscription.customer_id,
        "customer_account": None,
        "days_until_due": subscription.days_until_due,
        "default_payment_method": subscription.default_payment_method_id,
        "default_source": None,
        "default_tax_rates": [],
        "description": subscription.description,
        "discounts": [one.id for one in subscription.discounts if one.ends_at is None or world.now < one.ends_at],
        "ended_at": subscription.ended_at,
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": subscription.invoice_words.description,
            "footer": subscription.invoice_words.footer,
            "issuer": {"type": "self"},
        },
        "items": list_shape(items, url) | {"total_count": len(items)},
        "latest_invoice": subscription.latest_invoice_id,
        "livemode": False,
        "managed_payments": {"enabled": False},
        "metadata": dict(subscription.metadata),
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": _pause(subscription),
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": _pending_update(world, subscription),
        "schedule": subscription.schedule_id,
        "start_date": subscription.created,
        "status": subscription.status,
        "test_clock": world.tables.customers[subscription.customer_id].test_clock_id,
        "transfer_data": None,
        "trial_end": subscription.trial_ends_at,
        "trial_settings": {"end_behavior": {"missing_payment_method": subscription.trial_without_method}},
        "trial_start": subscription.trial_starts_at,
    }


def _pause(subscription: Subscription) -> Json | None:
    if subscription.pause_behavior is None:
        return None
    return {"behavior": subscription.pause_behavior, "resumes_at": subscription.pause_resumes_at}


def _pending_update(world: World, subscription: Subscription) -> Json | None:
    pending = subscription.pending_update
    if pending is None:
        return None
    return {
        "billing_cycle_anchor": pending.anchor if pending.anchor != subscription.anchor else None,
        "expires_at": pending.expires_at,
        "metadata": dict(pending.metadata) or None,
        "subscription_items": [item_shape(world, subscription.id, item) for item in pending.items],
        "trial_end": pending.anchor if pending.ends_trial else None,
        "trial_from_plan": None,
    }
