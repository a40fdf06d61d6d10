"""What becomes of a change of plan, and why one cannot be made."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.billing import ChangePreview, ChangeResult
from gateway.core.errors import Denied, TiergateError
from gateway.core.switching import Direction, When

_LONGEST_ECHO = 80


class UnknownPlan(TiergateError):
    """Policy sells no plan of that name."""

    code = "unknown-plan"


def no_plan_words(plan_id: str | None) -> str:
    """That there is none of that name, which is not repeated at length."""
    return f"There is no plan {plan_id[:_LONGEST_ECHO]!r}." if plan_id else "No plan was chosen."


class NoSubscription(TiergateError):
    """There is no running subscription that could be changed."""

    code = "no-subscription"


class SubscriptionEnding(TiergateError):
    """The subscription is set to end, so there is no next invoice that a change could be settled on."""

    code = "subscription-ending"


class SubscriptionScheduled(Denied):
    """Somebody else planned what becomes of the subscription: the seller, or the customer in Stripe's portal."""

    code = "subscription-scheduled"


class ChangePlanned(Denied):
    """What is asked for beside the plan would take the place of a change to another plan, which it does not name."""

    code = "change-planned"


class CollectionPaused(Denied):
    """The seller has paused the payments of the subscription, so nothing more of it is sold."""

    code = "collection-paused"


class IntervalsDiffer(Denied):
    """The items of the subscription renew at different times: somebody else made it so, and no change of ours fits."""

    code = "intervals-differ"


class PortalCannotChange(Denied):
    """Stripe's portal changes no subscription of several items; we do."""

    code = "portal-cannot-change"


class ChangeTimeRefused(Denied):
    """Policy does not let a change that goes this way take effect then."""

    code = "change-time-refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChanged:
    """What became of a change, and what we know now."""

    plan_id: str
    result: ChangeResult
    when: When
    takes_effect_at: int
    """Unix seconds. Of a change that waits for a payment: when it was asked for."""
    is_recorded: bool
    """Whether the ledger knows already; if not, Stripe's event brings it within seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPreview:
    """What a change would do."""

    plan_id: str
    direction: Direction
    when: When
    allowed: tuple[When, ...]
    """When policy lets such a change take effect, the usual first."""
    takes_effect_at: int
    cost: ChangePreview
