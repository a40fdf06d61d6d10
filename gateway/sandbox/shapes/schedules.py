"""Subscription schedules and their phases."""

from __future__ import annotations

from gateway.sandbox.records import Json
from gateway.sandbox.schedule_records import Phase, PhaseItem, Schedule
from gateway.sandbox.world import World


def schedule_shape(world: World, schedule: Schedule) -> Json:
    """`subscription_schedule`."""
    current = schedule.phase_at(world.now) if schedule.is_running else None
    return {
        "id": schedule.id,
        "object": "subscription_schedule",
        "application": None,
        "billing_mode": {
            "flexible": {"proration_discounts": "included"},
            "type": "flexible",
            "updated_at": schedule.created,
        },
        "canceled_at": schedule.canceled_at,
        "completed_at": schedule.completed_at,
        "created": schedule.created,
        "current_phase": None if current is None else {"end_date": current.ends_at, "start_date": current.starts_at},
        "customer": schedule.customer_id,
        "customer_account": None,
        "default_settings": {
            "application_fee_percent": None,
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
            "billing_cycle_anchor": "automatic",
            "billing_thresholds": None,
            "collection_method": "charge_automatically",
            "default_payment_method": None,
            "description": None,
            "invoice_settings": {
                "account_tax_ids": None,
                "custom_fields": None,
                "days_until_due": None,
                "description": None,
                "footer": None,
                "issuer": {"type": "self"},
            },
            "on_behalf_of": None,
            "transfer_data": None,
        },
        "end_behavior": schedule.end_behavior,
        "livemode": False,
        "metadata": dict(schedule.metadata),
        "pause_schedules": [],
        "phases": [_phase(world, schedule, phase) for phase in schedule.phases],
        "released_at": schedule.released_at,
        "released_subscription": schedule.released_subscription_id,
        "status": schedule.status,
        "subscription": schedule.subscription_id,
        "test_clock": None,
    }


def _phase(world: World, schedule: Schedule, phase: Phase) -> Json:
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "automatic_tax": _automatic_tax(phase),
        "billing_cycle_anchor": None,
        "billing_thresholds": None,
        "collection_method": None,
        "currency": schedule.currency,
        "default_payment_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [{"coupon": None, "discount": one, "promotion_code": None} for one in phase.discounts],
        "end_date": phase.ends_at,
        "invoice_settings": None,
        "items": [_item(world, item) for item in phase.items],
        "metadata": dict(phase.metadata),
        "on_behalf_of": None,
        "proration_behavior": phase.proration_behavior,
        "start_date": phase.starts_at,
        "transfer_data": None,
        "trial_end": phase.trial_ends_at,
    }


def _automatic_tax(phase: Phase) -> Json | None:
    if phase.automatic_tax is None:
        return None
    liability = {"type": "self"} if phase.automatic_tax else None
    return {"disabled_reason": None, "enabled": phase.automatic_tax, "liability": liability}


def _item(world: World, item: PhaseItem) -> Json:
    quantity = {"quantity": item.quantity} if world.price(item.price_id).meter_id is None else {}
    return {
        "billing_thresholds": None,
        "discounts": [],
        "metadata": dict(item.metadata),
        "plan": item.price_id,
        "price": item.price_id,
        **quantity,
        "tax_rates": [],
    }
