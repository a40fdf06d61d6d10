"""A phase of a subscription schedule, said again in the words of a request.

Whoever plans a schedule sends its current phase along, and what is left out is not taken from the subscription: it is
as the schedule has it for all phases (`default_settings`), or else gone: the seller's tax rates, a discount of one
item. So a phase says what it has, but for

    the payment method                never: it is the schedule's, and the newest there
    what the schedule has alike       how and when it is paid for, what its invoices say
    automatic tax that is off         it may be on by then

and for what other words say (`trial`, `currency`, `plan`, `price_data`, `duration`) and `add_invoice_items`, which
were billed as the phase began.

Source: https://docs.stripe.com/billing/subscriptions/subscription-schedules ("Phase attribute inheritance")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from gateway.billing.reading import id_of

if TYPE_CHECKING:
    import stripe
    from stripe.params import (
        SubscriptionScheduleUpdateParamsDefaultSettings,
        SubscriptionScheduleUpdateParamsPhase,
        SubscriptionScheduleUpdateParamsPhaseItem,
    )

_OF_ITS_TIME = frozenset(
    {"billing_cycle_anchor", "end_date", "metadata", "proration_behavior", "start_date", "trial_end"}
)
"""What is said of one phase and not of the one behind it."""
_INHERITED = ("billing_thresholds", "collection_method", "invoice_settings")
"""What Stripe documents that a phase takes from the schedule, beside the payment method."""


def echo_phase(
    phase: stripe.SubscriptionSchedule.Phase, defaults: stripe.SubscriptionSchedule.DefaultSettings
) -> SubscriptionScheduleUpdateParamsPhase:
    """The phase as it is, but for what it has of the schedule.

    Args:
        phase: The phase.
        defaults: What its schedule has for all phases.
    """
    alike = _settings(defaults)
    said = {
        **{name: value for name, value in _settings(phase).items() if name not in _INHERITED or value != alike[name]},
        "billing_cycle_anchor": phase.billing_cycle_anchor,
        "default_tax_rates": [id_of(rate) for rate in phase.default_tax_rates or ()],
        "discounts": [_discount(one) for one in phase.discounts],
        "end_date": phase.end_date,
        "items": [_echo_item(item) for item in phase.items],
        "metadata": _plain(phase.metadata),
        "proration_behavior": phase.proration_behavior,
        "start_date": phase.start_date,
        "trial_end": phase.trial_end,
    }
    return cast("SubscriptionScheduleUpdateParamsPhase", _given(said))


def echo_defaults(
    defaults: stripe.SubscriptionSchedule.DefaultSettings, payment_method_id: str
) -> SubscriptionScheduleUpdateParamsDefaultSettings:
    """What a schedule has for all phases, as it is, with another payment method."""
    said = {**_settings(defaults), "billing_cycle_anchor": defaults.billing_cycle_anchor}
    said["default_payment_method"] = payment_method_id
    return cast("SubscriptionScheduleUpdateParamsDefaultSettings", _given(said))


def like_phase(phase: SubscriptionScheduleUpdateParamsPhase) -> SubscriptionScheduleUpdateParamsPhase:
    """What holds of a phase and goes on to hold behind it."""
    lasting = {name: value for name, value in phase.items() if name not in _OF_ITS_TIME}
    return cast("SubscriptionScheduleUpdateParamsPhase", lasting)


def behind(
    first: SubscriptionScheduleUpdateParamsPhase,
    planned: stripe.SubscriptionSchedule.Phase,
    defaults: stripe.SubscriptionSchedule.DefaultSettings,
) -> SubscriptionScheduleUpdateParamsPhase:
    """A phase that was planned, behind another one than it was planned for.

    What it sells is as it was planned, and when; the rest is as in the first, item by item too.

    Args:
        first: The current phase.
        planned: As it was planned, with `defaults` of its schedule.
        defaults: See there.
    """
    said = echo_phase(planned, defaults)
    of_its_time = {name: value for name, value in said.items() if name in _OF_ITS_TIME}
    there = {item["price"]: item for item in first["items"]}
    items = [_sold_as(there[item["price"]], item) if item["price"] in there else item for item in said["items"]]
    return cast("SubscriptionScheduleUpdateParamsPhase", {**like_phase(first), **of_its_time, "items": items})


def _sold_as(
    item: SubscriptionScheduleUpdateParamsPhaseItem, planned: SubscriptionScheduleUpdateParamsPhaseItem
) -> SubscriptionScheduleUpdateParamsPhaseItem:
    return {**item, "quantity": planned["quantity"]} if "quantity" in planned else item


def _settings(
    has: stripe.SubscriptionSchedule.Phase | stripe.SubscriptionSchedule.DefaultSettings,
) -> dict[str, Any]:
    """What a phase and its schedule have alike, but for the payment method."""
    tax = _automatic_tax(has.automatic_tax)
    return {
        "application_fee_percent": has.application_fee_percent,
        "automatic_tax": tax if tax.get("enabled") else {},
        "billing_thresholds": _plain(has.billing_thresholds),
        "collection_method": has.collection_method,
        "description": has.description,
        "invoice_settings": _invoice_settings(has.invoice_settings),
        "on_behalf_of": id_of(has.on_behalf_of),
        "transfer_data": _transfer(has.transfer_data),
    }


def _echo_item(item: stripe.SubscriptionSchedule.Phase.Item) -> SubscriptionScheduleUpdateParamsPhaseItem:
    said = {
        "billing_thresholds": _plain(item.billing_thresholds),
        "discounts": [_discount(one) for one in item.discounts],
        "metadata": _plain(item.metadata),
        "price": id_of(item.price),
        "quantity": item.quantity if "quantity" in item else None,
        "tax_rates": [id_of(rate) for rate in item.tax_rates or ()],
    }
    return cast("SubscriptionScheduleUpdateParamsPhaseItem", _given(said))


def _given(said: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not set: a request that says nothing there asks for nothing."""
    return {name: value for name, value in said.items() if value not in (None, "", [], {})}


def _plain(value: stripe.StripeObject | None) -> dict[str, Any]:
    return {} if value is None else _given(value.to_dict())


def _party(value: Any) -> dict[str, Any]:
    """Who is liable for the tax, or issues the invoice."""
    return {} if value is None else _given({"type": value.type, "account": _id_within(value, "account")})


def _automatic_tax(value: Any) -> dict[str, Any]:
    return {} if value is None else _given({"enabled": value.enabled, "liability": _party(value.liability)})


def _transfer(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    return _given({"amount_percent": value.amount_percent, "destination": id_of(value.destination)})


def _invoice_settings(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    return _given(
        {
            "account_tax_ids": [id_of(one) for one in value.account_tax_ids or ()],
            "custom_fields": [{"name": one.name, "value": one.value} for one in value.custom_fields or ()],
            "days_until_due": value.days_until_due,
            "description": value.description,
            "footer": value.footer,
            "issuer": _party(value.issuer),
        }
    )


def _discount(
    value: stripe.SubscriptionSchedule.Phase.Discount | stripe.SubscriptionSchedule.Phase.Item.Discount,
) -> dict[str, Any]:
    """The discount that there is, or else what makes one."""
    if value.discount is not None:
        return {"discount": id_of(value.discount)}
    if value.coupon is not None:
        return {"coupon": id_of(value.coupon)}
    return {"promotion_code": id_of(value.promotion_code)}


def _id_within(value: stripe.StripeObject, name: str) -> str | None:
    return id_of(value[name]) if name in value else None
