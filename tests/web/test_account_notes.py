"""What the account page says first, for each way that a subscription can stand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.access import decide_access
from gateway.core.account import TierGrant
from gateway.core.policy import Standing
from gateway.web.account_notes import Note, account_note
from tests.core.test_access import DAY_S, NOW, PAID_ONLY, POLICY, START, account, make_policy

MEND = "Update the payment method"


def note(found, policy=POLICY, now=NOW):
    return account_note(found, decide_access(found, policy, now), policy)


def test_of_a_subscription_that_is_as_it_was_bought_nothing_is_said():
    assert note(account("active")) is None
    assert note(account("trialing")) is None
    assert note(account(None)) is None


def test_a_failed_payment_says_until_when_the_tier_is_kept_in_words_for_people_and_how_to_mend_it():
    said = note(account("past_due", past_due_since=START))
    text = "The last payment failed. Access at this level ends on 16 October 2025, 08:53 UTC unless it is paid."
    assert said == Note(text=text, is_urgent=True, portal_button=MEND)


@pytest.mark.parametrize("status", ["past_due", "unpaid", "paused", "incomplete"])
def test_whoever_lost_access_over_a_payment_is_led_to_the_card_form(status):
    said = note(account(status, past_due_since=START), PAID_ONLY, START + 60 * DAY_S)
    assert (said.is_urgent, said.portal_button) == (True, MEND)
    until = "there is a paid plan" if status == "incomplete" else "that is mended"
    assert said.text.endswith(f"Calls are refused until {until}.")


def test_a_dispute_that_ends_access_is_no_matter_of_the_card_form():
    strict = make_policy(disputed=Standing(keep_s=0, then=None, refusal="account-suspended"))
    said = note(account("active", flags=(("disputed", START),)), strict)
    text = "A payment of this account is disputed with its bank. Calls are refused until that is settled."
    assert said == Note(text=text, is_urgent=True)


def test_when_grace_is_over_the_tier_that_is_left_is_named():
    said = note(account("past_due", past_due_since=START), POLICY, START + 8 * DAY_S)
    text = "The last payment failed and was not made up in time. The account has the free tier now."
    assert said == Note(text=text, is_urgent=True, portal_button=MEND)


def test_a_cancelled_subscription_says_when_it_ends_and_what_comes_then():
    cancelled = account("active", cancel_at=START + 30 * DAY_S)
    begins = "The subscription is cancelled: it ends on 8 November 2025, 08:53 UTC. After that, "
    assert note(cancelled).text == f"{begins}the account has the free tier. Keys and usage stay."
    assert note(cancelled, PAID_ONLY).text == f"{begins}calls are refused. Keys and usage stay."
    assert note(cancelled).portal_button == "Keep the subscription"
    assert not note(cancelled).is_urgent


END = START + 30 * DAY_S
BENEATH = replace(account("active").subscription, subscription_id="sub_2")


def after(found, policy=POLICY):
    return note(found, policy).text.partition("After that, ")[2]


def test_a_cancelled_subscription_names_the_tier_of_the_one_beneath_that_goes_on():
    found = account("active", plan_id="max-monthly", cancel_at=END, beneath=BENEATH)
    assert after(found) == "the account has the pro tier. Keys and usage stay."
    assert after(found, PAID_ONLY) == "the account has the pro tier. Keys and usage stay."


def test_one_beneath_that_ends_no_later_is_not_promised():
    found = account("active", plan_id="max-monthly", cancel_at=END, beneath=replace(BENEATH, cancel_at=END))
    assert after(found) == "the account has the free tier. Keys and usage stay."


def test_a_tier_granted_by_hand_is_named_where_it_lasts_longer():
    grant = TierGrant(tier="pro", granted_at=START, ends_at=END + DAY_S)
    found = replace(account("active", plan_id="max-monthly", cancel_at=END), tier_grant=grant)
    assert after(found).startswith("the account has the pro tier until 9 November 2025, 08:53 UTC, then the free tier.")


def test_a_tier_that_policy_keeps_for_a_time_is_named_with_what_comes_behind_it():
    kept = {"canceled": Standing(keep_s=2 * DAY_S, then=None, refusal="subscription-required")}
    found = account("active", cancel_at=END)
    until = "the account has the pro tier until 10 November 2025, 08:53 UTC"
    assert after(found, make_policy(**kept)) == f"{until}, then calls are refused. Keys and usage stay."


def test_a_failed_payment_is_told_before_a_cancellation():
    both = account("past_due", past_due_since=START, cancel_at=START + 30 * DAY_S)
    assert note(both).portal_button == MEND


def test_a_subscription_that_ended_says_when_and_what_holds_now():
    ended = account("canceled", status_since=START)
    text = "The subscription ended on 9 October 2025, 08:53 UTC. The account has the free tier now."
    assert note(ended) == Note(text=text)
    assert note(ended, PAID_ONLY).text.endswith("Calls are refused until there is a paid plan.")


def test_an_account_that_may_call_nothing_is_told_so():
    assert note(account(None), PAID_ONLY) == Note(text="Calls are refused until there is a paid plan.", is_urgent=True)


def test_a_suspended_account_is_told_whom_to_ask():
    assert note(replace(account("active"), blocked=True)).text.startswith("This account is suspended.")


def test_a_change_that_waits_for_its_payment_leads_to_the_portal():
    assert note(account("active", flags=(("pending_update", START),))).portal_button == MEND
    assert note(account("active", flags=(("disputed", START),))).portal_button is None


def test_a_payment_that_waits_to_be_confirmed_has_a_button_for_it_and_says_until_when_the_tier_is_kept():
    said = note(account("past_due", past_due_since=START, unconfirmed_since=START))
    text = (
        "The last payment waits to be confirmed with its bank. "
        "Access at this level ends on 16 October 2025, 08:53 UTC unless it is paid."
    )
    assert said == Note(text=text, is_urgent=True, portal_button="Confirm the payment")
    assert said.portal_flow == "payment_confirmation"


def test_it_can_be_confirmed_when_the_tier_is_gone_and_while_a_change_waits_for_it():
    late = note(account("past_due", past_due_since=START, unconfirmed_since=START), POLICY, START + 8 * DAY_S)
    text = "The last payment was not confirmed with its bank in time. The account has the free tier now."
    assert (late.text, late.portal_button) == (text, "Confirm the payment")
    change = note(account("active", flags=(("pending_update", START),), unconfirmed_since=START))
    assert (change.text.endswith("until then the old plan stays."), change.portal_button) == (
        True,
        "Confirm the payment",
    )
