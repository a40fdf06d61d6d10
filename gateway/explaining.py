"""USE CASE: why was this request let through or refused?

Every decision leaves a record. A worker collects its records in pages and writes a page to
the cache every moment, in a ring of bounded size: one write per page, not per request. A
decision id names the worker's boot and the page, so any worker finds any decision.
"""

from __future__ import annotations

import asyncio
import re
import secrets

import msgspec

from gateway.cache import Cache

PAGE_RECORDS = 256
RING_PAGES = 200
KEPT_S = 3600
FLUSH_S = 0.25
"""Seconds between two writes of changed pages."""
PAGES_IN_MEMORY = 8
_PREFIX = "dec_"
_BOOT_LENGTH = 8
_NUMBER_AT = len(_PREFIX) + _BOOT_LENGTH
_WELL_FORMED = re.compile(r"dec_[0-9a-f]{9,24}")


class LimitSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One limit as the decision saw it."""

    name: str
    quota: int
    window_s: int
    cost: int
    remaining: int | None = None
    reset_s: int | None = None
    allowed: bool | None = None


class Decision(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What was decided about one request, on which facts. Holds no key text and no query string.

    `at` is Unix seconds; the last three fields are filled in when the exchange has ended.
    """

    decision_id: str
    at: float
    verdict: str
    """`admitted`, or the problem code of the refusal."""
    detail: str = ""
    method: str
    path: str
    policy_hash: str
    request_id: str = ""
    customer_id: str | None = None
    user_id: str | None = None
    account_version: int | None = None
    key_id: str | None = None
    key_last4: str | None = None
    route: str | None = None
    tier: str | None = None
    plan: str | None = None
    standing: str | None = None
    warning: str | None = None
    limits: tuple[LimitSeen, ...] = ()
    decision_ms: float = 0.0
    status: int | None = None
    refunded: bool = False
    duration_ms: float | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Decision]).decode


class DecisionLog:
    """The recent decisions of all workers; this worker's are written here."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._boot = secrets.token_hex(_BOOT_LENGTH // 2)
        self._next = 0
        self._pages: dict[int, dict[str, Decision]] = {}
        self._dirty: set[int] = set()

    def next_id(self) -> str:
        """A decision id: unique over workers and restarts."""
        number = self._next
        self._next += 1
        return f"{_PREFIX}{self._boot}{number:x}"

    def record(self, decision: Decision) -> None:
        """Keep a decision, or keep it again with what has become known since.

        A record whose page has left this worker's memory stays as it was written.
        """
        number = int(decision.decision_id[_NUMBER_AT:], 16) // PAGE_RECORDS
        page = self._pages.get(number)
        if page is None:
            if number < self._next // PAGE_RECORDS - PAGES_IN_MEMORY:
                return
            page = self._pages[number] = {}
        page[decision.decision_id] = decision
        self._dirty.add(number)

    async def flush(self) -> int:
        """Write the pages that changed. Called every moment by a background task, and at shutdown.

        Returns:
            How many pages were written. A failed write is repeated by the next call.
        """
        dirty, self._dirty = sorted(self._dirty), set()
        for done, number in enumerate(dirty):
            blob = _encode(list(self._pages[number].values()))
            try:
                await self._cache.put_decisions(self._boot, number % RING_PAGES, blob, KEPT_S)
            except BaseException:
                self._dirty.update(dirty[done:])
                raise
        oldest_kept = self._next // PAGE_RECORDS - PAGES_IN_MEMORY
        for number in [number for number in self._pages if number < oldest_kept and number not in self._dirty]:
            del self._pages[number]
        return len(dirty)

    async def find(self, decision_id: str, *, patience_s: float = 0.0) -> Decision | None:
        """A decision of any worker, if it is recent enough.

        Args:
            decision_id: As in the response's Tiergate-Decision field.
            patience_s: How long another worker may take to write the page of a decision it has
                just made; asked again once after that.

        Raises:
            CacheUnavailable: It may exist; asking again helps.
        """
        if not _WELL_FORMED.fullmatch(decision_id):
            return None
        boot, number = decision_id[len(_PREFIX) : _NUMBER_AT], int(decision_id[_NUMBER_AT:], 16) // PAGE_RECORDS
        if boot == self._boot and number in self._pages:
            return self._pages[number].get(decision_id)
        found = await self._read(boot, number, decision_id)
        if found is None and patience_s:
            await asyncio.sleep(patience_s)
            found = await self._read(boot, number, decision_id)
        return found

    async def _read(self, boot: str, number: int, decision_id: str) -> Decision | None:
        blob = await self._cache.get_decisions(boot, number % RING_PAGES)
        records = _decode(blob) if blob is not None else []
        return next((record for record in records if record.decision_id == decision_id), None)
