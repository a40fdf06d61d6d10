"""What a seller may decide about each state of a subscription, told for the policy file and for who judges by it.

A town lives under one of `LAWS`; its seed says which. A rule is written once here and goes two ways: as a line of
`lifecycle:` into the gateway's policy, and to `truth`, which says without the gateway what follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DAY_S = 86_400
FREE, REFUSE = "free", "refuse"
REFUSED, SUSPENDED = "refused: payment-required", "refused: account-suspended"
UNSUBSCRIBED = "refused: subscription-required"
DISPUTED, PENDING = "disputed", "pending_update"
PAUSED, VOIDED = "pause_collection", "pause_collection_void"
UNPAID, NEVER_PAID, UNREADABLE = "unpaid", "first_payment_pending", "unreadable"
LOST, REFUNDED = "dispute_lost", "refunded"
_REFUSALS = {
    **dict.fromkeys(("past_due", UNPAID, "paused", NEVER_PAID, PAUSED, VOIDED, PENDING, REFUNDED), REFUSED),
    **dict.fromkeys((DISPUTED, LOST), SUSPENDED),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A tier is kept for `keep_s` seconds, or for good (None); then there is a tier, or nothing."""

    keep_s: int | None = 0
    then: str = FREE


KEEP, AT_ONCE = Rule(keep_s=None), Rule(then=REFUSE)
_UNWRITTEN = {
    **dict.fromkeys(("active", "trialing", DISPUTED, PAUSED, VOIDED, PENDING, LOST, REFUNDED), KEEP),
    **dict.fromkeys((UNPAID, "paused"), AT_ONCE),
    "past_due": Rule(keep_s=7 * DAY_S),
    UNREADABLE: Rule(keep_s=DAY_S),
}
"""Of any other state: the free tier at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A policy, as far as states are concerned."""

    name: str
    default: str | None = FREE
    """The tier of who has none; None: such a call is refused."""
    switching: str = ""
    """When a change of plan takes effect, and what is paid for it, as the policy says it; empty: as it is shipped."""
    entitles: bool = False
    """Whether features count that Stripe entitles to."""
    written: Mapping[str, Rule] = field(default_factory=dict)

    def rule(self, row: str) -> Rule:
        """What a state, or something beside it, does."""
        return self.written.get(row) or _UNWRITTEN.get(row) or Rule()

    def then(self, row: str) -> str:
        """What is answered once nothing is kept any more: a tier, or a refusal."""
        then = self.rule(row).then
        if then == REFUSE or (then == FREE and self.default is None):
            return _REFUSALS.get(row, UNSUBSCRIBED)
        return then

    @property
    def lines(self) -> str:
        """For the policy file."""
        default = "" if self.default is None else f"default_tier: {self.default}\n"
        rules = "".join(f"  {row}: {_line(rule)}\n" for row, rule in self.written.items())
        switching = self.switching and f"switching: {self.switching}\n"
        return default + switching + (f"lifecycle:\n{rules}" if rules else "")


def _line(rule: Rule) -> str:
    if rule.keep_s is None:
        return "keep"
    return rule.then if rule.keep_s == 0 else f"{{keep: {rule.keep_s // DAY_S}d, then: {rule.then}}}"


SHIPPED = Law(name="shipped")
STRICT = Law(
    name="strict",
    default=None,
    written={
        "past_due": AT_ONCE,
        UNPAID: Rule(keep_s=4 * DAY_S, then=REFUSE),
        UNREADABLE: Rule(keep_s=3 * DAY_S, then=REFUSE),
        DISPUTED: AT_ONCE,
        PAUSED: AT_ONCE,
        VOIDED: AT_ONCE,
        PENDING: Rule(then="pro"),
    },
)
LENIENT = Law(
    name="lenient",
    switching="{upgrade: now or at period end, downgrade: at period end}",
    entitles=True,
    written={
        "past_due": KEEP,
        UNPAID: KEEP,
        "paused": KEEP,
        "canceled": Rule(keep_s=3 * DAY_S),
        DISPUTED: KEEP,
        NEVER_PAID: Rule(keep_s=2 * DAY_S),
        REFUNDED: Rule(),
    },
)
DEGRADING = Law(
    name="degrading",
    switching="{downgrade: at period end or now, proration: now}",
    written={
        "past_due": Rule(keep_s=2 * DAY_S),
        UNPAID: Rule(keep_s=9 * DAY_S, then="pro"),
        UNREADABLE: AT_ONCE,
        "canceled": AT_ONCE,
        DISPUTED: Rule(keep_s=2 * DAY_S, then=REFUSE),
        LOST: AT_ONCE,
        REFUNDED: Rule(keep_s=2 * DAY_S),
        PAUSED: Rule(keep_s=3 * DAY_S),
        VOIDED: Rule(),
        PENDING: AT_ONCE,
    },
)
LAWS = (DEGRADING, SHIPPED, STRICT, LENIENT)


def law_of(number: int) -> Law:
    """Of the town with this seed."""
    return LAWS[number % len(LAWS)]
