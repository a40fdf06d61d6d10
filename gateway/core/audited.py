"""What the audit log says of access before and after a change: of one customer, or of a policy. Pure."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from gateway.core.access import decide_access

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gateway.core.account import Account
    from gateway.core.policy import Policy

AuditedAccess: TypeAlias = "dict[str, str | int | None]"
Assess: TypeAlias = "Callable[[Account], AuditedAccess]"
"""What an account grants, by one policy at one instant."""


def assess_by(policy: Policy, now: float) -> Assess:
    """The judgement of accounts under a policy, for changes that are recorded at `now`."""
    return partial(_audited, policy, now)


def _audited(policy: Policy, now: float, account: Account) -> AuditedAccess:
    access = decide_access(account, policy, now)
    return {
        "tier": None if access.tier is None else access.tier.name,
        "standing": access.standing,
        "plan_id": access.plan_id,
        "refusal": access.refusal,
        "until": access.grace_until,
        "policy": policy.policy_hash,
    }


def policy_facts(policy: Policy) -> dict[str, Any]:
    """What access hangs on in a policy, and its hash as `policy`: an edit of it moves tiers without any event."""
    return {
        "policy": policy.policy_hash,
        "default_tier": policy.default_tier,
        "tiers": sorted(policy.tiers),
        "plans": {plan_id: plan.tier for plan_id, plan in sorted(policy.plans.items())},
        "lifecycle": {
            row: {"keep_s": line.keep_s, "then": line.then, "refusal": line.refusal}
            for row, line in sorted(policy.lifecycle.items())
        },
    }
