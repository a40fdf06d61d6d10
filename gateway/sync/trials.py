"""What a change does to a trial that runs.

A trial is given for what was chosen at the checkout. Taking more for nothing is not part of it: a higher plan, more
seats or another add-on is paid from the moment it is had. Only a plan that a checkout would sell with a trial which
lasts as long goes on with this one.
"""

from __future__ import annotations

from gateway.core.policy import Plan
from gateway.core.projection import Candidate
from gateway.core.switching import Direction
from gateway.sync.extras import ExtrasChange

_DAY_S = 86_400


def ends_trial(current: Candidate, plan: Plan, way: Direction, beside: ExtrasChange) -> bool:
    """Whether a change that is made now ends a trial, so that it is paid at once.

    Args:
        current: The subscription as it is.
        plan: What it is to be.
        way: Which way the plan alone goes.
        beside: What changes beside the plan.
    """
    if current.record.status != "trialing" or current.item is None:
        return False
    if way != "upgrade" and beside.quantity <= current.item.quantity and not beside.added:
        return False
    trial = plan.terms.trial
    return trial is None or current.facts.started_at + trial.days * _DAY_S < current.item.period_ends_at
