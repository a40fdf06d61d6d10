"""What a change does to a trial that runs.

A trial is given for what was chosen at the checkout. Taking more for nothing is not part of it: a higher plan, more
seats or another add-on is paid from the moment it is had. Only where a checkout would sell just that with a trial on
the same terms does this one go on: the plan has a trial, which lasts as long, and asks for nothing to charge that is
not there. Seats and add-ons that a plan is sold with are tried with it, so more of them is no end of its own trial.
"""

from __future__ import annotations

from gateway.billing import PaymentMeans
from gateway.core.candidate import Candidate
from gateway.core.policy import Plan
from gateway.core.switching import Direction
from gateway.sync.extras import ExtrasChange

_DAY_S = 86_400


def ends_trial(
    current: Candidate, plan: Plan, way: Direction, beside: ExtrasChange, means: PaymentMeans | None
) -> bool:
    """Whether a change that is made now ends a trial, so that it is paid at once.

    Args:
        current: The subscription as it is.
        plan: What it is to be.
        way: Which way the plan alone goes.
        beside: What changes beside the plan.
        means: What it is paid with.
    """
    if current.record.status != "trialing" or current.item is None:
        return False
    if way != "upgrade" and beside.quantity <= current.item.quantity and not beside.added:
        return False
    trial = plan.terms.trial
    if trial is None or (trial.without_card is None and (means is None or means.kind is None)):
        return True
    return current.facts.started_at + trial.days * _DAY_S < current.item.period_ends_at
