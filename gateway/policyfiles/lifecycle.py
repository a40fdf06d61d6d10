"""`lifecycle:`: what each state of a subscription does to access.

A line says how long the tier is kept and what comes then. Every state has a default, so the
section may be left out:

| state | default |
|---|---|
| active, trialing | keep |
| past_due | keep 7d, then the default tier, or 402 `payment-required` |
| unpaid, paused | 402 `payment-required` |
| incomplete, incomplete_expired, canceled, customer_deleted, none | the default tier, or 402 `subscription-required` |
| unreadable (a status or price we do not know) | keep 24h, then the default tier, or 402 |

Some lines hold beside a state; of all that apply the lowest tier counts:

| line | default |
|---|---|
| disputed (a payment is) | keep, also written `flag`; `refuse` is 403 `account-suspended` |
| dispute_lost (the payment of this period, to its bank) | keep; `refuse` is 403 `account-suspended` |
| first_payment_pending (a transfer that takes days, or that failed) | the default tier, or 402 `payment-required` |
| pause_collection, pause_collection_void (invoices are not collected; not even made) | keep |
| pending_update (a change waits for its payment) | keep: the old plan |
| refunded (the payment of this period, all of it) | keep; `refuse` is 402 `payment-required` |
| blocked (an operator blocked the customer) | 403 `account-suspended`; `keep`, or `flag`, only warns |

A tier is kept for a time from when the state was first seen, or Stripe says that it began.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.lifecycle import BLOCKED, DISPUTE_LOST, DISPUTED, LIFECYCLE_ROWS
from gateway.core.limit_text import LimitInvalid, parse_duration_s
from gateway.core.policy import Standing
from gateway.policyfiles.document import Text
from gateway.policyfiles.faults import Caution
from gateway.policyfiles.shapes import as_fields, as_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog, Place
    from gateway.policyfiles.plans import PlanDraft

_DAY_S = 86_400
_LONGEST_KEEP_S = 366 * _DAY_S
_PAYS_NOTHING = {
    "none": "who never bought anything",
    "incomplete": "whose first payment is not made",
    "incomplete_expired": "whose first payment was never made",
    "canceled": "whose subscription has ended",
    "customer_deleted": "whom Stripe does not have any more",
    "past_due": "whose renewal is not paid, when its grace is over",
    "unpaid": "whose payments have failed",
    "paused": "whose trial ended without a means of payment",
    "unreadable": "whose status or price is not understood, when its time is over",
}
"""States whose fallback is had without a payment. What holds beside a state only lowers."""
_FLAGGABLE = frozenset({DISPUTED, BLOCKED})
"""Rows whose `keep` may be written `flag`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """The default of one state, and what a line may change about it."""

    keep_s: int | None = 0
    falls_back: bool = True
    """By default to the default tier, if there is one; else refuse."""
    refusal: str = "subscription-required"
    may_keep_always: bool = False
    may_keep_for_a_time: bool = False


def _beside(refusal: str, *, keep_s: int | None = None, falls_back: bool = True) -> _Row:
    """A line that holds beside a state."""
    return _Row(keep_s=keep_s, falls_back=falls_back, refusal=refusal, may_keep_always=True, may_keep_for_a_time=True)


_NOTHING_BOUGHT = _Row()
_ROWS = {
    "active": _Row(keep_s=None, may_keep_always=True),
    "trialing": _Row(keep_s=None, may_keep_always=True),
    "past_due": _Row(keep_s=7 * _DAY_S, refusal="payment-required", may_keep_always=True, may_keep_for_a_time=True),
    "unpaid": _Row(falls_back=False, refusal="payment-required", may_keep_always=True, may_keep_for_a_time=True),
    "paused": _Row(falls_back=False, refusal="payment-required", may_keep_always=True, may_keep_for_a_time=True),
    "incomplete": _NOTHING_BOUGHT,
    "incomplete_expired": _NOTHING_BOUGHT,
    "canceled": _Row(may_keep_for_a_time=True),
    "none": _NOTHING_BOUGHT,
    "customer_deleted": _Row(may_keep_for_a_time=True),
    "unreadable": _Row(keep_s=_DAY_S, may_keep_for_a_time=True),
    "dispute_lost": _beside("account-suspended", falls_back=False),
    "disputed": _beside("account-suspended", falls_back=False),
    "first_payment_pending": _beside("payment-required", keep_s=0),
    "pause_collection": _beside("payment-required"),
    "pause_collection_void": _beside("payment-required"),
    "pending_update": _beside("payment-required"),
    "refunded": _beside("payment-required"),
    "blocked": _Row(falls_back=False, refusal="account-suspended", may_keep_always=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingDraft:
    """A line as written."""

    keep_s: int | None
    then: Text | None
    """A tier's name or `refuse`; None: the state's default."""
    place: Place


def read_lifecycle(entries: Sequence[tuple[Text, Node]], faults: FaultLog) -> dict[str, StandingDraft]:
    """The lines that were written, by state."""
    drafts: dict[str, StandingDraft] = {}
    for key, node in entries:
        if key.value not in _ROWS:
            message = f"{key.value[:40]!r} is not a state of a subscription"
            faults.add_unknown(key.place, message, key.value, LIFECYCLE_ROWS)
        else:
            draft = _read_line(key, node, faults)
            if draft is not None:
                drafts[key.value] = draft
    return drafts


def complete_lifecycle(drafts: dict[str, StandingDraft], default_tier: str | None) -> dict[str, Standing]:
    """Every state, with the defaults for what was not written."""
    return {state: _standing(_ROWS[state], drafts.get(state), default_tier) for state in LIFECYCLE_ROWS}


def check_lifecycle(drafts: dict[str, StandingDraft], tiers: Collection[str], faults: FaultLog) -> None:
    """Refuse lines that fall back to a tier that is not there."""
    for draft in drafts.values():
        then = draft.then
        if then is not None and then.value != "refuse" and then.value not in tiers:
            message = f"there is no tier {then.value[:40]!r}: write a tier's name or 'refuse'"
            faults.add_unknown(then.place, message, then.value, [*tiers, "refuse"])


def find_gifts(
    drafts: Mapping[str, StandingDraft], default_tier: str | None, tiers: Collection[str], plans: Iterable[PlanDraft]
) -> list[Caution]:
    """Lines that give for nothing what is sold: a fallback above the default tier that is, or ranks above, a plan's.

    Args:
        drafts: As written.
        default_tier: What is had without paying anyway.
        tiers: Their names, lowest first.
        plans: What is sold.
    """
    ranks = {name: rank for rank, name in enumerate(tiers)}
    free = -1 if default_tier is None else ranks[default_tier]
    paid = [plan for plan in plans if ranks[plan.tier.value] > free]
    cheapest = min(paid, key=lambda plan: ranks[plan.tier.value], default=None)
    if cheapest is None:
        return []
    instead = "'refuse'" if default_tier is None else f"{default_tier!r} or 'refuse'"
    return [
        Caution(
            file=then.place.file,
            line=then.place.line,
            column=then.place.column,
            source_line=then.place.source_line,
            message=f"lifecycle {state!r} gives the tier {then.value!r} for nothing to everybody"
            f" {_PAYS_NOTHING[state]}, and the plan {cheapest.name.value!r} sells {cheapest.tier.value!r}: write"
            f" {instead} unless that is meant",
        )
        for state, draft in drafts.items()
        if state in _PAYS_NOTHING
        and (then := draft.then) is not None
        and then.value in ranks
        and ranks[then.value] >= ranks[cheapest.tier.value]
    ]


def find_kinder_losses(drafts: Mapping[str, StandingDraft]) -> list[Caution]:
    """A dispute that lowers access while it is open, and no more once it is lost, when the money is gone."""
    disputed, lost = drafts.get(DISPUTED), drafts.get(DISPUTE_LOST)
    if disputed is None or disputed.keep_s is None or (lost is not None and lost.keep_s is not None):
        return []
    place = disputed.place if lost is None else lost.place
    return [
        Caution(
            file=place.file,
            line=place.line,
            column=place.column,
            source_line=place.source_line,
            message="whom lifecycle 'disputed' lowers has its tier back once you have lost the dispute: write "
            "'dispute_lost' with a tier's name or 'refuse' unless that is meant",
        )
    ]


def _standing(row: _Row, draft: StandingDraft | None, default_tier: str | None) -> Standing:
    fallback = default_tier if row.falls_back else None
    if draft is None:
        then = None if row.keep_s is None else fallback
        return Standing(keep_s=row.keep_s, then=then, refusal=row.refusal)
    if draft.then is None:
        then = None if draft.keep_s is None else fallback
    else:
        then = None if draft.then.value == "refuse" else draft.then.value
    return Standing(keep_s=draft.keep_s, then=then, refusal=row.refusal)


def _read_line(key: Text, node: Node, faults: FaultLog) -> StandingDraft | None:
    state = key.value
    if isinstance(node, Text) and not node.is_empty:
        if node.value == "keep" or (node.value == "flag" and state in _FLAGGABLE):
            return _checked(key, node, None, None, faults)
        return _checked(key, node, 0, node, faults)
    fields = as_fields(node, f"lifecycle {state!r}", faults, known=("keep", "then"))
    keep = as_text(fields["keep"], "'keep'", faults) if "keep" in fields else None
    then = as_text(fields["then"], "'then'", faults) if "then" in fields else None
    if keep is None and then is None:
        if not fields:
            faults.add(key.place, f"lifecycle {state!r} says nothing: write '{{keep: 7d, then: free}}' or 'refuse'")
        return None
    if keep is None:
        return _checked(key, node, 0, then, faults)
    if keep.value == "always":
        if then is not None:
            faults.add(then.place, "'then' never happens after 'keep: always'")
        return _checked(key, keep, None, None, faults)
    keep_s = _read_keep(keep, faults)
    return None if keep_s is None else _checked(key, keep, keep_s, then, faults)


def _read_keep(keep: Text, faults: FaultLog) -> int | None:
    try:
        keep_s = parse_duration_s(keep.value)
    except LimitInvalid as error:
        faults.add(keep.place, f"{error}, or 'always'")
        return None
    if keep_s > _LONGEST_KEEP_S:
        faults.add(keep.place, "kept for more than 366 days: write 'always' if that is meant")
        return None
    return keep_s


def _checked(key: Text, at: Node, keep_s: int | None, then: Text | None, faults: FaultLog) -> StandingDraft | None:
    """Refuse what cannot be kept as a promise."""
    row, state = _ROWS[key.value], key.value
    if state == "active" and keep_s is not None:
        faults.add(at.place, "an active subscription is paid for: its tier is always kept")
    elif keep_s is None and not row.may_keep_always:
        reason = "what it granted is unknown" if state == "unreadable" else "no tier is paid for then"
        faults.add(at.place, f"{state!r} cannot keep its tier for ever: {reason}")
    elif keep_s and not row.may_keep_for_a_time:
        others = "'keep: always', " if row.may_keep_always else ""
        reason = "a block holds until it is lifted" if state == BLOCKED else "nothing was bought that could end"
        faults.add(
            at.place,
            f"{state!r} cannot keep its tier for a time: {reason}; write {others}a tier's name or 'refuse'",
        )
    else:
        return StandingDraft(keep_s=keep_s, then=then, place=key.place)
    return None
