"""What is true of a subscription beside its status, and since when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.billing_facts import CustomerFacts, PaymentsAsked, SubscriptionFacts
from gateway.core.flags import asked_of_payments
from gateway.core.lifecycle import TAKEN_BACK
from gateway.core.policy import Standing
from tests.core.test_projection import DAY, NOW, POLICY, customer, recorded, subscription


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


@pytest.mark.parametrize("flag", TAKEN_BACK)
def test_money_that_is_taken_back_is_counted_from_when_it_was_seen_anew_for_each_payment(flag: str) -> None:
    def lost(paid_at: int) -> CustomerFacts:
        return customer(subscription(taken_back=((flag, paid_at),)))

    first = recorded(lost(NOW - 40 * DAY))
    assert first.flags == ((flag, NOW),)
    assert recorded(lost(NOW - 40 * DAY), first, NOW + DAY).flags == ((flag, NOW),)
    assert recorded(lost(NOW), first, NOW + DAY).flags == ((flag, NOW),), "as it was seen, it was lost"
    assert recorded(lost(NOW + 1), first, NOW + DAY).flags == ((flag, NOW + DAY),), "another payment"
    assert recorded(customer(subscription()), first, NOW + DAY).flags == ()
    over = customer(subscription("canceled", taken_back=((flag, NOW - DAY),), ended_at=NOW + DAY))
    assert recorded(over, first, NOW + 3 * DAY).flags == ((flag, NOW),), "the end does not undo it"
    assert recorded(over, None, NOW + 3 * DAY).flags == ((flag, NOW + DAY),), "not since it was seen"
    gone = recorded(replace(over, exists=False, subscriptions=()), first, NOW + 3 * DAY)
    assert (gone.status, gone.flags) == ("customer_deleted", ((flag, NOW),))


def test_payments_are_asked_for_lines_only_that_do_something() -> None:
    down = Standing(keep_s=0, then="free", refusal="payment-required")
    later = Standing(keep_s=DAY, then=None, refusal="payment-required")

    def asked(**lines: Standing) -> PaymentsAsked:
        ends = {"canceled": down, "customer_deleted": down}
        return asked_of_payments(replace(POLICY, lifecycle=POLICY.lifecycle | ends | lines))

    assert asked(disputed=down, canceled=later).rows == frozenset()
    assert asked(dispute_lost=later) == PaymentsAsked(rows=frozenset({"dispute_lost"}))
    assert asked(refunded=down) == PaymentsAsked(rows=frozenset({"refunded"}))
    for ended in ("canceled", "customer_deleted"):
        assert asked(refunded=down, **{ended: later}).of_ended, "something is kept after the end"


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
