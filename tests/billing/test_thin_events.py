"""Thin events of event destinations, beside snapshot events: the same sync, however it was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import stripe

from gateway.billing import InvalidPayload, Meaning, meaning_of, verify
from gateway.billing.webhook import parse_event
from gateway.core.access import decide_access
from gateway.ledger import Ledger
from gateway.sync import EventWorker, WorkerOptions, accepts
from gateway.sync.receiving import keep_event
from tests.billing.conftest import CUS, NOW

SECRETS = ("whsec_old", "whsec_new")
NewWorker = Callable[..., EventWorker]


def thin(event_type: str = "v1.customer.subscription.updated", **changes: Any) -> dict[str, Any]:
    made = {
        "id": "evt_test_65R9Ijk8dKEYZcXeRWn16R9A7j1FSQ3w3TGDPLLGSM4CW0",
        "object": "v2.core.event",
        "type": event_type,
        "created": "2027-01-15T08:00:00.123Z",
        "livemode": False,
        "context": None,
        "related_object": {"id": "sub_1", "type": "subscription", "url": "/v1/subscriptions/sub_1"},
        "reason": {"type": "request", "request": {"id": "req_1", "idempotency_key": "key_1"}},
    }
    return made | changes


def signed(body: bytes, secret: str) -> str:
    return stripe.WebhookSignature.generate_signature_header(body.decode(), secret, timestamp=NOW)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_thin_event_is_read_as_the_sdk_reads_it_under_any_of_the_secrets(secret: str) -> None:
    body = json.dumps(thin()).encode()
    envelope = verify(body, signed(body, secret), SECRETS, NOW)
    known = stripe.StripeClient("sk_test_reads_only").parse_event_notification_without_verification(body.decode())
    assert (envelope.event_id, envelope.type, envelope.livemode) == (known.id, known.type, known.livemode)
    assert (envelope.created, envelope.account, envelope.stripe_customer_id) == (1_800_000_000, None, None)


def test_a_thin_event_about_a_customer_names_it() -> None:
    related = {"id": "cus_7", "type": "customer", "url": "/v1/customers/cus_7"}
    body = json.dumps(thin("v1.customer.deleted", related_object=related)).encode()
    assert verify(body, signed(body, "whsec_new"), SECRETS, NOW).stripe_customer_id == "cus_7"


def test_a_thin_event_of_another_account_or_mode_is_not_ours() -> None:
    for changes, fate in (({"context": "acct_1Other"}, "wrong-account"), ({"livemode": True}, "wrong-mode")):
        body = json.dumps(thin(**changes)).encode()
        assert accepts(verify(body, signed(body, "whsec_new"), SECRETS, NOW), is_live=False) == fate


@pytest.mark.parametrize(
    "changes",
    [
        {"id": 7},
        {"type": "nothing"},
        {"created": NOW},
        {"created": "yesterday"},
        {"created": "2027-01-15T08:00:00"},
        {"livemode": None},
    ],
    ids=["id", "type", "whole number", "no date", "no zone", "mode"],
)
def test_a_thin_event_that_lacks_what_every_one_has_is_refused(changes: dict[str, Any]) -> None:
    body = json.dumps(thin(**changes)).encode()
    with pytest.raises(InvalidPayload):
        verify(body, signed(body, "whsec_new"), SECRETS, NOW)


@pytest.mark.parametrize(
    ("event_type", "meaning"),
    [
        ("v1.customer.subscription.updated", Meaning.SYNC),
        ("v1.customer.subscription.past_due", Meaning.SYNC),
        ("v1.invoice.paid", Meaning.SYNC),
        ("v1.charge.refunded", Meaning.REFUND),
        ("v1.price.lookup_key_changed", Meaning.PRICES),
        ("v1.billing.meter.error_report_triggered", Meaning.ALERT),
        ("v1.balance.available", Meaning.IGNORE),
        ("v2.core.account.updated", Meaning.IGNORE),
        ("customer.subscription.past_due", Meaning.IGNORE),
    ],
)
def test_what_a_thin_event_asks_for(event_type: str, meaning: Meaning) -> None:
    assert meaning_of(event_type) is meaning


async def test_an_error_of_a_meter_is_set_aside_where_people_see_it(new_worker: NewWorker, ledger: Ledger) -> None:
    related = {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"}
    fields = thin("v1.billing.meter.error_report_triggered", related_object=related)
    await ledger.store_event(
        event_id="evt_1",
        type=fields["type"],
        stripe_customer_id=None,
        livemode=False,
        api_version=None,
        payload=json.dumps(fields),
        now=NOW,
    )
    await new_worker().work_once()
    dead = await ledger.find_event("evt_1")
    assert dead is not None
    assert dead.status == "dead"
    assert "mtr_1" in (dead.error or "")


@pytest.mark.parametrize(
    ("kind", "object_id"),
    [
        ("subscription", "sub_none"),
        ("invoice", "in_none"),
        ("subscription_schedule", "sub_sched_none"),
        ("charge", "ch_none"),
        ("dispute", "du_none"),
        ("checkout.session", "cs_test_none"),
        ("billing.meter", "mtr_none"),
    ],
)
async def test_an_object_that_is_gone_is_nobodys(shop: Any, kind: str, object_id: str) -> None:
    assert await shop.billing.facts.find_owner(kind, object_id) is None


async def test_thin_events_of_one_object_are_one_question_and_one_sync(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    await shop.settle()
    subscription = (await shop.load(customer_id)).subscription_id
    related = {"id": subscription, "type": "subscription", "url": f"/v1/subscriptions/{subscription}"}
    for number in range(30):
        body = json.dumps(thin(id=f"evt_thin_{number}", created="2026-11-01T00:00:00.000Z", related_object=related))
        await keep_event(parse_event(body.encode()), is_live=False, ledger=shop.ledger, now=shop.sandbox.clock.now())
    worker = EventWorker(ledger=shop.ledger, sync=shop.sync, clock=shop.sandbox.clock, options=WorkerOptions(batch=5))
    before = shop.billing.pace.turns
    assert await worker.work_once() == 30
    assert (worker.in_hand.processed, worker.coalesced) == (30, 29)
    assert shop.billing.pace.turns == before + 2


async def test_a_life_told_in_thin_events_alone_ends_where_stripe_is(shop: Any) -> None:
    await shop.hear_thinly()

    async def tier(customer_id: str) -> str | None:
        account = await shop.ledger.load_account(customer_id)
        granted = decide_access(account, shop.sync.policy, shop.sandbox.clock.now()).tier
        return None if granted is None else granted.name

    customer_id = await shop.buyer("pro-monthly")
    assert await tier(customer_id) == "pro"
    row = await shop.ledger.find_customer(customer_id)
    charge = (await shop.sandbox.stripe.v1.charges.list_async({"customer": row.stripe_customer_id})).data[0]
    await shop.sandbox.stripe.v1.refunds.create_async({"charge": charge.id, "amount": 100})
    await shop.sandbox.control("disputes", customer=row.stripe_customer_id)
    await shop.settle()
    assert [flag for flag, _ in (await shop.load(customer_id)).flags] == ["disputed"]
    assert "payment-refunded" in {one.action for one in await shop.ledger.list_audit(customer_id)}
    await shop.sandbox.stripe.v1.subscriptions.cancel_async((await shop.load(customer_id)).subscription_id)
    await shop.settle()
    assert await tier(customer_id) == "free"
    assert {one.type for one in await shop.ledger.list_events()} >= {
        "v1.checkout.session.completed",
        "v1.customer.subscription.deleted",
        "v1.charge.dispute.created",
    }
    assert {one.status for one in await shop.ledger.list_events()} == {"done"}


async def test_a_thin_event_about_a_schedule_has_its_customer_synced(
    new_worker: NewWorker, ledger: Ledger, account: Any, customer: str
) -> None:
    account.schedules["sub_sched_1"] = CUS
    related = {"id": "sub_sched_1", "type": "subscription_schedule", "url": "/v1/subscription_schedules/sub_sched_1"}
    body = json.dumps(thin("v1.subscription_schedule.updated", id="evt_1", related_object=related))
    await keep_event(parse_event(body.encode()), is_live=False, ledger=ledger, now=NOW)
    await new_worker().work_once()
    done = await ledger.find_event("evt_1")
    assert done is not None
    assert done.outcome == "applied"
    recorded = await ledger.load_subscription(customer)
    assert recorded is not None
    assert recorded.status == "active"
