"""What a customer may do: the answer of `core.access.decide_access`, which others raise, show and compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from gateway.core.policy import Tier

StandingName = Literal["good", "grace", "lapsed", "suspended", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a customer may do now. Either `tier` or `refusal` is set."""

    tier: Tier | None
    """With the quotas of this window, where a change of plan moved them (`core.plan_change`)."""
    standing: StandingName
    refusal: str | None = None
    """Problem code: `payment-required`, `subscription-required` or `account-suspended`."""
    warning: str | None = None
    """One sentence for the caller about its standing, plain ASCII without quotes or line ends."""
    plan_id: str | None = None
    """The plan that grants `tier`, or that a tier granted by hand is above; None when the tier is a fallback."""
    grace_until: int | None = None
    """Unix seconds at which this access ends without any event; None: not by itself."""
    beneath_until: int | None = None
    """Unix seconds at which something beneath ends that this access hides: a grace under a granted tier, say."""

    @property
    def decided_until(self) -> int | None:
        """Unix seconds from which on it has to be decided anew; None: until the account or policy changes."""
        return earlier(self.grace_until, self.beneath_until)


def earlier(one: int | None, other: int | None) -> int | None:
    """The earlier of two instants, where None is never."""
    return min((instant for instant in (one, other) if instant is not None), default=None)
