"""The calls in progress of this worker that hold something in the cache: places in limits on calls at once, or a key.

The cache counts them, over all workers. A place is taken by the charge with which a call begins,
given back when the call ends, and meanwhile held by saying now and then that the call goes on: the
places of a worker that died are free when nobody has said so for `cache.keyspace.LIVE_MS`. In the same way
an Idempotency-Key is kept in flight for as long as its call takes, and for `core.once.BUSY_S` after its worker
died; whoever ends its charge (`admission.ending`) lets it go. Laws:

- nobody waits for a place to be given back; one whose giving back was lost heals by itself;
- what may have been taken without an answer is given back;
- a call that has ended is not held: all that is said of a call is said on one connection; and where a cluster has
  a renewal sent once more, or elsewhere, the release may have been before it, and is said again after it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from gateway.cache import Cache, prepare_once_renewal, prepare_release, prepare_renewal

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.core.once import OnceCall

RENEW_S = 5.0
"""Seconds between two renewals. A call is first held when it is between one and two of them old, so short calls
cost nothing, and the cache may be away for three of them before a place is lost."""

_AT_ONCE = 128
"""Calls that are held in one go: charges are not to wait behind thousands of them."""


class _Held(NamedTuple):
    """What one call holds."""

    customer_id: str
    fields: tuple[str, ...]
    """Of the limits on calls at once."""
    once: OnceCall | None


class LiveCalls:
    """Gives places back, and holds what calls have that go on."""

    def __init__(self, cache: Cache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock
        self._young: dict[str, _Held] = {}
        self._old: dict[str, _Held] = {}

    def __len__(self) -> int:
        """Calls in progress that hold something."""
        return len(self._young) + len(self._old)

    @property
    def places(self) -> int:
        """Places that this worker's calls have, in all limits on calls at once."""
        return sum(len(held.fields) for calls in (self._young, self._old) for held in calls.values())

    def begin(self, call_id: str, customer_id: str, fields: tuple[str, ...], once: OnceCall | None = None) -> None:
        """A call has begun, and its charge has taken places, or a key.

        Args:
            call_id: Its decision id.
            customer_id: Whose.
            fields: Of the limits in which it has a place; none: it has a key only.
            once: Its Idempotency-Key, if it was charged under one.
        """
        self._young[call_id] = _Held(customer_id, fields, once)

    def end(self, call_id: str) -> None:
        """It has ended."""
        held = self._young.pop(call_id, None) or self._old.pop(call_id, None)
        if held is not None and held.fields:
            self.give_back(call_id, held.customer_id, held.fields)

    def give_back(self, call_id: str, customer_id: str, fields: tuple[str, ...]) -> None:
        """Free the places that a call has, or may have."""
        self._cache.send_packed(prepare_release(customer_id, fields, call_id)).add_done_callback(_ignore)

    async def renew(self) -> None:
        """Hold what the calls have that go on. Called every `RENEW_S` by a background task.

        Raises:
            CacheUnavailable: Not all are held; the next run does it.
        """
        failures: list[BaseException] = []
        try:
            old = list(self._old)
            for start in range(0, len(old), _AT_ONCE):
                failures += await self._hold(old[start : start + _AT_ONCE])
        finally:
            self._old.update(self._young)
            self._young.clear()
        if failures:  # of some, where one server of several is down: the others' calls are held
            raise failures[0]

    async def _hold(self, call_ids: list[str]) -> list[BaseException]:
        places: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        renewals: list[bytes] = []
        holding: dict[str, _Held] = {}
        now_ms = self._clock.cache_now_ms()
        for call_id in call_ids:
            if (held := self._old.get(call_id)) is None:  # it has ended meanwhile
                continue
            holding[call_id] = held
            for field in held.fields:
                places[held.customer_id, field].append(call_id)
            if held.once is not None:
                renewals.append(prepare_once_renewal(held.customer_id, held.once, call_id, now_ms))
        renewals += [
            prepare_renewal(customer_id, field, renewed, now_ms) for (customer_id, field), renewed in places.items()
        ]
        answers = await asyncio.gather(*map(self._cache.send_packed, renewals), return_exceptions=True)
        for call_id, held in holding.items():
            if call_id not in self._old and held.fields:  # it has ended meanwhile
                self.give_back(call_id, held.customer_id, held.fields)
        return [answer for answer in answers if isinstance(answer, BaseException)]


def _ignore(release: asyncio.Future[int]) -> None:
    """A place that was not given back is free when it expires."""
    if not release.cancelled():
        release.exception()
