"""Access over the whole product of status, flags, time and policy, against the table read out loud.

The oracle below says in a few plain steps what `decide_access` must answer. The product is
walked, not sampled: every status, instants on both sides of each edge, every kind of line that a
policy may have, and of sets of flags none, each one, each pair, and all. What one flag leaves is
lowered by the next, so a set does what its pairs do; all sets would be four times as many.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, combinations, product
from typing import TypeAlias

import pytest

from gateway.core.access import decide_access
from gateway.core.access_value import Access
from gateway.core.account import Account, TierGrant
from gateway.core.lifecycle import (
    BLOCKED,
    CUSTOMER_DELETED,
    ENDED,
    FLAG_ROWS,
    KNOWN_STATUSES,
    LIFECYCLE_ROWS,
    UNREADABLE,
)
from gateway.core.limit_text import parse_limit
from gateway.core.limits import Quota
from gateway.core.offer import AddOn
from gateway.core.policy import Policy, Standing
from tests.core.test_access import DAY_S, NOW, POLICY, account

LINES = {
    "keep": Standing(keep_s=None, then=None, refusal="payment-required"),
    "keep for a time": Standing(keep_s=3 * DAY_S, then="free", refusal="payment-required"),
    "keep for a time, then refuse": Standing(keep_s=3 * DAY_S, then=None, refusal="payment-required"),
    "degrade": Standing(keep_s=0, then="free", refusal="payment-required"),
    "refuse": Standing(keep_s=0, then=None, refusal="payment-required"),
}
STATUSES = (*KNOWN_STATUSES, CUSTOMER_DELETED, "a word nobody coined")
FLAG_SETS = tuple(chain.from_iterable(combinations(FLAG_ROWS, size) for size in (0, 1, 2, len(FLAG_ROWS))))
SINCE = NOW
AddOns: TypeAlias = tuple[tuple[str, int], ...]
BOUGHT: tuple[tuple[int, AddOns], ...] = ((1, ()), (4, ()), (1, (("pack", 2),)), (4, (("pack", 1), ("sso", 1))))
"""Seats and add-ons."""
BLOCK_LINES = {name: replace(line, refusal="account-suspended") for name, line in LINES.items() if not line.keep_s}
INSTANTS = (SINCE, SINCE + 3 * DAY_S - 1, SINCE + 3 * DAY_S, SINCE + 400 * DAY_S)


def with_lines(status_line: Standing, flag_line: Standing) -> Policy:
    lines = {row: flag_line if row in FLAG_ROWS else status_line for row in LIFECYCLE_ROWS}
    return replace(POLICY, lifecycle=lines)


def selling_seats(policy: Policy) -> Policy:
    """Every tier has limits per seat, and there are add-ons."""
    per_seat = parse_limit("100 requests per seat per billing period", ())
    quota = parse_limit("30 requests per billing period", ())
    assert isinstance(quota, Quota)
    pack = AddOn(name="pack", title="", price_id=None, lookup_key="pack", limits=(quota,))
    sso = AddOn(name="sso", title="", price_id=None, lookup_key="sso", features=frozenset({"sso"}))
    tiers = {name: replace(tier, limits=(per_seat,)) for name, tier in policy.tiers.items()}
    return replace(policy, tiers=tiers, add_ons={"pack": pack, "sso": sso})


def expected(status: str, flags: tuple[str, ...], now: int, policy: Policy) -> str | None:
    """The tier's name, or None where the caller is refused."""
    row = status if status in {*KNOWN_STATUSES, CUSTOMER_DELETED} else UNREADABLE

    def after(line: Standing) -> str | None:
        is_kept = line.keep_s is None or now < SINCE + line.keep_s
        return "pro" if is_kept else line.then

    unpaid = tuple(flag for flag in flags if flag in {"first_payment_pending", "dispute_lost", "refunded"})
    if row in ENDED and unpaid:
        kept = [policy.lifecycle[name].keep_s for name in (row, *unpaid)]
        is_kept = all(now < SINCE + keep_s for keep_s in kept if keep_s is not None)
        flags = tuple(flag for flag in flags if flag not in unpaid)
        worst = ["pro" if is_kept else policy.lifecycle[row].then, *(after(policy.lifecycle[name]) for name in flags)]
    else:
        worst = [after(policy.lifecycle[name]) for name in (row, *flags)]
    if None in worst:
        return None
    return min((name for name in worst if name is not None), key=lambda name: policy.tiers[name].rank)


def answered(
    status: str,
    flags: tuple[str, ...],
    now: int,
    policy: Policy,
    seats: int = 1,
    add_ons: AddOns = (),
) -> Access:
    return decide_access(customer_of(status, flags, seats, add_ons), policy, now)


def customer_of(status: str, flags: tuple[str, ...], seats: int = 1, add_ons: AddOns = ()) -> Account:
    readable = status in {*KNOWN_STATUSES, CUSTOMER_DELETED}
    return account(
        status,
        last_good_plan_id="pro-monthly",
        status_since=SINCE,
        unreadable_since=None if readable else SINCE,
        flags=tuple((flag, SINCE) for flag in flags),
        seats=seats,
        add_ons=add_ons,
    )


@pytest.mark.parametrize("flag_line", LINES.values(), ids=LINES)
@pytest.mark.parametrize("status_line", LINES.values(), ids=LINES)
def test_access_is_the_lowest_that_status_and_flags_leave(status_line: Standing, flag_line: Standing) -> None:
    policy = with_lines(status_line, flag_line)
    for status, flags, now in product(STATUSES, FLAG_SETS, INSTANTS):
        access = answered(status, flags, now, policy)
        case = (status, flags, now - SINCE)
        assert (access.tier and access.tier.name) == expected(status, flags, now, policy), case
        assert (access.tier is None) == (access.refusal is not None), case
        assert access.warning is None or access.warning.isascii(), case
        if access.grace_until is not None:
            assert access.plan_id is not None, case
            assert now < access.grace_until, case
            assert answered(status, flags, access.grace_until, policy).plan_id is None, case


@pytest.mark.parametrize("flag_line", LINES.values(), ids=LINES)
@pytest.mark.parametrize("status_line", LINES.values(), ids=LINES)
def test_seats_and_add_ons_widen_a_plan_that_is_in_force_and_change_nothing_else(
    status_line: Standing, flag_line: Standing
) -> None:
    policy = selling_seats(with_lines(status_line, flag_line))
    for status, flags, now in product(STATUSES, FLAG_SETS, INSTANTS):
        plain = answered(status, flags, now, policy)
        for seats, add_ons in BOUGHT:
            access = answered(status, flags, now, policy, seats, add_ons)
            case = (status, flags, now - SINCE, seats, add_ons)
            assert replace(access, tier=None) == replace(plain, tier=None), case
            if access.tier is None or access.plan_id is None:
                assert access.tier is plain.tier, case
                continue
            units = 100 * seats + 30 * dict(add_ons).get("pack", 0)
            assert [getattr(limit, "units", None) for limit in access.tier.limits] == [units], case
            assert access.tier.features == ({"sso"} if ("sso", 1) in add_ons else set()), case


@pytest.mark.parametrize("block_line", BLOCK_LINES.values(), ids=BLOCK_LINES)
@pytest.mark.parametrize("flag_line", LINES.values(), ids=LINES)
@pytest.mark.parametrize("status_line", LINES.values(), ids=LINES)
def test_a_block_lowers_what_status_flags_and_a_granted_tier_leave_and_never_raises_it(
    status_line: Standing, flag_line: Standing, block_line: Standing
) -> None:
    lines = with_lines(status_line, flag_line)
    policy = replace(lines, lifecycle=lines.lifecycle | {BLOCKED: block_line})
    granted = TierGrant(tier="max", granted_at=SINCE, ends_at=SINCE + 3 * DAY_S)
    some_flags = ((), *((flag,) for flag in FLAG_ROWS))
    for status, flags, now, grant in product(STATUSES, some_flags, INSTANTS, (None, granted)):
        customer = replace(customer_of(status, flags), tier_grant=grant)
        open_ = decide_access(customer, policy, now)
        access = decide_access(replace(customer, blocked=True), policy, now)
        case = (status, flags, now - SINCE, grant)
        if block_line.keep_s is None:
            assert replace(access, warning=open_.warning) == open_, case
            assert access.plan_id is None or access.warning is not None, case
        elif block_line.then is None:
            assert (access.tier, access.standing, access.refusal) == (None, "suspended", "account-suspended"), case
        elif open_.tier is None or open_.tier.name == "free":
            assert access == open_, case
        else:
            assert (access.tier and access.tier.name, access.standing, access.plan_id) == ("free", "suspended", None)


def test_a_dispute_is_only_flagged_unless_policy_suspends() -> None:
    disputed = account(flags=(("disputed", SINCE),))
    flagged = decide_access(disputed, POLICY, NOW)
    assert (flagged.standing, flagged.plan_id) == ("good", "pro-monthly")
    assert flagged.warning == "A payment of this account is disputed with its bank."
    refuse = Standing(keep_s=0, then=None, refusal="account-suspended")
    suspended = decide_access(disputed, replace(POLICY, lifecycle=POLICY.lifecycle | {"disputed": refuse}), NOW)
    assert (suspended.tier, suspended.standing, suspended.refusal) == (None, "suspended", "account-suspended")


def test_a_suspension_is_told_also_to_those_who_have_not_paid_either() -> None:
    refuse = Standing(keep_s=0, then=None, refusal="account-suspended")
    policy = replace(POLICY, lifecycle=POLICY.lifecycle | {"disputed": refuse})
    unpaid = account("unpaid", flags=(("disputed", SINCE),))
    assert decide_access(unpaid, policy, NOW).refusal == "account-suspended"


def test_what_a_bank_took_back_suspends_and_what_was_refunded_does_not() -> None:
    refuse = Standing(keep_s=0, then=None, refusal="account-suspended")
    down = Standing(keep_s=0, then="free", refusal="payment-required")
    policy = replace(POLICY, lifecycle=POLICY.lifecycle | {"dispute_lost": refuse, "refunded": down})
    granted = TierGrant(tier="max", granted_at=SINCE, ends_at=SINCE + DAY_S)
    lost, refunded = (account(flags=((flag, SINCE),)) for flag in ("dispute_lost", "refunded"))
    for customer in (lost, replace(lost, tier_grant=granted)):
        access = decide_access(customer, policy, NOW)
        assert (access.tier, access.standing, access.refusal) == (None, "suspended", "account-suspended")
    access = decide_access(refunded, policy, NOW)
    assert (access.tier and access.tier.name, access.standing) == ("free", "lapsed")
    access = decide_access(replace(refunded, tier_grant=granted), policy, NOW)
    assert (access.tier and access.tier.name, access.standing) == ("max", "good")


def test_who_could_pay_is_told_so_before_what_its_bank_took_back() -> None:
    refuse = Standing(keep_s=0, then=None, refusal="account-suspended")
    policy = replace(POLICY, lifecycle=POLICY.lifecycle | {"dispute_lost": refuse})
    unpaid = decide_access(account("unpaid", flags=(("dispute_lost", SINCE),)), policy, NOW)
    assert (unpaid.refusal, unpaid.standing) == ("payment-required", "lapsed")


def test_a_first_payment_that_has_not_arrived_buys_nothing_yet() -> None:
    for status in ("active", "trialing", "past_due"):
        access = decide_access(account(status, flags=(("first_payment_pending", SINCE),)), POLICY, NOW)
        assert (access.tier and access.tier.name, access.standing, access.plan_id) == ("free", "lapsed", None)


def test_a_pause_of_collection_and_a_change_that_waits_keep_the_plan() -> None:
    paused = decide_access(account(flags=(("pause_collection_void", SINCE),)), POLICY, NOW)
    assert (paused.standing, paused.plan_id, paused.warning) == ("good", "pro-monthly", None)
    waiting = decide_access(account(flags=(("pending_update", SINCE),)), POLICY, NOW)
    assert (waiting.standing, waiting.plan_id) == ("good", "pro-monthly")
    assert "until then the old plan stays" in (waiting.warning or "")


def test_a_flag_of_a_later_release_changes_nothing() -> None:
    assert decide_access(account(flags=(("not coined yet", SINCE),)), POLICY, NOW) == decide_access(
        account(), POLICY, NOW
    )


def test_a_cancelled_plan_can_be_kept_for_a_time_after_its_end() -> None:
    keep = Standing(keep_s=3 * DAY_S, then="free", refusal="subscription-required")
    policy = replace(POLICY, lifecycle=POLICY.lifecycle | {"canceled": keep})
    ended = account("canceled", status_since=SINCE)
    access = decide_access(ended, policy, SINCE + 1)
    assert (access.standing, access.grace_until) == ("grace", SINCE + 3 * DAY_S)
    assert access.warning is not None
    assert access.warning.startswith("Access at this level ends at ")
    refuse = Standing(keep_s=0, then=None, refusal="account-suspended")
    policy = replace(policy, lifecycle=policy.lifecycle | {"dispute_lost": refuse, "refunded": refuse})
    for flag in ("first_payment_pending", "dispute_lost", "refunded"):
        not_paid = replace(ended, subscription=replace(ended.subscription, flags=((flag, SINCE),)))  # type: ignore[type-var]  # it has one
        lapsed = decide_access(not_paid, policy, SINCE + 1)
        assert (lapsed.standing, lapsed.tier and lapsed.tier.name, lapsed.warning) == ("lapsed", "free", None)
    unmapped = replace(ended, subscription=replace(ended.subscription, plan_id=None))  # type: ignore[type-var]  # it has one
    assert decide_access(unmapped, policy, SINCE + 1).standing == "lapsed"
