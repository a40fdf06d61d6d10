"""A phase of a subscription schedule, said again in the words of a request.

Whoever plans a schedule sends its current phase along, and Stripe takes from the subscription what is left out: the
seller's tax rates, a discount of one item, who is sent the invoice. So everything that a phase can be told is said as
it is. Left out are what other words say (`trial`, `currency`, `plan`, `price_data`, `duration`) and
`add_invoice_items`, which were billed as the phase began.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from gateway.billing.reading import id_of

if TYPE_CHECKING:
    import stripe
    from stripe.params import (
        SubscriptionScheduleUpdateParamsPhase,
        SubscriptionScheduleUpdateParamsPhaseItem,
    )

_OF_ITS_TIME = frozenset(
    {"billing_cycle_anchor", "end_date", "metadata", "proration_behavior", "start_date", "trial_end"}
)
"""What is said of one phase and not of the one behind it."""


def echo_phase(phase: stripe.SubscriptionSchedule.Phase) -> SubscriptionScheduleUpdateParamsPhase:
    """The phase as it is."""
    said = {
        "application_fee_percent": phase.application_fee_percent,
        "automatic_tax": _automatic_tax(phase.automatic_tax),
        "billing_cycle_anchor": phase.billing_cycle_anchor,
        "billing_thresholds": _plain(phase.billing_thresholds),
        "collection_method": phase.collection_method,
        "default_payment_method": id_of(phase.default_payment_method),
        "default_tax_rates": [id_of(rate) for rate in phase.default_tax_rates or ()],
        "description": phase.description,
        "discounts": [_discount(one) for one in phase.discounts],
        "end_date": phase.end_date,
        "invoice_settings": _invoice_settings(phase.invoice_settings),
        "items": [_echo_item(item) for item in phase.items],
        "metadata": _plain(phase.metadata),
        "on_behalf_of": id_of(phase.on_behalf_of),
        "proration_behavior": phase.proration_behavior,
        "start_date": phase.start_date,
        "transfer_data": _transfer(phase.transfer_data),
        "trial_end": phase.trial_end,
    }
    return cast("SubscriptionScheduleUpdateParamsPhase", _given(said))


def like_phase(phase: SubscriptionScheduleUpdateParamsPhase) -> SubscriptionScheduleUpdateParamsPhase:
    """What holds of a phase and goes on to hold behind it."""
    lasting = {name: value for name, value in phase.items() if name not in _OF_ITS_TIME}
    return cast("SubscriptionScheduleUpdateParamsPhase", lasting)


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


def _automatic_tax(value: stripe.SubscriptionSchedule.Phase.AutomaticTax | None) -> dict[str, Any]:
    return {} if value is None else _given({"enabled": value.enabled, "liability": _party(value.liability)})


def _transfer(value: stripe.SubscriptionSchedule.Phase.TransferData | None) -> dict[str, Any]:
    if value is None:
        return {}
    return _given({"amount_percent": value.amount_percent, "destination": id_of(value.destination)})


def _invoice_settings(value: stripe.SubscriptionSchedule.Phase.InvoiceSettings | None) -> dict[str, Any]:
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
