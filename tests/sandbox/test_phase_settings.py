"""How a scheduled subscription is paid and taxed: a copy of the day it was taken over, set again with each phase."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.stripe_sdk.objects import faults_of

pytestmark = pytest.mark.slow

ENTERPRISE, MONTHLY = "price_enterprise_monthly", "price_pro_monthly"


async def new_card(sandbox: Any, customer_id: str, name: str = "pm_card_mastercard") -> str:
    return str((await sandbox.v1.payment_methods.attach_async(name, {"customer": customer_id})).id)


async def taken_over(sandbox: Any) -> tuple[Any, Any]:
    """A subscription with a card of its own, and words on its invoices."""
    subscription = await sandbox.subscribe(price=ENTERPRISE)
    card = await new_card(sandbox, subscription.customer, "pm_card_visa")
    words: Any = {"default_payment_method": card, "invoice_settings": {"footer": "thanks"}}
    subscription = await sandbox.v1.subscriptions.update_async(subscription.id, words)
    schedule = await sandbox.v1.subscription_schedules.create_async(
        {"from_subscription": subscription.id, "expand": ["subscription"]}
    )
    return subscription, schedule


async def downgrade(sandbox: Any, schedule: Any, said: Any = None, **fields: Any) -> Any:
    """With what a second phase says."""
    [current] = schedule.phases
    first = {"items": [{"price": ENTERPRISE}], "start_date": current.start_date, "end_date": current.end_date}
    second = {"items": [{"price": MONTHLY}], "proration_behavior": "none", **(said or {})}
    wanted = {"end_behavior": "release", "phases": [first, second], **fields}
    return await sandbox.v1.subscription_schedules.update_async(schedule.id, wanted)


async def test_a_schedule_copies_how_its_subscription_is_paid_and_taxed(sandbox: Any) -> None:
    subscription, schedule = await taken_over(sandbox)
    has = schedule.default_settings
    assert (has.default_payment_method, has.collection_method) == (
        subscription.default_payment_method,
        "charge_automatically",
    )
    assert (has.automatic_tax.enabled, has.invoice_settings.footer) == (False, "thanks")
    assert (schedule.phases[0].default_payment_method, schedule.phases[0].invoice_settings) == (None, None)
    assert schedule.subscription.id == subscription.id
    shown = await sandbox.v1.subscription_schedules.retrieve_async(schedule.id)
    assert faults_of(shown.to_dict()) == []


async def test_the_copy_comes_back_with_the_next_phase_whatever_was_changed_meanwhile(sandbox: Any) -> None:
    subscription, schedule = await taken_over(sandbox)
    planned = await downgrade(sandbox, schedule)
    new = await new_card(sandbox, subscription.customer)
    change: Any = {"default_payment_method": new, "invoice_settings": {"footer": "bye", "description": "for you"}}
    change |= {"automatic_tax": {"enabled": True}}
    changed = await sandbox.v1.subscriptions.update_async(subscription.id, change)
    assert (changed.default_payment_method, changed.automatic_tax.enabled) == (new, True)
    await sandbox.advance_to(planned.phases[0].end_date + 2 * 3600)
    renewed = await sandbox.v1.subscriptions.retrieve_async(subscription.id, {"expand": ["latest_invoice"]})
    assert (renewed.default_payment_method, renewed.automatic_tax.enabled) == (
        subscription.default_payment_method,
        False,
    )
    assert (renewed.latest_invoice.footer, renewed.latest_invoice.description) == ("thanks", None)


async def test_what_a_phase_says_goes_before_the_copy(sandbox: Any) -> None:
    subscription, schedule = await taken_over(sandbox)
    new = await new_card(sandbox, subscription.customer)
    said = {"default_payment_method": new, "invoice_settings": {"footer": "bye"}, "automatic_tax": {"enabled": True}}
    planned = await downgrade(sandbox, schedule, said)
    assert faults_of(planned.to_dict()) == []
    assert (await sandbox.subscription(subscription.id)).default_payment_method == subscription.default_payment_method
    await sandbox.advance_to(planned.phases[0].end_date + 60)
    renewed = await sandbox.subscription(subscription.id)
    assert (renewed.default_payment_method, renewed.automatic_tax.enabled) == (new, True)
    assert renewed.invoice_settings.footer == "bye"


async def test_where_neither_says_it_the_customers_own_holds(sandbox: Any) -> None:
    subscription = await sandbox.subscribe(price=ENTERPRISE)
    other = await sandbox.customer()
    card = await new_card(sandbox, other.id)
    default: Any = {"invoice_settings": {"default_payment_method": card}}
    await sandbox.v1.customers.update_async(other.id, default)
    subscription = await sandbox.v1.subscriptions.create_async({"customer": other.id, "items": [{"price": ENTERPRISE}]})
    schedule = await sandbox.v1.subscription_schedules.create_async({"from_subscription": subscription.id})
    await sandbox.v1.subscriptions.update_async(subscription.id, {"default_payment_method": card})
    planned = await downgrade(sandbox, schedule)
    assert planned.default_settings.default_payment_method is None
    assert (await sandbox.subscription(subscription.id)).default_payment_method is None


async def test_a_schedule_can_be_told_another_card_for_all_its_phases(sandbox: Any) -> None:
    subscription, schedule = await taken_over(sandbox)
    new = await new_card(sandbox, subscription.customer)
    planned = await downgrade(sandbox, schedule, default_settings={"default_payment_method": new})
    assert planned.default_settings.default_payment_method == new
    assert planned.default_settings.invoice_settings.footer == "thanks"
    assert (await sandbox.subscription(subscription.id)).default_payment_method == new


async def test_how_long_there_is_to_pay_what_is_sent_by_mail_is_copied_and_may_differ_by_phase(sandbox: Any) -> None:
    subscription = await sandbox.subscribe(price=ENTERPRISE)
    by_mail: Any = {"collection_method": "send_invoice", "days_until_due": 30}
    await sandbox.v1.subscriptions.update_async(subscription.id, by_mail)
    schedule = await sandbox.v1.subscription_schedules.create_async({"from_subscription": subscription.id})
    has = schedule.default_settings
    assert (has.collection_method, has.invoice_settings.days_until_due) == ("send_invoice", 30)
    planned = await downgrade(sandbox, schedule, {"invoice_settings": {"days_until_due": 9}})
    assert faults_of(planned.to_dict()) == []
    await sandbox.advance_to(planned.phases[0].end_date + 60)
    renewed = await sandbox.subscription(subscription.id)
    assert (renewed.collection_method, renewed.days_until_due) == ("send_invoice", 9)


async def test_a_phase_that_is_sent_by_mail_has_to_say_how_long_there_is_to_pay(sandbox: Any) -> None:
    _, schedule = await taken_over(sandbox)
    with pytest.raises(stripe.InvalidRequestError, match="days_until_due"):
        await downgrade(sandbox, schedule, {"collection_method": "send_invoice"})
    defaults: Any = {"default_settings": {"collection_method": "send_invoice"}}
    with pytest.raises(stripe.InvalidRequestError, match="days_until_due"):
        await sandbox.v1.subscription_schedules.update_async(schedule.id, defaults)
