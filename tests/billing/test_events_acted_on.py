"""Which events of Stripe are acted on, by name, and what those do that the sandbox does not send.

Those that it does send, and that come rarely, are in `test_rare_events`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from stripe.events._event_classes import get_v2_event_class
from stripe.v2.core import Event

from gateway.billing import REASONS, SUBSCRIBED_TYPES, THIN_TYPES, Meaning, meaning_of
from gateway.core.access import decide_access
from gateway.ledger import Ledger
from gateway.sync import EventWorker, Sync
from tests.billing.conftest import CUS, NOW

Deliver = Callable[..., Awaitable[bool]]
NewWorker = Callable[..., EventWorker]

SYNCED = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.trial_will_end",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "invoice.marked_uncollectible",
    "invoice.voided",
    "invoice.finalization_failed",
    "entitlements.active_entitlement_summary.updated",
    "subscription_schedule.updated",
    "subscription_schedule.released",
    "subscription_schedule.canceled",
    "customer.deleted",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
)
OTHERS = {
    "charge.refunded": Meaning.REFUND,
    "refund.created": Meaning.PAYMENT,
    "refund.updated": Meaning.PAYMENT,
    "refund.failed": Meaning.PAYMENT,
    "price.created": Meaning.PRICES,
    "price.updated": Meaning.PRICES,
    "price.deleted": Meaning.PRICES,
    "product.updated": Meaning.PRICES,
}
TOLD_THINLY = ("v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found")
EXPECTED = dict.fromkeys(SYNCED, Meaning.SYNC) | OTHERS

INVOICE = {"object": "invoice", "id": "in_1", "customer": CUS}
SCHEDULE = {"object": "subscription_schedule", "id": "sub_sched_1", "customer": CUS}
PRICE = {"object": "price", "id": "price_pro_monthly"}


def test_what_is_acted_on_is_this_and_nothing_else() -> None:
    """A line that is lost there is an event that is never asked for, and nothing else would say so."""
    assert set(REASONS) == set(EXPECTED)
    assert set(SUBSCRIBED_TYPES) == set(EXPECTED), "an endpoint is subscribed to all of it"


@pytest.mark.parametrize(("event_type", "meaning"), EXPECTED.items())
def test_each_event_means_what_it_is_there_for(event_type: str, meaning: Meaning) -> None:
    assert (meaning_of(event_type), meaning_of(f"v1.{event_type}")) == (meaning, meaning)


@pytest.mark.parametrize("event_type", TOLD_THINLY)
def test_units_that_are_not_counted_are_an_alert(event_type: str) -> None:
    assert meaning_of(event_type) is Meaning.ALERT


async def had(ledger: Ledger, sync: Sync, customer: str) -> tuple[str | None, str]:
    """Tier and standing."""
    account = await ledger.load_account(customer)
    assert account is not None
    access = decide_access(account, sync.policy, NOW)
    return access.tier and access.tier.name, access.standing


@pytest.mark.parametrize(
    ("event_type", "case"),
    [
        ("invoice.marked_uncollectible", ("unpaid", "free", "lapsed")),
        ("invoice.marked_uncollectible", ("active", "pro", "good")),
        ("subscription_schedule.canceled", ("canceled", "free", "lapsed")),
        ("subscription_schedule.canceled", ("active", "pro", "good")),
    ],
)
async def test_an_event_gives_what_the_status_that_is_read_gives(
    *,
    new_worker: NewWorker,
    deliver: Deliver,
    ledger: Ledger,
    sync: Sync,
    account: Any,
    customer: str,
    event_type: str,
    case: tuple[str, str, str],
) -> None:
    status, *then = case
    await sync.sync_customer(customer, "test")
    assert await had(ledger, sync, customer) == ("pro", "good")
    account.put(CUS, status)
    reads = account.reads
    await deliver("evt_1", event_type, INVOICE if event_type.startswith("invoice.") else SCHEDULE)
    await new_worker().work_once()
    assert account.reads == reads + 1
    assert await had(ledger, sync, customer) == tuple(then)


async def test_a_price_that_comes_reads_whoever_has_it(
    *,
    new_worker: NewWorker,
    deliver: Deliver,
    ledger: Ledger,
    sync: Sync,
    account: Any,
    customer: str,
) -> None:
    """The lookup key of the plan is another price's now: nobody loses anything by it before it is read what it is."""
    await sync.sync_customer(customer, "test")
    account.put(CUS, "active", "enterprise_monthly", id="sub_1")
    for row in account.subscriptions[CUS]:
        row["items"]["data"][0]["price"]["id"] = PRICE["id"]
    await deliver("evt_1", "price.created", PRICE)
    worker = new_worker()
    await worker.work_once()
    done = await ledger.find_event("evt_1")
    assert done is not None
    assert done.outcome == "prices-forgotten, 1 to sync"
    assert await had(ledger, sync, customer) == ("pro", "good")
    await worker.work_once()
    assert await had(ledger, sync, customer) == ("enterprise", "good")


def test_each_is_a_thin_event_too_by_the_pinned_sdk_and_means_the_same() -> None:
    assert [name for name in THIN_TYPES if get_v2_event_class(name) is Event] == []
    assert {name: meaning_of(f"v1.{name}") for name in SUBSCRIBED_TYPES} == {n: meaning_of(n) for n in SUBSCRIBED_TYPES}
