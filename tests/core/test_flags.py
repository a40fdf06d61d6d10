"""What is true of a subscription beside its status, and since when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.billing_facts import SubscriptionFacts
from tests.core.test_projection import DAY, NOW, customer, recorded, subscription


@pytest.mark.parametrize(
    ("facts", "flag"),
    [
        (subscription(first_payment_missing=True), "first_payment_pending"),
        (subscription(paused_collection="void"), "pause_collection_void"),
        (subscription(paused_collection="keep_as_draft"), "pause_collection"),
        (subscription(paused_collection="a word nobody coined"), "pause_collection"),
        (subscription(has_pending_update=True), "pending_update"),
    ],
    ids=["first payment", "void", "draft", "unknown pause", "pending update"],
)
def test_a_flag_is_counted_from_the_first_time_it_was_seen_and_forgotten_when_it_is_over(
    facts: SubscriptionFacts, flag: str
) -> None:
    first = recorded(customer(facts))
    assert first.flags == ((flag, NOW),)
    assert recorded(customer(facts), first, NOW + DAY).flags == ((flag, NOW),)
    assert recorded(customer(subscription()), first, NOW + DAY).flags == ()


def test_a_dispute_is_counted_from_when_it_was_opened_and_holds_for_every_subscription() -> None:
    both = customer(subscription(), subscription("canceled", subscription_id="sub_2"))
    disputed = replace(both, disputed_since=NOW - DAY)
    assert recorded(disputed).flags == (("disputed", NOW - DAY),)
    ended = replace(customer(subscription("canceled")), disputed_since=NOW - DAY)
    assert recorded(ended).flags == (("disputed", NOW - DAY),)


def test_what_was_never_paid_stays_so_when_it_ends_and_when_its_customer_goes() -> None:
    running = recorded(customer(subscription(first_payment_missing=True)))
    over = customer(subscription("canceled", first_payment_missing=True, ended_at=NOW + DAY))
    ended = recorded(over, running, NOW + 2 * DAY)
    assert ended.flags == (("first_payment_pending", NOW),)
    assert recorded(over, None, NOW + 2 * DAY).flags == (("first_payment_pending", NOW + DAY),), "not since it was seen"
    gone = recorded(replace(over, exists=False, subscriptions=()), ended, NOW + 3 * DAY)
    assert (gone.status, gone.flags) == ("customer_deleted", (("first_payment_pending", NOW),))
    trial = subscription("canceled", first_payment_missing=True, ran_unpaid=True)
    assert recorded(customer(trial)).flags == ()


def test_an_ended_subscription_has_no_other_flags_of_its_own() -> None:
    assert recorded(customer(subscription("canceled", has_pending_update=True, paused_collection="void"))).flags == ()


def test_a_status_is_counted_from_the_first_time_it_was_seen() -> None:
    first = recorded(customer(subscription("unpaid")))
    again = recorded(customer(subscription("unpaid")), first, NOW + DAY)
    assert (first.status_since, again.status_since) == (NOW, NOW)
    assert recorded(customer(subscription()), first).status_since is None


def test_an_ended_subscription_is_counted_from_its_end_however_late_we_hear_of_it() -> None:
    assert recorded(customer(subscription("canceled", ended_at=NOW - 900 * DAY))).status_since == NOW - 900 * DAY


def test_a_second_unpaid_subscription_brings_no_second_time() -> None:
    first = recorded(customer(subscription("unpaid")))
    other = customer(subscription("canceled"), subscription("unpaid", subscription_id="sub_2"))
    assert recorded(other, first, NOW + DAY).status_since == NOW
