"""The metered edge: pure ASGI, in front of everything.

Reserved paths go on to the app's router; every other path is metered, so there is no list
of exclusions to get wrong. An admitted request is handed to an *exchange*: by default the
reverse proxy, or the wrapped app itself when Tiergate runs inside the seller's own service.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from gateway.admission import Attempt
from gateway.cache import Receipt
from gateway.core.errors import CapacityReduced, Failed, MalformedRequest, Rejected, TiergateError, UpgradeRefused
from gateway.core.outcome import BILLABLE_BELOW, is_billed
from gateway.core.ratelimit_fields import policy_field, state_field
from gateway.core.request_gate import check_request, wants_websocket
from gateway.core.target import canonical_path, check_length
from gateway.explaining import Decision, LimitSeen
from gateway.upstream import ClientFaulty, ClientLeft, ExchangeBroken, ExchangeCancelled, OnStart, Outcome, ResponseHead
from gateway.web.asgi import ASGIApp, Headers, Receive, Scope, Send
from gateway.web.dates import DateField
from gateway.web.front import CALLER
from gateway.web.problems import problem_response
from gateway.web.reserved import ReservedPaths
from gateway.web.runtime import Runtime

log = structlog.get_logger(__name__)

_BEARER = b"bearer "
_KEY_STARTS = b"tg_"
_date = DateField()


class Exchange(Protocol):
    """What happens to an admitted request."""

    async def __call__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        attempt: Attempt,
        request_id: str,
        on_start: OnStart,
        max_body: int,
    ) -> Outcome:
        """Answer the request, and return when the response is complete or the caller has left it.

        Args:
            on_start: Maps the response's head to the field lines to send.
            max_body: Most bytes of request body.

        Raises:
            Failed, Rejected: Nothing was sent, and nobody worked on it; the edge answers with a problem.
            ClientLeft: The caller ended the call before a response; the edge tells a ClientFaulty why.
            ExchangeBroken: The response had begun and cannot be finished.
        """
        ...


class Edge:
    """ASGI middleware that identifies, decides, charges, exchanges, and gives back.

    Args:
        app: What serves the reserved paths, and lifespan.
        runtime: Returns the opened parts; called once per request, never before startup.
        reserved: The paths that `app` serves itself.
        exchange: What happens to admitted requests.
    """

    def __init__(
        self, app: ASGIApp, *, runtime: Callable[[], Runtime], reserved: ReservedPaths, exchange: Exchange
    ) -> None:
        self._app = app
        self._runtime = runtime
        self._reserved = reserved
        self._exchange = exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] != "http":
            await (
                _refuse_websocket(receive, send) if scope["type"] == "websocket" else self._app(scope, receive, send)
            )
            return
        runtime = self._runtime()
        # A copy: some servers append trailer fields to their own list later, unchecked. What such a server (stock
        # uvicorn) has merged before this line, because all came at once, looks like a header and passes as one; it
        # is dropped again under our own protocol only (web/front), where no trailer field gets here.
        scope = {**scope, "headers": list(scope["headers"])}
        try:
            check_length(scope["raw_path"], scope["query_string"])
            if CALLER not in scope.get("extensions", ()):
                check_request(scope["method"], scope["raw_path"], scope["headers"], scope["http_version"])
            path = canonical_path(scope["raw_path"])
            ours = self._reserved.owns(path)
        except TiergateError as error:
            runtime.metrics.decisions.labels("-", "-", error.code).inc()
            await _send_problem(runtime, scope, send, error, None, [])
            return
        if ours:
            await self._app(scope, receive, _with_date(send))
        else:
            await _Metered(runtime, self._exchange, scope, receive, send, path).run()


class _Metered:
    """One metered request, from its arrival to the end of its exchange."""

    __slots__ = (
        "_attempt", "_decided_at", "_decision", "_exchange", "_receipt", "_receive",
        "_request_id", "_runtime", "_scope", "_send", "_started_at", "_status",
    )  # fmt: skip

    def __init__(
        self, runtime: Runtime, exchange: Exchange, scope: Scope, receive: Receive, send: Send, path: str
    ) -> None:
        self._runtime = runtime
        self._exchange = exchange
        self._scope = scope
        self._receive = receive
        self._send = send
        self._started_at = time.perf_counter()
        self._decided_at = self._started_at
        self._attempt = runtime.admission.attempt(runtime.decisions.next_id(), scope["method"], path)
        self._request_id = self._attempt.decision_id
        self._receipt: Receipt | None = None
        self._decision: Decision | None = None
        self._status: int | None = None

    async def run(self) -> None:
        try:
            if wants_websocket(self._scope["headers"]):
                raise UpgradeRefused("This gateway does not switch to WebSockets.")
            self._receipt = await self._runtime.admission.admit(self._attempt, presented_key(self._scope["headers"]))
        except TiergateError as error:
            self._decided(error)
            await self._answer(error)
            return
        self._decided(None)
        try:
            await self._relay()
        finally:
            self._ended()

    async def _relay(self) -> None:
        """The exchange of an admitted request; what turns out not to be billable is given back."""
        try:
            outcome = await self._exchange(
                self._scope,
                self._receive,
                self._send,
                attempt=self._attempt,
                request_id=self._request_id,
                on_start=self._on_start,
                max_body=self._runtime.settings.max_body_bytes,
            )
        except (Failed, Rejected) as error:
            await self._conclude(None)
            await self._answer(error, given_back=True)
        except ClientFaulty as fault:
            await self._answer(fault.refusal)
        except ClientLeft:
            log.debug("caller left before the response", decision_id=self._attempt.decision_id)
        except ExchangeBroken as broken:
            await self._conclude(broken.outcome)
            raise
        except ExchangeCancelled as cancelled:
            await asyncio.shield(self._cut_off(cancelled.outcome))
            raise
        except asyncio.CancelledError:
            await asyncio.shield(self._cut_off(None))
            raise
        except BaseException:
            await self._conclude(None)
            raise
        else:
            await self._conclude(outcome)

    async def _conclude(self, outcome: Outcome | None) -> None:
        """Give the charge back, unless the call is billed."""
        complete = outcome is not None and outcome.ended == "complete"
        payload = outcome is not None and outcome.response_bytes > 0
        by_caller = outcome is not None and outcome.ended == "client-left"
        if not is_billed(self._status, complete=complete, payload=payload, by_caller=by_caller):
            await self._give_back()

    async def _cut_off(self, outcome: Outcome | None) -> None:
        """This process ends: a caller who was not answered yet is told to come back."""
        await self._conclude(outcome)
        if self._status is None:
            await self._answer(CapacityReduced("The gateway stopped before this call was answered."), given_back=True)

    def _on_start(self, head: ResponseHead) -> list[bytes]:
        """Add our fields to the response's."""
        self._status = head.status
        self._runtime.metrics.upstream_seconds.observe(time.perf_counter() - self._decided_at)
        added = self._fields(given_back=head.status >= BILLABLE_BELOW, with_limits=not head.has_ratelimit)
        if not head.has_date:
            added.insert(0, _date.current())
        return [*head.lines, *(b"%b: %b" % field for field in added)]

    def _fields(self, *, given_back: bool, with_limits: bool = True) -> Headers:
        """Our response fields. RateLimit fields that the upstream sends itself are left alone."""
        fields: Headers = [(b"tiergate-decision", self._attempt.decision_id.encode())]
        plan = self._attempt.plan
        if plan is None:
            return fields
        if plan.access.warning is not None:
            fields.append((b"tiergate-warning", plan.access.warning.encode()))
        if self._attempt.states and with_limits:
            fields.append((b"ratelimit-policy", policy_field(plan.limits)))
            fields.append((b"ratelimit", state_field(plan.limits, self._attempt.states, given_back=given_back)))
        return fields

    async def _answer(self, error: TiergateError, *, given_back: bool = False) -> None:
        extra = self._fields(given_back=given_back)
        self._status = await _send_problem(
            self._runtime, self._scope, self._send, error, self._attempt.decision_id, extra
        )
        if self._receipt is None:
            self._ended()

    async def _give_back(self) -> None:
        if self._receipt is None:
            return
        returned = await self._runtime.admission.refund(self._receipt)
        self._runtime.metrics.refunds.labels(returned).inc()
        if self._decision is not None:
            self._decision.refunded = returned == "given-back"
        self._note()

    def _decided(self, error: TiergateError | None) -> None:
        """Leave the evidence: decision record, metrics, and what settlement needs."""
        runtime, attempt = self._runtime, self._attempt
        self._decided_at = time.perf_counter()
        self._decision = decision_of(attempt, error, runtime.clock.now())
        self._decision.decision_ms = round((self._decided_at - self._started_at) * 1000, 3)
        self._decision.request_id = self._request_id
        runtime.decisions.record(self._decision)
        route = attempt.route.pattern if attempt.route is not None else "-"
        tier = attempt.plan.tier.name if attempt.plan is not None else "-"
        runtime.metrics.decisions.labels(route, tier, self._decision.verdict).inc()
        runtime.metrics.decision_seconds.observe(self._decided_at - self._started_at)
        if error is None:
            self._note()

    def _note(self) -> None:
        """Tell settlement that this customer's counters moved."""
        attempt = self._attempt
        if attempt.account is not None and attempt.plan is not None:
            self._runtime.settlement.note(attempt.account.customer_id, attempt.plan.key.key_id, attempt.now)

    def _ended(self) -> None:
        decision = self._decision
        if decision is None:
            return
        decision.status = self._status
        decision.duration_ms = round((time.perf_counter() - self._started_at) * 1000, 3)
        self._runtime.decisions.record(decision)
        if self._status is not None:
            self._runtime.metrics.responses.labels(f"{self._status // 100}xx").inc()
        level = self._runtime.settings.decision_log
        if level == "all" or (level == "denied" and decision.verdict != "admitted"):
            _log_decision(decision)


def presented_key(headers: Headers) -> bytes | None:
    """The API key as sent: `X-API-Key`, or a bearer token that looks like one of ours.

    A bearer token of another kind is the proxied API's own business.

    Raises:
        MalformedRequest: Two different keys; which one counts would be a guess.
    """
    found: bytes | None = None
    for name, value in headers:
        if name == b"x-api-key":
            key = value.strip()
        elif name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            key = value[len(_BEARER) :].strip()
            if not key.startswith(_KEY_STARTS):
                continue
        else:
            continue
        if found is not None and key != found:
            raise MalformedRequest("The request carries two different API keys; send one.")
        found = key
    return found


def decision_of(attempt: Attempt, error: TiergateError | None, at: float) -> Decision:
    """The record of a decision."""
    account, plan = attempt.account, attempt.plan
    decision = Decision(
        decision_id=attempt.decision_id,
        at=at,
        verdict="admitted" if error is None else error.code,
        detail="" if error is None else str(error),
        method=attempt.method,
        path=attempt.path,
        policy_hash=attempt.policy.policy_hash,
        route=attempt.route.pattern if attempt.route is not None else None,
    )
    if account is not None:
        decision.customer_id = account.customer_id
        decision.user_id = account.user_id
        decision.account_version = account.version
    if plan is not None:
        decision.key_id = plan.key.key_id
        decision.key_last4 = plan.key.last4
        decision.tier = plan.tier.name
        decision.plan = plan.access.plan_id
        decision.standing = plan.access.standing
        decision.warning = plan.access.warning
        states = attempt.states or (None,) * len(plan.limits)
        decision.limits = tuple(
            LimitSeen(
                name=limit.name,
                quota=limit.quota,
                window_s=limit.window_s,
                cost=limit.claim.cost,
                remaining=state.remaining if state is not None else None,
                reset_s=-(-state.reset_ms // 1000) if state is not None else None,
                allowed=state.allowed if state is not None else None,
            )
            for limit, state in zip(plan.limits, states, strict=True)
        )
    return decision


def _log_decision(decision: Decision) -> None:
    log.info(
        "decision",
        decision_id=decision.decision_id,
        request_id=decision.request_id,
        verdict=decision.verdict,
        method=decision.method,
        path=decision.path,
        status=decision.status,
        customer_id=decision.customer_id,
        key=decision.key_last4,
        tier=decision.tier,
        policy=decision.policy_hash,
        refunded=decision.refunded,
        left={limit.name: limit.remaining for limit in decision.limits},
        ms=decision.duration_ms,
    )


def refuse_early(runtime: Runtime, error: TiergateError) -> tuple[int, Headers, bytes]:
    """The answer to what no app gets to see: status, fields, body. Counted as any decision."""
    runtime.metrics.decisions.labels("-", "-", error.code).inc()
    status, headers, body = problem_response(error, runtime.site)
    return status, [*headers, _date.current()], body


async def _send_problem(
    runtime: Runtime, scope: Scope, send: Send, error: TiergateError, decision_id: str | None, extra: Headers
) -> int:
    status, headers, body = problem_response(error, runtime.site, decision_id=decision_id)
    await send({"type": "http.response.start", "status": status, "headers": [*headers, _date.current(), *extra]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
    return status


def _with_date(send: Send) -> Send:
    async def send_with_date(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            message = {**message, "headers": [*headers, *_date.missing(headers)]}
        await send(message)

    return send_with_date


async def _refuse_websocket(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 1008, "reason": "WebSockets are not proxied"})
