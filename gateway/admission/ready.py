"""What is made once of a key on a route and used for every call of it: the plan, and the charge that goes with it."""

from __future__ import annotations

from math import inf

from gateway.cache import prepare_charge
from gateway.core.charge import ChargeRequest, QuotaClaim
from gateway.core.planned import Plan
from gateway.core.policy import Policy
from gateway.leasing import Lessee
from gateway.outages import Held


class Ready:
    """A plan, and the charge that goes with it, good until something they were made of changes.

    One for each key and route. The charge script refuses it when the account has changed; a policy edit and
    an instant (a window's end, a grace period's, a key's expiry) are looked at in `Admission.admit`.

    Args:
        policy: Under which the plan was made.
        held: The account of which it was made, as this worker holds it.
        plan: Of any call of the key on the route.
        lessee: Who may have a lease of it. None: each call is charged by itself.
    """

    __slots__ = ("account", "command", "edge", "held", "lessee", "plan", "policy", "until")

    def __init__(self, policy: Policy, held: Held, plan: Plan, lessee: Lessee | None) -> None:
        self.policy = policy
        self.held = held
        self.account = held.account
        self.plan = plan
        self.command = self.command_at(0)
        """The packed charge, for the cache server's own clock."""
        self.until = _holds_until(plan)
        """Unix seconds."""
        self.edge: object = None
        """Whatever else is made once of this plan. The edge's."""
        self.lessee = lessee

    def command_at(self, now_ms: int) -> bytes:
        """The packed charge, for an instant; 0: the cache server's own clock."""
        account = self.account
        return prepare_charge(
            ChargeRequest(
                customer_id=account.customer_id, version=account.version, claims=self.plan.claims, now_ms=now_ms
            )
        )


def _holds_until(plan: Plan) -> float:
    """The instant at which a plan has to be made anew although nothing was changed."""
    ends = [float(claim.ends_at) for claim in plan.claims if isinstance(claim, QuotaClaim)]
    ends += [float(end) for end in (plan.access.decided_until, plan.key.expires_at, plan.until) if end is not None]
    return min(ends, default=inf)
