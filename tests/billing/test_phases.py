"""A phase of a schedule is said again: nothing that a seller set is lost as a change is planned, and nothing comes back
that was replaced since."""

from __future__ import annotations

import json
from typing import Any

import pytest
import stripe
from stripe import params

from gateway.billing.phases import behind, echo_defaults, echo_phase, like_phase

SAID_OTHERWISE = {"add_invoice_items", "currency", "default_payment_method", "duration", "trial"}
SAID_OTHERWISE_OF_ITEMS = {"plan", "price_data"}
WHOLE: dict[str, Any] = {
    "application_fee_percent": 2.5,
    "automatic_tax": {"enabled": True, "liability": {"type": "account", "account": "acct_1"}},
    "billing_cycle_anchor": "phase_start",
    "billing_thresholds": {"amount_gte": 500, "reset_billing_cycle_anchor": False},
    "collection_method": "send_invoice",
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
    return phase | {"add_invoice_items": [], "currency": "usd", "default_payment_method": "pm_1"}


NOTHING = {
    "application_fee_percent": None,
    "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
    "billing_cycle_anchor": "automatic",
    "billing_thresholds": None,
    "collection_method": "charge_automatically",
    "default_payment_method": None,
    "description": None,
    "invoice_settings": {"account_tax_ids": None, "custom_fields": None, "days_until_due": None, "description": None}
    | {"footer": None, "issuer": {"type": "self"}},
    "on_behalf_of": None,
    "transfer_data": None,
}
"""What a schedule has for all phases of which nobody has set anything."""


def has(defaults: dict[str, Any]) -> Any:
    return stripe.SubscriptionSchedule.construct_from({"id": "sub_sched_1", "default_settings": defaults}, None)[
        "default_settings"
    ]


def read(phase: dict[str, Any]) -> Any:
    return stripe.SubscriptionSchedule.construct_from({"id": "sub_sched_1", "phases": [phase]}, None).phases[0]


def echo(phase: dict[str, Any], defaults: dict[str, Any] | None = None) -> Any:
    return echo_phase(read(phase), has(defaults or NOTHING))


def test_every_field_that_a_phase_can_be_told_is_said_again_but_for_the_card() -> None:
    assert echo(answered()) == WHOLE


@pytest.mark.parametrize("name", ["billing_thresholds", "collection_method", "invoice_settings"])
def test_what_the_schedule_has_alike_is_left_to_it(name: str) -> None:
    assert set(WHOLE) - set(echo(answered(), {**NOTHING, name: answered()[name]})) == {name}


def test_tax_that_is_off_is_not_said_for_it_may_be_on_by_then() -> None:
    off = {"disabled_reason": None, "enabled": False, "liability": None}
    assert "automatic_tax" not in echo({**answered(), "automatic_tax": off})


def test_a_schedule_without_the_card_of_its_subscription_is_told_it_and_keeps_the_rest() -> None:
    rest = {name: answered()[name] for name in NOTHING if name != "billing_cycle_anchor"}
    told = echo_defaults(has({**NOTHING, **rest, "default_payment_method": None}), "pm_2")
    assert told == {name: WHOLE[name] for name in rest if name in WHOLE} | {
        "billing_cycle_anchor": "automatic",
        "default_payment_method": "pm_2",
    }
    known = set(params.SubscriptionScheduleUpdateParamsDefaultSettings.__annotations__)
    assert known == set(told), "the SDK knows no other"


def test_what_is_planned_anew_sells_what_it_did_when_it_did_and_has_the_rest_of_now() -> None:
    now = echo({**answered(), "description": "by now", "default_tax_rates": [{"id": "txr_9", "object": "tax_rate"}]})
    item = {**answered()["items"][0], "price": "price_2", "quantity": 1}
    metered = answered()["items"][1]
    old = {**answered(), "start_date": 200, "end_date": 300, "trial_end": None, "items": [item, metered]}
    old |= {"proration_behavior": "none", "description": "as agreed", "metadata": {}, "billing_cycle_anchor": None}
    planned: Any = behind(now, read(old), has(NOTHING))
    assert planned["items"] == [{**WHOLE["items"][0], "price": "price_2", "quantity": 1}, {"price": "price_metered"}]
    assert (planned["start_date"], planned["end_date"]) == (200, 300)
    assert (planned["description"], planned["default_tax_rates"]) == ("by now", ["txr_9"])
    assert {"trial_end", "metadata", "billing_cycle_anchor"}.isdisjoint(planned)


def test_what_is_sold_on_keeps_how_it_is_taxed_by_now_in_the_number_that_was_planned() -> None:
    now = echo(answered())
    fewer = {**answered()["items"][0], "quantity": 2, "tax_rates": []}
    planned: Any = behind(now, read({**answered(), "items": [fewer]}), has(NOTHING))
    assert planned["items"] == [{**WHOLE["items"][0], "quantity": 2}]


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
    assert echo(bare) == {"start_date": 100, "end_date": 200}


@pytest.mark.parametrize("name", ["default_tax_rates", "invoice_settings", "items", "discounts", "automatic_tax"])
def test_the_phase_behind_goes_on_with_it(name: str) -> None:
    assert like_phase(echo(answered()))[name] == WHOLE[name]  # type: ignore[literal-required]


def test_the_phase_behind_has_no_dates_and_no_trial_of_the_one_before() -> None:
    lasting = like_phase(echo(answered()))
    assert {"start_date", "end_date", "trial_end", "metadata", "billing_cycle_anchor"}.isdisjoint(lasting)
