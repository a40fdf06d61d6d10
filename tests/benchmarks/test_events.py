from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.event_load import Answers, Mix
from benchmarks.events import EventSample, passes

OF_DEFAULT = Mix(name="few", note="", customers=1)
OF_80 = Mix(name="each", note="", customers=1, per_s=80)


def sample(*, in_a_second: int, lost: int = 0, status: int = 200) -> EventSample:
    answers = Answers(taken_ms=[1.0, 2.0], late_ms=[0.0, 0.0], statuses=Counter({status: 2}))
    asked = tuple((7.0 + number / (in_a_second + 1), "GET subscriptions") for number in range(in_a_second))
    return EventSample(answers=answers, took_s=1, cpu_s=1, drained_s=1, lost=lost, requests=asked)


@pytest.mark.parametrize(("mix", "most"), [(OF_DEFAULT, 20), (OF_80, 80)])
def test_a_mix_that_asks_stripe_faster_than_it_may_fails(mix, most):
    assert passes(mix, sample(in_a_second=most))
    assert not passes(mix, sample(in_a_second=most + 2))


def test_one_answer_in_fifty_that_takes_too_long_fails():
    slow = sample(in_a_second=1)
    slow.answers.taken_ms[:] = [1.0] * 98 + [60.0] * 2
    assert not passes(OF_DEFAULT, slow)
    slow.answers.taken_ms[:] = [1.0] * 98 + [49.0] * 2
    assert passes(OF_DEFAULT, slow)


def test_a_lost_or_refused_event_fails():
    assert not passes(OF_DEFAULT, sample(in_a_second=1, lost=1))
    assert not passes(OF_DEFAULT, sample(in_a_second=1, status=503))
