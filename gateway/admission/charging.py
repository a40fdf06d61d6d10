"""How one attempt is charged: as its plan says, in one round trip.

Most calls send what was packed once for their plan. The others are packed here: the first of a plan, one whose
plan limits calls at once, and one under an Idempotency-Key.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from gateway.admission.attempt import Attempt
from gateway.admission.ready import Ready
from gateway.cache import (
    CHARGED,
    REPEATED,
    Cache,
    OnceBusy,
    OnceReused,
    Repeated,
    charge_answer,
    once_answer,
    prepare_charge,
    prepare_once,
    with_call,
)
from gateway.clock import Clock
from gateway.core.charge import ChargeAnswer, ChargeRequest
from gateway.core.errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from gateway.core.once import OnceCall
from gateway.core.planned import Plan, unpaid
from gateway.core.ratelimit_fields import seconds_up
from gateway.live_calls import LiveCalls

_PASSED = (CHARGED, REPEATED)


class Charging:
    """Charges attempts.

    Args:
        cache: Which decides.
        clock: Of the cache.
        live: Told of the calls that take places.
    """

    def __init__(self, cache: Cache, clock: Clock, live: LiveCalls) -> None:
        self._cache = cache
        self._clock = clock
        self._live = live

    def charge_ready(self, attempt: Attempt, ready: Ready) -> Awaitable[list[Any]]:
        """Charge a call whose plan is ready; what comes back is the script's own answer.

        Raises:
            CacheUnavailable: By what is returned.
        """
        now_ms = self._clock.cache_now_ms()
        command = ready.command if not now_ms else ready.command_at(now_ms)
        if ready.plan.live:
            return self._charge_places(attempt, with_call(command, attempt.decision_id))
        return self._cache.charge_packed(command)

    async def charge(self, attempt: Attempt, customer_id: str) -> ChargeAnswer:
        """Charge what the attempt's plan takes; without a plan nothing, which tells whether the account is current.

        Raises:
            Rejected, Denied: By the attempt's gate, or for what was charged under its Idempotency-Key.
            CacheUnavailable: It may have been charged.
        """
        account, plan = attempt.account, attempt.plan
        if account is not None and plan is not None and attempt.gate is not None:
            attempt.gate(account, plan)
        request = ChargeRequest(
            customer_id=customer_id,
            version=account.version if account is not None else 0,
            claims=plan.claims if plan is not None else (),
            now_ms=self._clock.cache_now_ms(),
            call_id=attempt.decision_id,
        )
        if plan is None:
            return await self._cache.charge(request)
        if attempt.once is not None:
            return await self._charge_once(attempt, request, plan, attempt.once)
        if plan.live:
            return charge_answer(plan.claims, await self._charge_places(attempt, prepare_charge(request)))
        return await self._cache.charge(request)

    async def _charge_places(self, attempt: Attempt, command: bytes) -> list[Any]:
        """Charge a call that counts among those in progress. If it may have been charged unheard, its places are freed.

        Args:
            attempt: With a plan that has limits on calls at once.
            command: For this call.
        """
        account, plan = attempt.account, attempt.plan
        if account is None or plan is None:
            raise AssertionError("a place needs a plan")
        try:
            reply = await self._cache.charge_packed(command)
        except BaseException:
            self._live.give_back(attempt.decision_id, account.customer_id, plan.live)
            raise
        if reply[0] in _PASSED:
            self._hold(attempt, account.customer_id, plan.live, attempt.once if reply[0] == CHARGED else None)
        return reply

    def hold_key(self, attempt: Attempt, customer_id: str) -> None:
        """Hold the Idempotency-Key of a call that goes on, and may have been charged under it."""
        self._hold(attempt, customer_id, (), attempt.once)

    def _hold(self, attempt: Attempt, customer_id: str, fields: tuple[str, ...], once: OnceCall | None) -> None:
        self._live.begin(attempt.decision_id, customer_id, fields, once)
        attempt.holds_places = True

    async def _charge_once(self, attempt: Attempt, request: ChargeRequest, plan: Plan, call: OnceCall) -> ChargeAnswer:
        """Charge what was not charged before under the same Idempotency-Key."""
        repeat = unpaid(plan)
        command = prepare_once(request, repeat.claims, call, attempt.decision_id)
        if plan.live:
            reply = await self._charge_places(attempt, command)
        else:
            reply = await self._cache.charge_packed(command)
            if reply[0] == CHARGED:
                self._hold(attempt, request.customer_id, (), call)
        answer = once_answer(plan.claims, repeat.claims, reply)
        match answer:
            case Repeated():
                attempt.plan, attempt.once, attempt.is_repeat = repeat, None, True
                return answer.answer
            case OnceBusy(wait_ms=wait_ms):
                raise IdempotencyKeyInFlight(max(1, seconds_up(wait_ms)))
            case OnceReused():
                raise IdempotencyKeyReused
        return answer
