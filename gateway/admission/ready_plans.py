"""Which plans are kept ready: those of one policy, one for each key and route, and no more than are allowed for."""

from __future__ import annotations

from gateway.admission.attempt import Attempt, PolicySource
from gateway.admission.ready import Ready
from gateway.admission.snapshots import Snapshots
from gateway.core.policy import Policy
from gateway.leasing import Leasing


class ReadyPlans:
    """The ready plans of one worker.

    Args:
        policy: Only plans of the policy in force are kept.
        snapshots: Only plans of an account that is still held are kept.
        entries: How many are kept; the oldest is the first to go.
        leasing: Names who may have leases. None: nothing is leased.
    """

    def __init__(self, policy: PolicySource, snapshots: Snapshots, entries: int, leasing: Leasing | None) -> None:
        self.by_call: dict[tuple[bytes, int], Ready] = {}
        """By the key as it is sent, and the id of the route. Always the same dictionary: who looks there holds it."""
        self._policy = policy
        self._snapshots = snapshots
        self._entries = entries
        self._leasing = leasing
        self._under: Policy | None = None
        """The policy of all of them; their keys hold ids of its routes."""

    def keep(self, attempt: Attempt, presented: bytes) -> None:
        """Remember what was decided, unless it depends on more than key and route."""
        account, plan = attempt.account, attempt.plan
        if account is None or plan is None or plan.key.scopes or plan.key.allow or attempt.is_repeat:
            return
        if plan.route.is_priced:
            return
        if attempt.policy is not self._under:
            if attempt.policy is not self._policy.current:
                return
            self.by_call.clear()
            self._under = attempt.policy
        if len(self.by_call) >= self._entries:
            self.by_call.pop(next(iter(self.by_call)))
        held = self._snapshots.find(account.customer_id)
        if held is None or held.account is not account:
            return  # another call has just brought a newer one
        lessee = self._leasing.lessee(account, plan) if self._leasing is not None else None
        attempt.ready = self.by_call[presented, id(attempt.route)] = Ready(attempt.policy, held, plan, lessee)
