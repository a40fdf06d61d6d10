"""A payment that waits for its customer: it changes what is said, and nothing that is granted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.access import decide_access
from gateway.core.account import Account
from gateway.core.decision import granted_tier
from gateway.core.errors import PaymentRequired
from gateway.core.lifecycle import FLAG_ROWS, KNOWN_STATUSES
from gateway.core.standing_words import CONFIRMATION_PAGE
from tests.core.test_access import DAY_S, NOW, PAID_ONLY, POLICY, START, account

TOLD = {"past_due", "unpaid", "incomplete"}


def waiting(known: Account) -> Account:
    subscription = known.subscription
    assert subscription is not None
    return replace(known, subscription=replace(subscription, unconfirmed_since=START))


@pytest.mark.parametrize("policy", [POLICY, PAID_ONLY], ids=["free tier", "paid only"])
@pytest.mark.parametrize("flag", [None, *FLAG_ROWS])
@pytest.mark.parametrize("status", KNOWN_STATUSES)
def test_it_grants_what_it_granted(status, flag, policy):
    known = account(status, past_due_since=START, flags=() if flag is None else ((flag, START),))
    for now in (START, NOW, START + 8 * DAY_S, START + 400 * DAY_S):
        before, after = decide_access(known, policy, now), decide_access(waiting(known), policy, now)
        assert replace(after, warning=before.warning) == before
        assert (after.warning is None) == (before.warning is None)


@pytest.mark.parametrize("status", KNOWN_STATUSES)
def test_where_a_payment_is_due_the_words_name_the_page_on_which_it_is_confirmed(status):
    for now in (START, START + 8 * DAY_S):
        words = decide_access(waiting(account(status, past_due_since=START)), POLICY, now).warning or ""
        assert (CONFIRMATION_PAGE in words) == (status in TOLD)
        assert words.isascii()
        assert not set(words) & {'"', "\n"}


def test_in_grace_they_say_until_when_access_stays():
    words = decide_access(waiting(account("past_due", past_due_since=START)), POLICY, NOW).warning
    assert words == (
        f"The last payment waits to be confirmed with its bank. Confirm it at {CONFIRMATION_PAGE} of this site. "
        "Access at this level ends at 2025-10-16T08:53:20Z unless it is paid."
    )


def test_a_change_that_waits_for_it_says_that_the_old_plan_stays():
    words = decide_access(waiting(account("active", flags=(("pending_update", START),))), POLICY, NOW).warning
    assert words is not None
    assert words.startswith("A change of plan waits for its payment to be confirmed with its bank; until then the old")


def test_a_refusal_says_that_it_is_only_to_be_confirmed():
    known = account("past_due", past_due_since=START)
    for there, is_unconfirmed in ((known, False), (waiting(known), True)):
        with pytest.raises(PaymentRequired) as refused:
            granted_tier(there, decide_access(there, PAID_ONLY, START + 8 * DAY_S))
        assert refused.value.is_unconfirmed is is_unconfirmed
