"""A phase of a schedule is said again whole: nothing that a seller set is lost as a change is planned."""

from __future__ import annotations

import json
from typing import Any

import pytest
import stripe
from stripe import params

from gateway.billing.phases import echo_phase, like_phase

SAID_OTHERWISE = {"add_invoice_items", "currency", "duration", "trial"}
SAID_OTHERWISE_OF_ITEMS = {"plan", "price_data"}
WHOLE: dict[str, Any] = {
    "application_fee_percent": 2.5,
    "automatic_tax": {"enabled": True, "liability": {"type": "account", "account": "acct_1"}},
    "billing_cycle_anchor": "phase_start",
    "billing_thresholds": {"amount_gte": 500, "reset_billing_cycle_anchor": False},
    "collection_method": "send_invoice",
    "default_payment_method": "pm_1",
    "default_tax_rates": ["txr_1"],
    "description": "as agreed",
    "discounts": [{"discount": "di_1"}, {"coupon": "co_1"}, {"promotion_code": "promo_1"}],
    "end_date": 200,
    "invoice_settings": {
        "account_tax_ids": ["atxi_1"],
        "custom_fields": [{"name": "order", "value": "7"}],
        "days_until_due": 14,
        "description": "for you",
        "footer": "thanks",
        "issuer": {"type": "account", "account": "acct_1"},
    },
    "items": [
        {
            "billing_thresholds": {"usage_gte": 9},
            "discounts": [{"discount": "di_2"}],
            "metadata": {"made": "by hand"},
            "price": "price_1",
            "quantity": 3,
            "tax_rates": ["txr_2"],
        },
        {"price": "price_metered"},
    ],
    "metadata": {"note": "a"},
    "on_behalf_of": "acct_1",
    "proration_behavior": "none",
    "start_date": 100,
    "transfer_data": {"amount_percent": 10.0, "destination": "acct_2"},
    "trial_end": 150,
}


def answered() -> dict[str, Any]:
    """The same as Stripe answers it: ids of tax rates are objects there, and what is not set is null."""
    phase = json.loads(json.dumps(WHOLE))
    phase["default_tax_rates"] = [{"id": "txr_1", "object": "tax_rate"}]
    phase["automatic_tax"]["disabled_reason"] = None
    for one in phase["discounts"]:
        one.update({name: one.get(name) for name in ("coupon", "discount", "promotion_code")})
    first, second = phase["items"]
    first["discounts"] = [{"coupon": None, "discount": {"id": "di_2", "object": "discount"}, "promotion_code": None}]
    first["tax_rates"] = [{"id": "txr_2", "object": "tax_rate"}]
    second |= {"billing_thresholds": None, "discounts": [], "metadata": {}, "tax_rates": None}
    return phase | {"add_invoice_items": [], "currency": "usd"}


def read(phase: dict[str, Any]) -> Any:
    return stripe.SubscriptionSchedule.construct_from({"id": "sub_sched_1", "phases": [phase]}, None).phases[0]


def test_every_field_that_a_phase_can_be_told_is_said_again() -> None:
    assert echo_phase(read(answered())) == WHOLE


def test_the_sdk_knows_no_field_of_a_phase_that_is_not_thought_of() -> None:
    known = set(params.SubscriptionScheduleUpdateParamsPhase.__annotations__)
    assert known - SAID_OTHERWISE == set(WHOLE)
    of_items = set(params.SubscriptionScheduleUpdateParamsPhaseItem.__annotations__)
    assert of_items - SAID_OTHERWISE_OF_ITEMS == set(WHOLE["items"][0])
    of_invoices = params.SubscriptionScheduleUpdateParamsPhaseInvoiceSettings.__annotations__
    assert set(of_invoices) == set(WHOLE["invoice_settings"])


def test_what_is_not_set_is_not_said() -> None:
    nothing = dict.fromkeys(set(WHOLE) - {"items", "start_date", "end_date", "discounts"})
    bare = {**answered(), **nothing, "discounts": [], "items": []}
    assert echo_phase(read(bare)) == {"start_date": 100, "end_date": 200}


@pytest.mark.parametrize("name", ["default_tax_rates", "invoice_settings", "items", "discounts", "automatic_tax"])
def test_the_phase_behind_goes_on_with_it(name: str) -> None:
    assert like_phase(echo_phase(read(answered())))[name] == WHOLE[name]  # type: ignore[literal-required]


def test_the_phase_behind_has_no_dates_and_no_trial_of_the_one_before() -> None:
    behind = like_phase(echo_phase(read(answered())))
    assert {"start_date", "end_date", "trial_end", "metadata", "billing_cycle_anchor"}.isdisjoint(behind)
