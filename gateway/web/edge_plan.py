"""What the edge makes once of a plan and uses on every call of it: field lines, facts, counts."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import quote

from msgspec.structs import replace

from gateway.admission import Attempt
from gateway.cache import charge_answer
from gateway.core.allowance import overage_words
from gateway.core.charge import Charged, ConcurrencyClaim, QuotaClaim
from gateway.core.forward_rules import effective_max_body, effective_timeouts
from gateway.core.pricing import most_body_bytes
from gateway.core.ratelimit_fields import overage_name, policy_field, shifted
from gateway.core.upstream_policy import ForwardTimeouts
from gateway.explaining import ADMITTED, REPEATED, Facts, LimitSeen
from gateway.upstream import READ_ON_S, UpstreamTimeouts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.core.account import Account
    from gateway.core.charge import LimitState
    from gateway.core.planned import Plan, PlannedLimit
    from gateway.core.policy import Policy
    from gateway.core.route import Route
    from gateway.tallies import Tally
    from gateway.telemetry import Count
    from gateway.web.runtime import Runtime


NOTHING_TOLD: Mapping[str, int] = MappingProxyType({})


class EdgePlan:
    """Of one key on one route.

    Args:
        runtime: The opened parts.
        attempt: Admitted.
    """

    __slots__ = (
        "_claims",
        "_has_credits",
        "_limits",
        "_state_format",
        "admitted",
        "asks_trailers",
        "billed",
        "facts",
        "fields",
        "identity",
        "max_body",
        "overages",
        "policy_lines",
        "settle",
        "tally",
        "timeouts",
        "warning_lines",
    )

    def __init__(self, runtime: Runtime, attempt: Attempt) -> None:
        account, plan = attempt.account, attempt.plan
        if account is None or plan is None:
            raise AssertionError("an admitted attempt has a plan")
        self.facts = facts_of(attempt.policy, account, plan, attempt.route)
        verdict = REPEATED if attempt.is_repeat else ADMITTED
        self.admitted: Count = runtime.metrics.decided(self.facts.route or "-", plan.tier.name, verdict)
        self.tally: Tally = runtime.tallies.tally(account, plan, is_charged=not attempt.is_repeat)
        self.identity = identity_fields(account, plan)
        """Who calls, for the upstream; without what differs from call to call."""
        self.fields = [b"%b: %b" % field for field in self.identity]
        """The same, as lines."""
        self.max_body = effective_max_body(plan.route.forward, plan.tier.forward, runtime.settings.max_body_bytes)
        reserved = most_body_bytes(plan.route.settle) if plan.route.settle else None
        if reserved is not None:
            self.max_body = min(self.max_body, reserved)
        self.timeouts = timeouts_of(runtime, attempt)
        """What policy says of the exchange; None: nothing beside the settings."""
        self.policy_lines = [b"ratelimit-policy: " + policy_field(plan.limits)] if plan.limits else []
        warning = plan.access.warning
        self.warning_lines = [b"tiergate-warning: " + warning.encode()] if warning is not None else []
        self.billed = plan.route.billable.statuses
        """Of which responses the charge stays."""
        if attempt.is_repeat:
            self.warning_lines.append(b"tiergate-repeat: ?1")
        self.settle = plan.route.settle
        """How the real cost is learnt; empty: it is known."""
        self.asks_trailers = any(rule.source == "response header" for rule in plan.route.settle)
        """Whether the upstream is told that a trailer field would be read: it may tell the cost there."""
        self._claims = plan.claims
        self._limits = plan.limits
        self._has_credits = len(self._claims) > len(self._limits)
        self._state_format = b"ratelimit: " + b", ".join(
            (b'"%b";r=%%d' if isinstance(limit.claim, ConcurrencyClaim) else b'"%b";r=%%d;t=%%d') % name.encode()
            for limit in plan.limits
            for name in ((limit.name, overage_name(limit)) if limit.has_overage else (limit.name,))
        )
        self.overages = _overage_lines(plan)
        """Of each limit that may be exceeded: where its state stands, and what is told when it is. Mostly empty."""

    def states(self, reply: list[int]) -> list[int]:
        """Of each limit after a charge: what remains, milliseconds until its reset, and 1.

        Args:
            reply: What the charge script answered: what was owed of each before.
        """
        if self._has_credits:
            answer = charge_answer(self._claims, reply)
            return _flat(answer.states, self._limits) if isinstance(answer, Charged) else []
        values: list[int] = []
        at = 1
        for claim in self._claims:
            at += 1
            owed = reply[at]
            if isinstance(claim, QuotaClaim):
                values += (claim.limit - owed - claim.cost, claim.ends_at * 1000 - reply[1], 1)
            elif isinstance(claim, ConcurrencyClaim):
                values += (claim.limit - owed - 1, 0, 1)
            else:
                width = claim.window_ms
                debt = owed + claim.cost * width
                values += (claim.burst - -(-debt // width), -(-debt // claim.units), 1)
        return values

    def warnings(self, states: Sequence[int]) -> list[bytes]:
        """Lines that tell a caller which quotas it exceeds."""
        return [line for at, line in self.overages if states[at] == 0]

    def state_line(self, states: Sequence[int], status: int, told: Mapping[str, int] = NOTHING_TOLD) -> bytes:
        """The RateLimit field of a response; of one that is not billed, as after the refund.

        Args:
            states: After the charge.
            status: Of the response.
            told: Units by meter that the response says it cost: shown as after the settlement.
        """
        shown: list[int] = []
        returns = status not in self.billed
        at = 0
        for limit in self._limits:
            left = states[at]
            claim = limit.claim
            if returns and isinstance(claim, QuotaClaim):
                left = min(left + claim.cost, limit.quota)
            elif told and isinstance(claim, QuotaClaim):  # no repeat: a route that settles has none
                cost = told.get(limit.meter, claim.cost)
                left = min(max(0, left + claim.cost - cost), limit.quota)
            if limit.allowance is not None and limit.has_overage:
                left, beyond = shifted(limit, states[at], states[at + 3], left - states[at])
                reset = -(-states[at + 1] // 1000)
                shown += (left, reset, beyond, reset)
                at += 6
                continue
            shown.append(left)
            if not isinstance(claim, ConcurrencyClaim):
                shown.append(-(-states[at + 1] // 1000))
            at += 3
        return self._state_format % tuple(shown)


def timeouts_of(runtime: Runtime, attempt: Attempt) -> UpstreamTimeouts | None:
    """What the route or the tier says; None: nothing, the group's own hold."""
    settings = runtime.settings
    defaults = ForwardTimeouts(
        connect_s=settings.upstream_connect_timeout_s,
        first_byte_s=settings.upstream_first_byte_timeout_s,
        idle_s=settings.upstream_idle_timeout_s,
        total_s=settings.upstream_total_timeout_s,
        read_on_s=READ_ON_S,
    )
    route, plan = attempt.route, attempt.plan
    by_route = route.forward if route is not None else None
    said = effective_timeouts(by_route, plan.tier.forward if plan is not None else None, defaults)
    if said is defaults:
        return None
    return UpstreamTimeouts(
        connect_s=said.connect_s or 0.0,
        first_byte_s=said.first_byte_s or 0.0,
        idle_s=said.idle_s or 0.0,
        total_s=said.total_s or None,
        read_on_s=said.read_on_s or 0.0,
    )


def edge_plan(runtime: Runtime, attempt: Attempt) -> EdgePlan:
    """The one of an admitted attempt, made at the first of its kind."""
    ready = attempt.ready
    if ready is None:
        return EdgePlan(runtime, attempt)
    if not isinstance(ready.edge, EdgePlan):
        ready.edge = EdgePlan(runtime, attempt)
    return ready.edge


def identity_fields(account: Account, plan: Plan) -> list[tuple[bytes, bytes]]:
    """Who is calling. Whatever the caller sent under these names has been dropped."""
    fields = [
        (b"x-tiergate-customer", account.customer_id.encode()),
        (b"x-tiergate-user", quote(account.user_id, safe="@:+,=._-/ ").encode()),
        (b"x-tiergate-tier", plan.tier.name.encode()),
        (b"x-tiergate-key", plan.key.key_id.encode()),
    ]
    if plan.access.plan_id is not None:
        fields.append((b"x-tiergate-plan", plan.access.plan_id.encode()))
    return fields


def facts_of(policy: Policy, account: Account | None, plan: Plan | None, route: Route | None) -> Facts:
    """What is known of a decision, beside the call itself."""
    facts = Facts(policy_hash=policy.policy_hash, route=route.pattern if route is not None else None)
    if account is None:
        return facts
    facts = replace(facts, customer_id=account.customer_id, user_id=account.user_id, account_version=account.version)
    if plan is None:
        return facts
    return replace(
        facts,
        key_id=plan.key.key_id,
        key_last4=plan.key.last4,
        tier=plan.tier.name,
        plan=plan.access.plan_id,
        standing=plan.access.standing,
        warning=plan.access.warning,
        limits=tuple(seen for limit in plan.limits for seen in _seen(limit)),
    )


def states_of(attempt: Attempt) -> list[int]:
    """As `EdgePlan.states`, of an attempt that was refused by its limits."""
    return _flat(attempt.states, () if attempt.plan is None else attempt.plan.limits)


def _flat(states: Sequence[LimitState], limits: Sequence[PlannedLimit]) -> list[int]:
    """Three numbers of each; of a limit with overage, three of what is included and three of what is beyond."""
    values: list[int] = []
    for state, limit in zip(states, limits, strict=False):  # none, where no limit was asked
        if limit.has_overage:
            values += (state.remaining - state.last, state.reset_ms, int(state.allowed))
            values += (state.last, state.reset_ms, int(state.allowed))
        else:
            values += (state.remaining, state.reset_ms, int(state.allowed))
    return values


def _seen(limit: PlannedLimit) -> list[LimitSeen]:
    beyond = limit.overage_units if limit.has_overage else 0
    first = LimitSeen(name=limit.name, quota=limit.quota - beyond, window_s=limit.window_s, cost=limit.claim.cost)
    if not beyond:
        return [first]
    return [first, LimitSeen(name=overage_name(limit), quota=beyond, window_s=limit.window_s, cost=0)]


def _overage_lines(plan: Plan) -> list[tuple[int, bytes]]:
    lines, at = [], 0
    for limit in plan.limits:
        if limit.has_overage and limit.allowance is not None:
            lines.append((at, b"tiergate-warning: " + overage_words(limit.meter, limit.allowance).encode()))
            at += 3
        at += 3
    return lines
