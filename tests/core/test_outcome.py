from __future__ import annotations

import pytest

from gateway.core.outcome import is_billed

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
