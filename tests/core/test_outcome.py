from __future__ import annotations

import pytest

from gateway.core.outcome import Billable, is_billed

LAW = {
    "failed before a response": (None, set(), False),
    "ended by the caller before a response": (None, {"by_caller"}, True),
    "complete": (200, {"complete", "payload"}, True),
    "complete without payload": (204, {"complete"}, True),
    "a mistake of the caller": (404, {"complete", "payload"}, True),
    "a complete failure": (500, {"complete", "payload"}, False),
    "a failure that the caller did not wait for": (503, {"payload", "by_caller"}, False),
    "left by the caller": (200, {"by_caller"}, True),
    "broken after payload": (200, {"payload"}, True),
    "broken before payload": (200, set(), False),
}


@pytest.mark.parametrize("ending", LAW)
def test_a_call_is_billed_by_how_it_ended(ending):
    status, facts, is_paid = LAW[ending]
    happened = {name: name in facts for name in ("complete", "payload", "by_caller")}
    assert is_billed(status, **happened) is is_paid


OWN = Billable(ranges=((200, 300), (404, 405)), abandoned=False)
SAID = {
    "a response that is named": (204, {"complete"}, True),
    "another that is named": (404, {"complete", "payload"}, True),
    "an open websocket, as a success": (101, {"complete"}, True),
    "one that is not named": (403, {"complete", "payload"}, False),
    "one that is not named and was not waited for": (302, {"by_caller"}, False),
    "one that is named and broke off before payload": (200, set(), False),
    "one that is named and was not waited for": (200, {"by_caller"}, True),
    "a call that was left before a response": (None, {"by_caller"}, False),
}


@pytest.mark.parametrize("ending", SAID)
def test_policy_says_which_responses_are_billed(ending):
    status, facts, is_paid = SAID[ending]
    happened = {name: name in facts for name in ("complete", "payload", "by_caller")}
    assert is_billed(status, **happened, billable=OWN) is is_paid


def test_an_open_websocket_is_free_where_successes_are():
    assert not is_billed(101, complete=True, payload=True, by_caller=False, billable=Billable(ranges=((404, 405),)))
