"""Subscription schedules and their phases."""

from __future__ import annotations

from gateway.sandbox.records import InvoiceWords, Json
from gateway.sandbox.schedule_records import Phase, PhaseItem, Schedule, Settings
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
        "default_settings": {"billing_cycle_anchor": "automatic", **_settings(schedule.defaults)},
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
        "billing_cycle_anchor": None,
        "currency": schedule.currency,
        "default_tax_rates": [],
        "discounts": [{"coupon": None, "discount": one, "promotion_code": None} for one in phase.discounts],
        "end_date": phase.ends_at,
        "items": [_item(world, item) for item in phase.items],
        "metadata": dict(phase.metadata),
        "proration_behavior": phase.proration_behavior,
        "start_date": phase.starts_at,
        "trial_end": phase.trial_ends_at,
        **_settings(phase.settings),
    }


def _settings(settings: Settings) -> Json:
    """What a phase and the schedule have alike."""
    words, days = settings.invoice_words, settings.days_until_due
    return {
        "application_fee_percent": None,
        "automatic_tax": None if settings.automatic_tax is None else _automatic_tax(is_on=settings.automatic_tax),
        "billing_thresholds": None,
        "collection_method": settings.collection_method,
        "default_payment_method": settings.payment_method_id,
        "description": settings.description,
        "invoice_settings": None
        if words is None and days is None
        else _invoice_settings(words or InvoiceWords(), days),
        "on_behalf_of": None,
        "transfer_data": None,
    }


def _automatic_tax(*, is_on: bool) -> Json:
    return {"disabled_reason": None, "enabled": is_on, "liability": {"type": "self"} if is_on else None}


def _invoice_settings(words: InvoiceWords, days_until_due: int | None) -> Json:
    return {
        "account_tax_ids": None,
        "custom_fields": None,
        "days_until_due": days_until_due,
        "description": words.description,
        "footer": words.footer,
        "issuer": {"type": "self"},
    }


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
