"""What is recorded of what Stripe says."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.access import decide_access, in_force
from gateway.core.account import Account, Subscription
from gateway.core.billing_facts import CustomerFacts, ItemFacts, SubscriptionFacts
from gateway.core.findings import NEEDS_ATTENTION
from gateway.core.lifecycle import ENDED, FLAG_ROWS, KNOWN_STATUSES, LIFECYCLE_ROWS
from gateway.core.offer import AddOn, SeatRange
from gateway.core.policy import Plan, Policy, Standing, Tier
from gateway.core.projection import project
from gateway.core.window import month_window, quota_window

NOW = 1_800_000_000
DAY = 86_400
KEEP = Standing(keep_s=None, then=None, refusal="payment-required")
END = Standing(keep_s=0, then="free", refusal="subscription-required")


def tier(name: str, rank: int) -> Tier:
    return Tier(name=name, rank=rank, title=name, description="", limits=(), features=frozenset())


def plan(name: str, of: str, *, price_id: str | None = None, lookup_key: str | None = None) -> Plan:
    return Plan(plan_id=name, tier=of, title=name, price_id=price_id, lookup_key=lookup_key)


POLICY = Policy(
    policy_hash="0" * 12,
    default_tier="free",
    tiers={"free": tier("free", 0), "pro": tier("pro", 1), "enterprise": tier("enterprise", 2)},
    plans={
        "pro-monthly": plan("pro-monthly", "pro", lookup_key="pro_monthly"),
        "pro-yearly": plan("pro-yearly", "pro", lookup_key="pro_yearly"),
        "enterprise": plan("enterprise", "enterprise", price_id="price_enterprise"),
    },
    add_ons={
        "pack": AddOn(name="pack", title="", price_id=None, lookup_key="pack"),
        "sso": AddOn(name="sso", title="", price_id="price_sso", lookup_key=None),
    },
    meters={},
    routes=(),
    lifecycle=dict.fromkeys(LIFECYCLE_ROWS, END)
    | {
        "active": KEEP,
        "trialing": KEEP,
        **dict.fromkeys(FLAG_ROWS, KEEP),
        "past_due": Standing(keep_s=7 * DAY, then="free", refusal="payment-required"),
        "unreadable": Standing(keep_s=DAY, then="free", refusal="payment-required"),
    },
)


TIMED = replace(
    POLICY,
    lifecycle=POLICY.lifecycle
    | {
        row: Standing(keep_s=days * DAY, then="free", refusal="payment-required")
        for row, days in (("canceled", 3), ("paused", 2), ("unpaid", 5), ("pending_update", 4), ("pause_collection", 1))
    },
)


def item(lookup_key: str | None = "pro_monthly", **changes: object) -> ItemFacts:
    made = ItemFacts(
        item_id="si_1",
        price_id=f"price_{lookup_key}",
        lookup_key=lookup_key,
        period_starts_at=NOW - DAY,
        period_ends_at=NOW + 29 * DAY,
    )
    return replace(made, **changes)


def subscription(status: str = "active", *items: ItemFacts, **changes: object) -> SubscriptionFacts:
    made = SubscriptionFacts(
        subscription_id="sub_1",
        status=status,
        anchor_at=NOW - 40 * DAY,
        started_at=NOW - 40 * DAY,
        items=items or (item(),),
    )
    return replace(made, **changes)


def customer(*subscriptions: SubscriptionFacts) -> CustomerFacts:
    return CustomerFacts(stripe_customer_id="cus_1", exists=True, subscriptions=subscriptions)


def recorded(
    facts: CustomerFacts, previous: Subscription | None = None, now: int = NOW, policy: Policy = POLICY
) -> Subscription:
    record, _ = project(facts, policy, previous, now)
    assert record is not None
    return record


def granted(record: Subscription | None, now: int = NOW, policy: Policy = POLICY) -> str | None:
    account = Account(customer_id="c", user_id="u", version=1, created_at=0, subscription=record)
    access = decide_access(account, policy, now)
    return None if access.tier is None else access.tier.name


def answer(record: Subscription | None, policy: Policy, now: int) -> tuple[object, ...]:
    """What a call is answered, and by which subscription's dates it counts."""
    account = Account(customer_id="c", user_id="u", version=1, created_at=0, subscription=record)
    access, counting = decide_access(account, policy, now), in_force(account, policy, now).subscription
    return access.tier, access.refusal, access.plan_id, access.standing, counting and counting.subscription_id


def codes(facts: CustomerFacts, previous: Subscription | None = None) -> list[str]:
    return [finding.code for finding in project(facts, POLICY, previous, NOW)[1]]


@pytest.mark.parametrize("status", KNOWN_STATUSES)
def test_every_known_status_is_recorded_in_stripes_own_word(status: str) -> None:
    record = recorded(customer(subscription(status)))
    assert (record.status, record.plan_id, record.unreadable_since) == (status, "pro-monthly", None)
    assert (record.period_starts_at, record.period_ends_at) == (NOW - DAY, NOW + 29 * DAY)
    assert record.anchor_at == NOW - 40 * DAY


def test_a_customer_without_subscriptions_has_no_record() -> None:
    assert project(customer(), POLICY, None, NOW) == (None, ())


def test_a_customer_that_stripe_does_not_have_any_more_is_deleted_from_then_on_and_is_a_finding() -> None:
    before = replace(recorded(customer(subscription("past_due"))), flags=(("disputed", NOW),))
    facts = CustomerFacts(stripe_customer_id="cus_1", exists=False)
    record, findings = project(facts, POLICY, before, NOW)
    assert record is not None
    assert (record.status, record.status_since, record.plan_id) == ("customer_deleted", NOW, "pro-monthly")
    assert (record.past_due_since, record.flags) == (None, ())
    assert granted(record) == "free"
    assert [finding.code for finding in findings] == ["no-such-customer"]
    assert project(facts, POLICY, record, NOW + DAY)[0] == record
    assert project(facts, POLICY, None, NOW)[0] is None


def test_what_was_over_before_its_customer_was_deleted_begins_no_time_anew() -> None:
    keeping = replace(POLICY, lifecycle=POLICY.lifecycle | {"customer_deleted": replace(KEEP, keep_s=7 * DAY)})
    over = recorded(customer(subscription("canceled", ended_at=NOW - 300 * DAY)), policy=keeping)
    gone = recorded(replace(customer(), exists=False), over, policy=keeping)
    assert (gone.status, gone.status_since) == ("customer_deleted", NOW - 300 * DAY)
    assert granted(gone, policy=keeping) is None, "its tier was over long ago"


def test_a_price_id_maps_before_a_lookup_key() -> None:
    both = item("pro_monthly", price_id="price_enterprise")
    assert recorded(customer(subscription("active", both))).plan_id == "enterprise"


def test_a_price_keeps_its_plan_when_stripe_moves_the_lookup_key_to_a_successor() -> None:
    before = recorded(customer(subscription("active", item("pro_monthly", price_id="price_old"))))
    after, findings = project(customer(subscription("active", item(None, price_id="price_old"))), POLICY, before, NOW)
    assert after is not None
    assert after.plan_id == "pro-monthly"
    assert findings == ()


def test_a_plan_that_policy_no_longer_sells_is_not_remembered() -> None:
    before = recorded(customer(subscription("active", item("pro_monthly", price_id="price_old"))))
    smaller = replace(POLICY, plans={"enterprise": POLICY.plans["enterprise"]})
    record, findings = project(customer(subscription("active", item(None, price_id="price_old"))), smaller, before, NOW)
    assert record is not None
    assert record.plan_id is None
    assert [finding.code for finding in findings] == ["unmapped-price"]


def test_an_unmapped_price_keeps_the_last_plan_for_a_day_and_is_a_finding() -> None:
    before = recorded(customer(subscription()))
    strange = customer(subscription("active", item("who_knows")))
    record = recorded(strange, before)
    assert (record.plan_id, record.last_good_plan_id, record.unreadable_since) == (None, "pro-monthly", NOW)
    assert granted(record) == "pro"
    assert granted(record, NOW + DAY) == "free"
    assert codes(strange, before) == ["unmapped-price"]


def test_unreadable_is_counted_from_the_first_time() -> None:
    strange = customer(subscription("active", item("who_knows")))
    first = recorded(strange, recorded(customer(subscription())))
    assert recorded(strange, first, NOW + 5).unreadable_since == NOW


def test_unreadable_is_forgotten_once_it_can_be_read() -> None:
    strange = recorded(customer(subscription("active", item("who_knows"))))
    assert recorded(customer(subscription()), strange).unreadable_since is None


def test_an_unmapped_price_that_was_never_good_grants_nothing() -> None:
    assert granted(recorded(customer(subscription("active", item("who_knows"))))) == "free"


def test_another_subscription_inherits_no_plan_from_the_one_before() -> None:
    before = recorded(customer(subscription()))
    other = customer(subscription("canceled"), subscription("active", item("who_knows"), subscription_id="sub_2"))
    assert granted(recorded(other, before)) == "free"


def test_an_unknown_status_keeps_the_last_plan_for_a_day_and_is_a_finding() -> None:
    before = recorded(customer(subscription()))
    strange = customer(subscription("hibernating"))
    record = recorded(strange, before)
    assert (record.status, record.unreadable_since) == ("hibernating", NOW)
    assert granted(record) == "pro"
    assert granted(record, NOW + DAY) == "free"
    assert codes(strange, before) == ["unknown-status"]
    assert set(codes(strange, before)) <= NEEDS_ATTENTION


def test_an_ended_subscription_with_an_unmapped_price_is_no_finding() -> None:
    assert codes(customer(subscription("canceled", item("who_knows")))) == []


def test_an_item_that_policy_does_not_sell_is_left_out_beside_a_plan_and_said() -> None:
    facts = customer(subscription("active", item("seats", item_id="si_0"), item("pro_yearly", item_id="si_9")))
    assert recorded(facts).plan_id == "pro-yearly"
    assert codes(facts) == ["unmapped-item"]
    assert "unmapped-item" not in NEEDS_ATTENTION


def test_a_subscription_without_items_is_unreadable() -> None:
    facts = customer(replace(subscription(), items=()))
    assert recorded(facts).unreadable_since == NOW
    assert codes(facts) == ["unmapped-price"]


def test_past_due_is_counted_from_the_first_time_it_was_seen() -> None:
    first = recorded(customer(subscription("past_due")), recorded(customer(subscription())))
    again = recorded(customer(subscription("past_due")), first, NOW + DAY)
    assert (first.past_due_since, again.past_due_since) == (NOW, NOW)


def test_past_due_is_forgotten_when_it_is_paid_and_counted_anew_next_time() -> None:
    late = recorded(customer(subscription("past_due")))
    paid = recorded(customer(subscription()), late, NOW + DAY)
    late_again = recorded(customer(subscription("past_due")), paid, NOW + 30 * DAY)
    assert (paid.past_due_since, late_again.past_due_since) == (None, NOW + 30 * DAY)


def test_a_status_that_nobody_knows_gives_no_second_grace_to_who_was_overdue_before_it() -> None:
    due = recorded(customer(subscription("past_due")))
    unheard = recorded(customer(subscription("hibernating")), due, NOW + DAY)
    still = recorded(customer(subscription("hibernating")), unheard, NOW + 2 * DAY)
    due_again = recorded(customer(subscription("past_due")), still, NOW + 3 * DAY)
    assert due_again.past_due_since == NOW
    assert [granted(due_again, NOW + days * DAY) for days in (3, 6, 7)] == ["pro", "pro", "free"]


def test_a_status_that_nobody_knows_keeps_its_own_day_whatever_is_overdue() -> None:
    due = recorded(customer(subscription("past_due")), recorded(customer(subscription())))
    unheard = recorded(customer(subscription("hibernating")), due, NOW + 6 * DAY)
    assert [granted(unheard, NOW + 6 * DAY), granted(unheard, NOW + 7 * DAY)] == ["pro", "free"]
    assert granted(unheard, NOW + 7 * DAY - 1) == "pro"


def test_who_was_paid_up_before_a_status_that_nobody_knows_is_overdue_from_when_that_is_seen() -> None:
    unheard = recorded(customer(subscription("hibernating")), recorded(customer(subscription())))
    assert unheard.past_due_since is None
    assert recorded(customer(subscription("past_due")), unheard, NOW + DAY).past_due_since == NOW + DAY


def test_a_second_overdue_subscription_brings_no_second_grace() -> None:
    first = recorded(customer(subscription("past_due")))
    later = item(period_ends_at=NOW + 60 * DAY)
    both = customer(subscription("past_due"), subscription("past_due", later, subscription_id="sub_2"))
    second = recorded(both, first, NOW + 6 * DAY)
    assert (second.subscription_id, second.past_due_since) == ("sub_2", NOW)


def test_after_grace_a_lower_subscription_that_is_paid_wins() -> None:
    overdue = subscription("past_due", item(None, price_id="price_enterprise"), subscription_id="sub_big")
    facts = customer(overdue, subscription("active", subscription_id="sub_small"))
    first = recorded(facts)
    later = recorded(facts, first, NOW + 7 * DAY)
    assert (first.subscription_id, later.subscription_id) == ("sub_big", "sub_small")


def test_after_grace_a_lower_subscription_that_is_paid_counts_although_nobody_reads_stripe_again() -> None:
    overdue = subscription("past_due", item(None, price_id="price_enterprise"), subscription_id="sub_big")
    paid = subscription("active", item(quantity=3), subscription_id="sub_small", anchor_at=NOW - 9 * DAY)
    record = recorded(customer(overdue, paid))
    assert [granted(record, NOW + days * DAY) for days in (0, 6, 7, 100)] == ["enterprise", "enterprise", "pro", "pro"]
    account = Account(customer_id="c", user_id="u", version=1, created_at=NOW - 100 * DAY, subscription=record)
    counting = in_force(account, POLICY, NOW + 7 * DAY).subscription
    assert counting is not None
    assert (counting.subscription_id, counting.seats, counting.anchor_at) == ("sub_small", 3, NOW - 9 * DAY)


def test_of_none_that_grants_a_tier_any_more_one_counts_that_a_payment_may_help() -> None:
    over = subscription("canceled", item(None, price_id="price_enterprise"), subscription_id="sub_big", ended_at=NOW)
    record, _ = project(customer(over, subscription("past_due", subscription_id="sub_small")), TIMED, None, NOW)
    assert record is not None
    account = Account(customer_id="c", user_id="u", version=1, created_at=NOW - 100 * DAY, subscription=record)
    counting = [in_force(account, TIMED, NOW + days * DAY).subscription for days in (0, 3, 7)]
    assert [one and one.subscription_id for one in counting] == ["sub_big", "sub_small", "sub_small"]
    assert (
        decide_access(account, TIMED, NOW + 7 * DAY).warning == "The last payment failed and was not made up in time."
    )


def test_nothing_is_kept_beneath_that_is_over_or_not_ours() -> None:
    best = subscription("active", item(None, price_id="price_enterprise"), subscription_id="sub_big")
    over = subscription("canceled", subscription_id="sub_over", ended_at=NOW - DAY)
    contract = subscription("active", item("support"), subscription_id="sub_contract")
    assert recorded(customer(best, over, contract)).beneath is None
    both = recorded(customer(best, over, subscription(subscription_id="sub_small")))
    assert [one.subscription_id for one in both.all()] == ["sub_big", "sub_small"]


def test_what_a_deleted_customer_had_stays_until_the_one_in_its_place_has_something() -> None:
    ended = replace(recorded(customer(subscription("canceled", ended_at=NOW - DAY))), flags=(("disputed", NOW),))
    left, findings = project(customer(), TIMED, ended, NOW)
    assert (left, findings) == (replace(ended, flags=()), ())
    waits = subscription("incomplete", subscription_id="sub_2")
    over, _ = project(customer(waits), TIMED, left, NOW)
    assert over is not None
    assert [one.subscription_id for one in over.all()] == ["sub_2", "sub_1"]
    assert project(customer(waits), TIMED, over, NOW)[0] == over
    assert [granted(over, NOW + days * DAY, TIMED) for days in (0, 2)] == ["pro", "free"]
    paid, _ = project(customer(subscription(subscription_id="sub_2")), TIMED, over, NOW)
    assert paid is not None
    assert [one.subscription_id for one in paid.all()] == ["sub_2"]


def test_what_ran_of_a_customer_that_has_another_in_its_place_was_deleted_with_it() -> None:
    ran = recorded(customer(subscription()))
    left, _ = project(customer(), TIMED, ran, NOW)
    assert left is not None
    assert (left.subscription_id, left.status, left.status_since) == ("sub_1", "customer_deleted", NOW)
    assert project(customer(), TIMED, left, NOW + DAY)[0] == left


def test_of_a_deleted_customer_the_subscription_that_counted_stays_and_nothing_else_counts() -> None:
    overdue = subscription("past_due", item(None, price_id="price_enterprise"), subscription_id="sub_big")
    record = recorded(customer(overdue, subscription(subscription_id="sub_small")))
    keeping = replace(TIMED, lifecycle=TIMED.lifecycle | {"customer_deleted": KEEP})
    gone, _ = project(replace(customer(), exists=False), keeping, record, NOW + 8 * DAY)
    assert gone is not None
    assert [(one.subscription_id, one.status) for one in gone.all()] == [
        ("sub_small", "customer_deleted"),
        ("sub_big", "customer_deleted"),
    ]
    assert granted(gone, NOW + 8 * DAY, keeping) == "pro"
    assert project(replace(customer(), exists=False), keeping, gone, NOW + 9 * DAY)[0] == gone
    stale = replace(gone, beneath=recorded(customer(subscription(subscription_id="sub_small"))))
    assert granted(stale, NOW + 8 * DAY) == "free"


def test_a_record_carries_nine_beneath_at_most_and_drops_what_is_over_first() -> None:
    over = [
        subscription("canceled", item(None, price_id="price_enterprise"), subscription_id=f"sub_z{n}", ended_at=NOW)
        for n in range(9)
    ]
    late = [subscription("past_due", subscription_id=f"sub_a{number}") for number in range(3)]
    record, _ = project(customer(*late, *over), TIMED, None, NOW)
    assert record is not None
    found = [one.subscription_id for one in record.all()]
    assert found == [f"sub_z{n}" for n in (8, 7, 6, 5, 4, 3, 2)] + ["sub_a2", "sub_a1", "sub_a0"]


def test_what_was_beneath_goes_on_with_what_was_known_of_it() -> None:
    overdue = subscription("past_due", item(None, price_id="price_enterprise"), subscription_id="sub_big")
    both = customer(overdue, subscription(subscription_id="sub_small"))
    first = recorded(both)
    moved = customer(
        replace(overdue, status="canceled", ended_at=NOW + DAY),
        subscription("active", item("moved", price_id="price_pro_monthly"), subscription_id="sub_small"),
    )
    after = recorded(moved, first, NOW + DAY)
    assert (after.subscription_id, after.plan_id) == ("sub_small", "pro-monthly")


def test_the_highest_tier_wins_then_the_later_end_then_the_id() -> None:
    pro_long = subscription("active", item(period_ends_at=NOW + 300 * DAY), subscription_id="sub_a")
    pro_b = subscription("active", subscription_id="sub_b")
    pro_c = subscription("active", subscription_id="sub_c")
    best = subscription("active", item(None, price_id="price_enterprise"), subscription_id="sub_d")
    assert recorded(customer(pro_long, best, pro_b)).subscription_id == "sub_d"
    assert recorded(customer(pro_b, pro_long, pro_c)).subscription_id == "sub_a"
    assert recorded(customer(pro_c, pro_b)).subscription_id == "sub_c"


def test_paying_twice_is_something_that_somebody_must_act_on() -> None:
    facts = customer(subscription(), subscription("trialing", subscription_id="sub_2"))
    assert codes(facts) == ["several-subscriptions"]
    assert set(codes(facts)) <= NEEDS_ATTENTION


def test_what_would_help_is_recorded_when_nothing_grants_a_tier() -> None:
    facts = customer(subscription("canceled", subscription_id="sub_z"), subscription("unpaid", subscription_id="sub_a"))
    assert recorded(facts).status == "unpaid"


@pytest.mark.parametrize(
    ("at", "at_period_end", "expected"),
    [
        (None, False, None),
        (None, True, NOW + 29 * DAY),
        (NOW + 5, False, NOW + 5),
        (NOW + 5, True, NOW + 5),
    ],
    ids=["not at all", "at the period's end", "by the portal", "both"],
)
def test_when_a_subscription_will_end(at: int | None, at_period_end: bool, expected: int | None) -> None:  # noqa: FBT001 - a row of the table
    facts = customer(subscription("active", item(), cancel_at=at, cancel_at_period_end=at_period_end))
    assert recorded(facts).cancel_at == expected
    assert granted(recorded(facts)) == "pro"


def test_seats_are_the_quantity_of_the_plans_item() -> None:
    facts = customer(subscription("active", item(quantity=12), item("pack", item_id="si_2", quantity=3)))
    record = recorded(facts)
    assert (record.plan_id, record.seats, record.add_ons) == ("pro-monthly", 12, (("pack", 3),))


@pytest.mark.parametrize(
    ("sold", "found"),
    [
        (None, ["seats-not-sold"]),
        (SeatRange(least=1, most=11), ["seats-not-sold"]),
        (SeatRange(least=1, most=12), []),
    ],
)
def test_seats_that_policy_does_not_sell_count_and_are_said(sold: SeatRange | None, found: list[str]) -> None:
    seated = replace(POLICY.plans["pro-monthly"], seats=sold)
    policy = replace(POLICY, plans=POLICY.plans | {"pro-monthly": seated})
    record, findings = project(customer(subscription("active", item(quantity=12))), policy, None, NOW)
    assert record is not None
    assert record.seats == 12
    assert [one.code for one in findings] == found


def test_an_add_on_is_found_by_the_id_or_the_lookup_key_of_its_price_and_counted_over_its_items() -> None:
    facts = customer(
        subscription(
            "active",
            item(),
            item("pack", item_id="si_2", quantity=2),
            item("pack", item_id="si_3", price_id="price_of_last_year"),
            item(None, item_id="si_4", price_id="price_sso"),
        )
    )
    assert recorded(facts).add_ons == (("pack", 3), ("sso", 1))
    assert codes(facts) == []


def test_an_add_on_keeps_its_price_after_stripe_has_moved_the_lookup_key() -> None:
    before = recorded(customer(subscription("active", item(), item("pack", item_id="si_2"))))
    moved = customer(subscription("active", item(), item(None, item_id="si_2", price_id="price_pack")))
    assert recorded(moved, before).add_ons == (("pack", 1),)
    assert recorded(moved).add_ons == ()


def test_none_of_an_add_on_is_none() -> None:
    facts = customer(subscription("active", item(), item("pack", item_id="si_2", quantity=0)))
    assert recorded(facts).add_ons == ()
    assert codes(facts) == []


def test_none_of_a_plan_is_not_bought_and_grants_nothing() -> None:
    facts = customer(subscription("active", item(quantity=0)))
    record = recorded(facts)
    assert (record.plan_id, record.seats, granted(record)) == ("pro-monthly", 0, "free")
    assert codes(facts) == ["nothing-bought"]


def test_none_of_a_higher_plan_hides_no_plan_that_is_bought() -> None:
    none = item("enterprise_monthly", item_id="si_2", quantity=0, period_ends_at=NOW + 300 * DAY)
    record = recorded(customer(subscription("active", none, item())))
    assert (record.plan_id, record.seats, granted(record)) == ("pro-monthly", 1, "pro")


def test_a_subscription_to_none_of_a_plan_hides_no_other_one() -> None:
    none = subscription("active", item("enterprise_monthly", quantity=0), subscription_id="sub_2")
    assert granted(recorded(customer(none, subscription("active")))) == "pro"


def test_an_add_on_is_never_a_tier_whatever_its_product_says() -> None:
    facts = customer(subscription("active", item("pack", product_tier="enterprise")))
    record = recorded(facts)
    assert (record.plan_id, record.add_ons) == (None, (("pack", 1),))
    assert granted(record) == "free"
    assert codes(facts) == ["unmapped-price"]


def test_while_a_plan_cannot_be_read_its_last_seats_count() -> None:
    before = recorded(customer(subscription("active", item(quantity=12))))
    lost = recorded(customer(subscription("active", item("who_knows", quantity=40))), before)
    assert (lost.plan_id, lost.seats) == (None, 12)


def test_of_a_deleted_customer_no_add_on_is_left() -> None:
    before = recorded(customer(subscription("active", item(), item("pack", item_id="si_2"))))
    gone = CustomerFacts(stripe_customer_id="cus_1", exists=False)
    assert recorded(gone, before).add_ons == ()


STATUSES = st.sampled_from([*KNOWN_STATUSES, "hibernating"])
PRICES = st.sampled_from(["pro_monthly", "pro_yearly", "enterprise", "who_knows"])
RULES = st.builds(
    Standing,
    keep_s=st.sampled_from([None, 0, DAY, 3 * DAY, 7 * DAY]),
    then=st.sampled_from([None, "free", "pro"]),
    refusal=st.sampled_from(["payment-required", "subscription-required"]),
)


@st.composite
def subscriptions(draw: st.DrawFn) -> SubscriptionFacts:
    return subscription(
        draw(STATUSES),
        item(draw(PRICES), period_ends_at=NOW + draw(st.integers(0, 3)) * DAY, quantity=draw(st.integers(0, 3))),
        *draw(st.sampled_from([(), (item("pack", item_id="si_2", quantity=2),), (item("odd", item_id="si_3"),)])),
        subscription_id=draw(st.sampled_from(["sub_1", "sub_2", "sub_3"])),
        cancel_at=draw(st.none() | st.just(NOW + DAY)),
        cancel_at_period_end=draw(st.booleans()),
        paused_collection=draw(st.sampled_from([None, "void", "keep_as_draft"])),
        has_pending_update=draw(st.booleans()),
        first_payment_missing=draw(st.booleans()),
    )


CUSTOMERS = st.lists(subscriptions(), max_size=3, unique_by=lambda one: one.subscription_id).map(
    lambda some: customer(*some)
)


@given(history=st.lists(CUSTOMERS, min_size=1, max_size=5))
def test_reading_the_same_state_again_changes_nothing(history: list[CustomerFacts]) -> None:
    record = None
    for step, facts in enumerate(history):
        record, _ = project(facts, POLICY, record, NOW + step)
        assert project(facts, POLICY, record, NOW + step)[0] == record


@given(
    facts=CUSTOMERS,
    before=CUSTOMERS,
    rows=st.fixed_dictionaries(dict.fromkeys(sorted(LIFECYCLE_ROWS), RULES)),
    days=st.lists(st.integers(0, 9), min_size=1, max_size=4),
)
def test_time_alone_leads_to_what_a_read_would_lead_to(
    facts: CustomerFacts, before: CustomerFacts, rows: dict[str, Standing], days: list[int]
) -> None:
    policy = replace(POLICY, lifecycle=rows | {"active": KEEP, "trialing": KEEP, "incomplete_expired": END})
    ended = (replace(one, ended_at=NOW - 3600 if one.status in ENDED else None) for one in facts.subscriptions)
    facts = replace(facts, subscriptions=tuple(ended))
    previous, _ = project(before, policy, None, NOW - DAY)
    record, _ = project(facts, policy, previous, NOW)
    for day in days:
        now = NOW + day * DAY
        read, _ = project(facts, policy, record, now)
        assert answer(record, policy, now) == answer(read, policy, now)


@given(facts=CUSTOMERS, previous=CUSTOMERS)
def test_the_order_in_which_stripe_lists_subscriptions_does_not_matter(
    facts: CustomerFacts, previous: CustomerFacts
) -> None:
    before, _ = project(previous, POLICY, None, NOW)
    turned = replace(facts, subscriptions=facts.subscriptions[::-1])
    assert project(facts, POLICY, before, NOW)[0] == project(turned, POLICY, before, NOW)[0]


@given(history=st.lists(CUSTOMERS, min_size=1, max_size=5))
def test_a_tier_is_never_granted_without_a_status_that_grants_it_or_a_day_of_doubt(
    history: list[CustomerFacts],
) -> None:
    record = None
    for facts in history:
        record, _ = project(facts, POLICY, record, NOW)
        for now in (NOW, NOW + DAY):
            if granted(record, now) == "free":
                continue
            account = Account(customer_id="c", user_id="u", version=1, created_at=0, subscription=record)
            counted = in_force(account, POLICY, now).subscription
            assert counted is not None
            if counted.unreadable_since is None:
                assert counted.status in {"active", "trialing", "past_due"}
            else:
                assert counted.last_good_plan_id is not None
                assert now < counted.unreadable_since + DAY


@given(statuses=st.lists(STATUSES, min_size=1, max_size=6))
def test_grace_starts_once_and_never_moves_later_while_it_lasts(statuses: list[str]) -> None:
    records: list[Subscription] = []
    for step, status in enumerate(statuses):
        records.append(recorded(customer(subscription(status)), records[-1] if records else None, NOW + step))
    for before, after in pairwise(records):
        if before.past_due_since is not None and after.status not in set(KNOWN_STATUSES) - {"past_due"}:
            assert after.past_due_since == before.past_due_since
        if after.status in set(KNOWN_STATUSES) - {"past_due"}:
            assert after.past_due_since is None


def test_a_change_of_interval_gives_no_second_quota_however_often_it_is_made() -> None:
    created = Account(customer_id="c", user_id="u", version=1, created_at=NOW - 90 * DAY)
    starts_at, ends_at = month_window(NOW - DAY, NOW)
    month = item(period_starts_at=starts_at, period_ends_at=ends_at)
    record = recorded(customer(subscription("active", month, anchor_at=starts_at)))
    before = quota_window(replace(created, subscription=record), NOW, None)
    assert before == (starts_at, ends_at)
    for minute in range(1, 8):
        now = NOW + 60 * minute
        moved = item("pro_yearly" if minute % 2 else "pro_monthly", period_starts_at=now, period_ends_at=now + 31 * DAY)
        record = recorded(customer(subscription("active", moved, anchor_at=now)), record, now)
        assert quota_window(replace(created, subscription=record), now + 60, None) == before
    assert quota_window(replace(created, subscription=record), ends_at, None)[0] == ends_at


def test_a_payment_that_ends_a_trial_begins_one_window() -> None:
    """At its start, or after it was paused: nothing of the trial's dates is left."""
    created = Account(customer_id="c", user_id="u", version=1, created_at=NOW - 90 * DAY)
    over_at = NOW + 13 * DAY
    trial = item(period_starts_at=NOW - DAY, period_ends_at=over_at)
    trying = recorded(customer(subscription("trialing", trial, anchor_at=over_at)))
    assert quota_window(replace(created, subscription=trying), NOW, None) == (NOW - DAY, over_at)
    paused = recorded(customer(subscription("paused", trial, anchor_at=over_at)), trying, over_at)
    for before, now in ((trying, NOW), (paused, over_at + 5 * DAY)):
        ends_at = month_window(now, now)[1]
        paid = item("pro_yearly", period_starts_at=now, period_ends_at=ends_at)
        record = recorded(customer(subscription("active", paid, anchor_at=now)), before, now)
        account = replace(created, subscription=record)
        assert {quota_window(account, at, None) for at in range(now, ends_at, 3600)} == {(now, ends_at)}


def test_a_trial_that_the_seller_moves_keeps_the_start_of_its_window() -> None:
    created = Account(customer_id="c", user_id="u", version=1, created_at=NOW - 90 * DAY)
    record = None
    for days in (14, 20, 7):
        over_at = NOW + days * DAY
        trial = item(period_starts_at=NOW - DAY, period_ends_at=over_at)
        record = recorded(customer(subscription("trialing", trial, anchor_at=over_at)), record)
        assert quota_window(replace(created, subscription=record), NOW, None) == (NOW - DAY, over_at)


def test_a_trial_whose_end_was_not_seen_gives_no_window_beside_the_one_that_began_with_it() -> None:
    created = Account(customer_id="c", user_id="u", version=1, created_at=NOW - 90 * DAY)
    trial = item(period_starts_at=NOW - 20 * DAY, period_ends_at=NOW - 6 * DAY)
    trying = recorded(customer(subscription("trialing", trial, anchor_at=NOW - 6 * DAY)), None, NOW - 8 * DAY)
    yearly = item("pro_yearly", period_starts_at=NOW, period_ends_at=NOW + 365 * DAY)
    record = recorded(customer(subscription("active", yearly, anchor_at=NOW)), trying)
    assert quota_window(replace(created, subscription=record), NOW, None)[0] == NOW - 6 * DAY


def test_a_change_of_interval_in_a_first_partial_period_moves_no_window_back() -> None:
    created = Account(customer_id="c", user_id="u", version=1, created_at=NOW - 90 * DAY)
    part = item(period_starts_at=NOW - DAY, period_ends_at=NOW + 9 * DAY)
    before = recorded(customer(subscription("active", part, anchor_at=NOW + 9 * DAY)))
    yearly = item("pro_yearly", period_starts_at=NOW, period_ends_at=NOW + 365 * DAY)
    after = recorded(customer(subscription("active", yearly, anchor_at=NOW)), before)
    assert quota_window(replace(created, subscription=after), NOW, None)[0] == NOW - DAY


def test_a_renewal_and_another_subscription_count_by_their_own_dates() -> None:
    record = recorded(customer(subscription()))
    renewed = item(period_starts_at=NOW + 29 * DAY, period_ends_at=NOW + 60 * DAY)
    assert recorded(customer(subscription("active", renewed)), record, NOW + 29 * DAY).quota_anchor_at is None
    other = subscription(subscription_id="sub_2", anchor_at=NOW)
    assert recorded(customer(other), record).quota_anchor_at is None


def test_a_change_of_plan_is_remembered_with_when_it_was_seen() -> None:
    pro, enterprise = (
        customer(subscription()),
        customer(subscription("active", item(None, price_id="price_enterprise"))),
    )
    first = recorded(pro)
    assert first.plan_changes == ()
    second = recorded(enterprise, first, NOW + 5)
    assert second.plan_changes == ((NOW + 5, "pro-monthly"),)
    assert recorded(enterprise, second, NOW + 9) == second
    assert recorded(pro, second, NOW + 9).plan_changes == ((NOW + 5, "pro-monthly"), (NOW + 9, "enterprise"))


def test_a_price_that_cannot_be_read_for_a_while_is_no_change_of_plan() -> None:
    before = recorded(customer(subscription()))
    strange = recorded(customer(subscription("active", item("who_knows"))), before, NOW + 5)
    assert recorded(customer(subscription()), strange, NOW + 9).plan_changes == ()
    enterprise = customer(subscription("active", item(None, price_id="price_enterprise")))
    assert recorded(enterprise, strange, NOW + 9).plan_changes == ((NOW + 9, "pro-monthly"),)


def test_another_subscription_begins_without_changes_of_plan() -> None:
    before = recorded(customer(subscription()))
    other = subscription("active", item(None, price_id="price_enterprise"), subscription_id="sub_2")
    assert recorded(customer(subscription("canceled"), other), before, NOW + 5).plan_changes == ()
