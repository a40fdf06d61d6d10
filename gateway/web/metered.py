"""One metered request, from its arrival to the end of its exchange."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

import structlog

from gateway.admission import Attempt
from gateway.core.cors import call_lines, without_cors
from gateway.core.errors import CapacityReduced, ChargeDenied, Failed, Rejected, TiergateError
from gateway.core.forward_rules import edit_lines
from gateway.core.http_head import pairs_of
from gateway.core.once import ONCE_METHODS, read_once
from gateway.core.outcome import BELOW_500, is_billed
from gateway.core.ratelimit_fields import policy_field, state_field
from gateway.core.settle import counted_rules
from gateway.explaining import Facts, Page, Record, cut
from gateway.upstream import ClientFaulty, ClientLeft, ExchangeBroken, ExchangeCancelled, Outcome, ResponseHead
from gateway.web.decision_line import log_decision
from gateway.web.edge_plan import NOTHING_TOLD, EdgePlan, edge_plan, facts_of, states_of
from gateway.web.measuring import measure_call
from gateway.web.outage_lines import UNCHECKED, UNCHECKED_LINES
from gateway.web.presented_key import presented_key
from gateway.web.sending import date_field, send_problem
from gateway.web.settling import Settling

if TYPE_CHECKING:
    from gateway.core.account import Account
    from gateway.core.planned import Plan
    from gateway.core.upstream_policy import Cors
    from gateway.web.asgi import Headers, Receive, Scope, Send
    from gateway.web.runtime import Runtime
    from gateway.web.websocket_bytes import ByteCharges

log = structlog.get_logger(__name__)

_VARIES = b"vary: authorization, x-api-key"
"""Caches keep answers to Authorization apart by themselves, to a field they do not know only if told (RFC 9111
sections 3.5 and 4.1): without it a cache that may keep an answer would give it to callers without a key."""


class Forwarder(Protocol):
    """What happens to an admitted request."""

    async def __call__(self, metered: Metered, scope: Scope, receive: Receive, send: Send) -> Outcome:
        """Answer the request, and return when the response is complete or the caller has left it.

        Args:
            metered: What is known of it; `on_start` maps the response's head to the field lines to send.

        Raises:
            Failed, Rejected: Nothing was sent, and nobody worked on it; the edge answers with a problem.
            ClientLeft: The caller ended the call before a response; the edge tells a ClientFaulty why.
            ExchangeBroken: The response had begun and cannot be finished.
        """
        ...


class Metered:
    """One request. A single use of `run`.

    Args:
        runtime: The opened parts.
        forward: What happens if it is admitted.
        scope: ASGI's; its headers are checked.
        path: Canonical.
        address: The client's; None if it is not known.
    """

    __slots__ = (
        "_cors",
        "_decided_at",
        "_entered",
        "_facts",
        "_forward",
        "_number",
        "_page",
        "_record",
        "_runtime",
        "_scope",
        "_started_at",
        "_status",
        "attempt",
        "by_minute",
        "plan",
        "request_id",
        "settling",
    )

    def __init__(self, runtime: Runtime, forward: Forwarder, scope: Scope, path: str, address: str | None) -> None:
        self._runtime = runtime
        self._forward = forward
        self._scope = scope
        self._started_at = self._decided_at = time.perf_counter()
        decisions = runtime.decisions
        self._number = decisions.next_number()
        self.attempt = Attempt(
            decisions.id_of(self._number), scope["method"], path, runtime.policy.current, address, self._gate
        )
        self.request_id = ""
        """As a trusted proxy gave it; empty: the decision id is the request's id."""
        self.plan: EdgePlan | None = None
        """Set once it is admitted."""
        self._cors: Cors | None = None
        self._entered: str | None = None
        self.settling: Settling | None = None
        """Set once a response has begun whose cost is settled."""
        self.by_minute: ByteCharges | None = None
        """Of an open WebSocket that is settled by bytes."""
        self._record: Record | None = None
        self._facts: Facts | None = None
        self._page: Page | None = None
        self._status: int | None = None

    async def run(self, receive: Receive, send: Send) -> None:
        """Identify, decide, charge, forward, and give back what is not billed."""
        attempt = self.attempt
        try:
            presented, route = presented_key(self._scope["headers"]), None
            if attempt.policy.has_measures and presented is not None:
                route, receive = await measure_call(self._runtime, attempt, presented, self._scope, receive)
            await self._runtime.admission.admit(attempt, presented, route)
        except TiergateError as error:
            self._refused(error)
            await self._answer(send, error)
            return
        except ClientFaulty as fault:  # before anything was charged
            self._refused(fault.refusal)
            await self._answer(send, fault.refusal)
            return
        except ClientLeft:
            self._ended()
            return
        except BaseException:
            self._leave()
            raise
        try:
            self._admitted()
            await self._exchange(receive, send)
        finally:
            self._ended()

    # Deciding.

    def _gate(self, account: Account, plan: Plan) -> None:
        """Is there room for it? Asked before its body is read or it is charged, and again if its account changed."""
        if self._entered is None:
            self._runtime.load.enter(account.customer_id, plan.tier.rank, len(self.attempt.policy.tiers))
            self._entered = account.customer_id
        terms, attempt = plan.route.once, self.attempt
        if terms is not None and attempt.method in ONCE_METHODS and attempt.once is None:
            scope = self._scope
            attempt.once = read_once(
                terms,
                scope["headers"],
                attempt.method,
                scope["raw_path"],
                scope["query_string"],
                scope["http_version"],
            )

    def _leave(self) -> None:
        if self._entered is not None:
            self._runtime.load.leave(self._entered)
            self._entered = None

    def _admitted(self) -> None:
        runtime, attempt = self._runtime, self.attempt
        now = self._decided_at = time.perf_counter()
        plan = self.plan = edge_plan(runtime, attempt)
        plan.admitted.n += 1
        tally = plan.tally
        if attempt.now >= tally.until:
            tally.turn(attempt.now)
        tally.n += 1
        states = plan.states(attempt.reply) if attempt.reply is not None else states_of(attempt)
        taken_s = now - self._started_at
        runtime.metrics.decision_seconds.add(taken_s)
        self._facts = plan.facts
        self._record = Record(
            number=self._number,
            at=attempt.now,
            method=attempt.method,
            path=attempt.path if len(attempt.path) <= _SHORT else cut(attempt.path),
            request_id=self.request_id,
            states=states,
            decision_ms=taken_s * 1000,
            leased=attempt.is_leased,
        )
        if attempt.outage is not None:
            self._record.outage = attempt.outage.mode
        self._page = runtime.decisions.keep(self._record, plan.facts)
        self._note()

    def _refused(self, error: TiergateError) -> None:
        self._leave()
        runtime, attempt = self._runtime, self.attempt
        taken_s = time.perf_counter() - self._started_at
        facts = self._facts = facts_of(attempt.policy, attempt.account, attempt.plan, attempt.route)
        runtime.metrics.decided(facts.route or "-", facts.tier or "-", error.code).n += 1
        runtime.metrics.decision_seconds.add(taken_s)
        self._record = Record(
            number=self._number,
            at=runtime.clock.now(),
            method=attempt.method,
            path=cut(attempt.path),
            request_id=self.request_id,
            verdict=error.code,
            detail=cut(str(error)),
            states=states_of(attempt),
            decision_ms=taken_s * 1000,
            outage=attempt.outage.mode if attempt.outage is not None else "",
        )
        self._page = runtime.decisions.keep(self._record, facts)
        if isinstance(error, ChargeDenied) and attempt.account is not None and attempt.plan is not None:
            runtime.tallies.denied(attempt.account, attempt.plan, attempt.now)

    # The exchange.

    async def _exchange(self, receive: Receive, send: Send) -> None:
        """Forward an admitted request; what turns out not to be billable is given back."""
        try:
            outcome = await self._forward(self, self._scope, receive, send)
        except (Failed, Rejected) as error:
            await self._conclude(None)
            await self._answer(send, error, given_back=True)
        except ClientFaulty as fault:
            await self._answer(send, fault.refusal)
        except ClientLeft:
            log.debug("caller left before the response", decision_id=self.attempt.decision_id)
            await self._conclude(None, by_caller=True)
        except ExchangeBroken as broken:
            await self._conclude(broken.outcome)
            raise
        except ExchangeCancelled as cancelled:
            await asyncio.shield(self._cut_off(send, cancelled.outcome))
            raise
        except asyncio.CancelledError:
            await asyncio.shield(self._cut_off(send, None))
            raise
        except BaseException:
            await self._conclude(None)
            raise
        else:
            unsettled = self.settling is not None or self.plan is None or outcome.status not in self.plan.billed
            if unsettled or outcome.ended != "complete":
                await self._conclude(outcome)

    async def _conclude(self, outcome: Outcome | None, *, by_caller: bool = False) -> None:
        """Give the charge back, unless the call is billed; then settle it, if that is how it is priced."""
        route = self.attempt.route
        complete = outcome is not None and outcome.ended == "complete"
        payload = outcome is not None and outcome.response_bytes > 0
        by_caller = by_caller or (outcome is not None and outcome.ended == "client-left")
        billable = route.billable if route is not None else BELOW_500
        if not is_billed(self._status, complete=complete, payload=payload, by_caller=by_caller, billable=billable):
            await self._give_back()
        elif self.settling is not None and outcome is not None:
            if self.by_minute is not None:
                await self.by_minute.end(outcome)
            await self._settle(self.settling.costs(outcome))

    async def _cut_off(self, send: Send, outcome: Outcome | None) -> None:
        """This process ends: a caller who was not answered yet is told to come back."""
        await self._conclude(outcome)
        if self._status is None:
            error = CapacityReduced("The gateway stopped before this call was answered.")
            await self._answer(send, error, given_back=True)

    async def _give_back(self) -> None:
        runtime, attempt = self._runtime, self.attempt
        returned = await runtime.admission.refund(attempt)
        runtime.metrics.refunds.labels(returned).inc()
        if returned != "lost" and not attempt.is_repeat and attempt.account is not None and attempt.plan is not None:
            runtime.tallies.given_back(attempt.account, attempt.plan, attempt.now)
        if self._record is not None:
            self._record.refunded = returned == "given-back"
        self._note()

    async def _settle(self, costs: dict[str, int]) -> None:
        runtime, attempt = self._runtime, self.attempt
        if attempt.is_repeat:  # the first call is what was charged
            return
        result = await runtime.admission.settle(attempt, costs)
        runtime.metrics.settled.labels(result).inc()
        if result in _KNOWN and attempt.account is not None and attempt.plan is not None:
            runtime.tallies.settled(attempt.account, attempt.plan, costs, attempt.now)
            if self._record is not None:
                self._record.settled = costs
        self._note()

    def _note(self) -> None:
        """Tell settlement that this customer's counters moved."""
        attempt = self.attempt
        if attempt.account is not None and attempt.plan is not None:
            self._runtime.settlement.note(attempt.account.customer_id, attempt.plan.key.key_id, attempt.now)

    # Responses.

    def allow_origins(self, cors: Cors) -> None:
        """Tell browsers who may read the response."""
        self._cors = cors

    def on_start(self, head: ResponseHead) -> list[bytes]:
        """Add our fields to a response's."""
        status = self._status = head.status
        self._runtime.metrics.upstream_seconds.add(time.perf_counter() - self._decided_at)
        attempt, plan, record = self.attempt, self.plan, self._record
        if plan is None or record is None:
            raise AssertionError("only an admitted request is answered by an upstream")
        said, told = head.lines, NOTHING_TOLD
        if plan.settle and (rules := plan.settle if status != _SWITCHING else counted_rules(plan.settle)):
            settling = self.settling = Settling(rules, self._runtime.metrics, plan.facts.route or "-")
            said = settling.hear(head)
            told = settling.heard
        lines = [*said, _VARIES, b"tiergate-decision: " + attempt.decision_id.encode()]
        if attempt.route is not None and attempt.route.forward.response_headers:
            lines = edit_lines(lines, attempt.route.forward.response_headers)
        if not head.has_date:
            lines.append(date_field.line())
        lines += plan.warning_lines
        if attempt.outage is not None:
            lines.append(UNCHECKED_LINES[attempt.outage.mode])
        elif plan.policy_lines and not head.has_ratelimit:
            lines += plan.policy_lines
            lines.append(plan.state_line(record.states, status, told))
        if plan.overages and attempt.outage is None:
            lines += plan.warnings(record.states)
        if self._cors is not None:
            lines = without_cors(lines) + call_lines(self._cors, self._scope["headers"])
        return lines

    def needs_end(self) -> bool:
        """Whether what is behind the body may say what the call costs, so that it is read without its caller."""
        billed = self.plan is not None and self._status in self.plan.billed
        return billed and not self.attempt.is_repeat and self.settling is not None and self.settling.needs_end

    async def _answer(self, send: Send, error: TiergateError, *, given_back: bool = False) -> None:
        """Tell the caller of an error."""
        attempt = self.attempt
        fields: Headers = [(b"tiergate-decision", attempt.decision_id.encode())]
        plan = attempt.plan
        if plan is not None:
            if plan.access.warning is not None:
                fields.append((b"tiergate-warning", plan.access.warning.encode()))
            if attempt.outage is not None and attempt.outage.refusal is None:
                fields.append((b"tiergate-warning", UNCHECKED[attempt.outage.mode]))
            if attempt.states:
                fields.append((b"ratelimit-policy", policy_field(plan.limits)))
                fields.append((b"ratelimit", state_field(plan.limits, attempt.states, given_back=given_back)))
        if self._cors is not None:
            fields += pairs_of(call_lines(self._cors, self._scope["headers"]))
        self._status = await send_problem(self._runtime, self._scope, send, error, attempt.decision_id, fields)
        if self.plan is None:
            self._ended()

    # The end.

    def _ended(self) -> None:
        self._leave()
        if self.attempt.holds_places:
            self._runtime.admission.live.end(self.attempt.decision_id)
        self.attempt.gate = None  # a reference back to here: without it no garbage collector has to find us
        record, runtime = self._record, self._runtime
        if record is None or self._page is None:
            return
        if self.attempt.once is not None and self.plan is not None:
            runtime.admission.end_once(self.attempt)
        record.status = self._status
        record.duration_ms = (time.perf_counter() - self._started_at) * 1000
        self._page.is_dirty = True
        if self._status is not None:
            runtime.metrics.responded(self._status).n += 1
        level = runtime.settings.decision_log
        if (level == "all" or (level == "denied" and self.plan is None)) and self._facts is not None:
            log_decision(self.attempt.decision_id, self.request_id, record, self._facts)


_KNOWN = ("settled", "nothing")
"""What became of a settlement whose cost is what is counted."""
_SHORT = 200
_SWITCHING = 101
