"""Since when the policy in force has no plan for what a record is of. Pure.

Policy says what it sells, and not since when it has stopped to sell something. So the instant at which it was first
seen to lack the plan of a record is written into the record (`unreadable_since`), and taken out once it has the plan
again. A read of Stripe that can make nothing of the price either keeps the instant: no time is had twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.core.lifecycle import ENDED, KNOWN_STATUSES
from gateway.core.plan_map import kept_plan, named, plan_of_record

if TYPE_CHECKING:
    from gateway.core.account import Subscription
    from gateway.core.policy import Policy


def held_against(record: Subscription, policy: Policy, now: int, *, takes_out: bool = True) -> Subscription:
    """The record, and those beneath it, with what policy says of its plan: what it is sold as, or since when it lacks.

    To be asked again changes nothing, and what only a read of Stripe explains stays as it is.

    Args:
        record: As it is recorded.
        policy: In force.
        now: Unix seconds.
        takes_out: Whether a plan that policy has is taken for one that came back. False: an instant stays, though it
            holds nothing up.
    """
    named_now = named(record, policy)
    since = _missing_since(named_now, policy, now)
    return replace(
        named_now,
        unreadable_since=named_now.unreadable_since if since is None and not takes_out else since,
        beneath=None if record.beneath is None else held_against(record.beneath, policy, now, takes_out=takes_out),
    )


def needs_read(record: Subscription, policy: Policy) -> bool:
    """Whether nothing says what its plan granted, and Stripe was not asked since the plan went."""
    return _was_mapped(record) and record.unreadable_since is None and _is_unexplained(record, policy)


def missing_plan(record: Subscription, policy: Policy) -> str | None:
    """The plan that it is of and that policy has under no name; None: policy has it, or it is over or of none."""
    return record.plan_id if _was_mapped(record) and plan_of_record(record, policy) is None else None


def _missing_since(record: Subscription, policy: Policy, now: int) -> int | None:
    if not _was_mapped(record) or needs_read(record, policy):
        return record.unreadable_since
    if plan_of_record(record, policy) is not None:
        return None
    return now if record.unreadable_since is None else record.unreadable_since


def _was_mapped(record: Subscription) -> bool:
    """Whether the last read of Stripe found a plan for it, and the plan is all that may be missing."""
    return record.plan_id is not None and record.status in KNOWN_STATUSES and record.status not in ENDED


def _is_unexplained(record: Subscription, policy: Policy) -> bool:
    return plan_of_record(record, policy) is None and kept_plan(record, policy) is None
