"""USE CASE: why was this request let through or refused?

Every decision leaves a record. A worker collects its records in pages and writes the pages
that changed to the cache every moment: one write per page, not per request. It also writes
which decisions are on which page; a decision id names the worker's boot, so any worker finds
any decision.

Nothing here grows with what callers do: pages are written in rings, whoever has no valid
key has a small ring apart from the customers', texts are cut, and of what the cache does
not take, the oldest is dropped and counted.
"""

from __future__ import annotations

import asyncio
import re
import secrets

import msgspec

from gateway.cache import Cache
from gateway.telemetry import Metrics

PAGE_RECORDS = 256
RING_PAGES = 200
"""Pages of a worker's decisions about customers."""
STRANGERS_PAGES = 8
"""Pages of a worker's decisions about callers whose customer is not known."""
KEPT_S = 3600
FLUSH_S = 0.25
"""Seconds between two writes of changed pages."""
PAGES_IN_MEMORY = 16
"""Of each ring, written or not: what is not written within so many pages is dropped."""
TEXT_LENGTH = 256
"""Characters of a path and of a detail."""
_WHERE = "where"
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
_decode_where = msgspec.msgpack.Decoder(dict[str, tuple[int, int]]).decode


class _Ring:
    """The newest records of one kind, in pages that are filled one after the other."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._last = 0
        self.pages: dict[int, dict[int, Decision]] = {}
        """Those in memory, oldest first: records by the number in their id."""
        self.dirty: set[int] = set()
        self.where: dict[str, tuple[int, int]] = {}
        """Of every page in the ring: the lowest and the highest number on it."""

    def name(self, page: int) -> str:
        """What the page is called in the cache."""
        return f"{self._name}{page % self._size}"

    def find(self, number: int) -> Decision | None:
        """A record that is in memory."""
        return next((records[number] for records in self.pages.values() if number in records), None)

    def replace(self, number: int, decision: Decision) -> bool:
        """Keep what has become known since. False if the record is not in memory."""
        for page, records in reversed(self.pages.items()):
            if number in records:
                records[number] = decision
                self.dirty.add(page)
                return True
        return False

    def add(self, number: int, decision: Decision) -> int:
        """Keep a new record. Returns how many were dropped for it that the cache has never got."""
        dropped = 0
        if not self.pages or len(self.pages[self._last]) >= PAGE_RECORDS:
            dropped = self._turn()
            self.where[self.name(self._last)] = (number, number)
        self.pages[self._last][number] = decision
        self.dirty.add(self._last)
        low, high = self.where[self.name(self._last)]
        self.where[self.name(self._last)] = (min(low, number), max(high, number))
        return dropped

    def _turn(self) -> int:
        self._last += 1
        self.pages[self._last] = {}
        if len(self.pages) <= PAGES_IN_MEMORY:
            return 0
        oldest = next(iter(self.pages))
        records = self.pages.pop(oldest)
        if oldest not in self.dirty:
            return 0
        self.dirty.discard(oldest)
        return len(records)


class DecisionLog:
    """The recent decisions of all workers; this worker's are written here."""

    def __init__(self, cache: Cache, metrics: Metrics) -> None:
        self._cache = cache
        self._metrics = metrics
        self._boot = secrets.token_hex(_BOOT_LENGTH // 2)
        self._next = 0
        self._customers = _Ring("c", RING_PAGES)
        self._strangers = _Ring("s", STRANGERS_PAGES)

    def next_id(self) -> str:
        """A decision id: unique over workers and restarts."""
        number = self._next
        self._next += 1
        return f"{_PREFIX}{self._boot}{number:x}"

    def record(self, decision: Decision) -> None:
        """Keep a decision, or keep it again with what has become known since.

        A record that has left this worker's memory stays as it was written.

        Args:
            decision: Its texts are cut to `TEXT_LENGTH`.
        """
        decision.path, decision.detail = _cut(decision.path), _cut(decision.detail)
        number = int(decision.decision_id[_NUMBER_AT:], 16)
        ring = self._strangers if decision.customer_id is None else self._customers
        if not ring.replace(number, decision) and decision.duration_ms is None:
            dropped = ring.add(number, decision)
            if dropped:
                self._metrics.decisions_dropped.inc(dropped)

    async def flush(self) -> int:
        """Write the pages that changed. Called every moment by a background task, and at shutdown.

        Returns:
            How many pages were written. A failed write is repeated by the next call.
        """
        written = await self._flush_ring(self._customers) + await self._flush_ring(self._strangers)
        if written:
            where = _encode(self._customers.where | self._strangers.where)
            await self._cache.put_decisions(self._boot, _WHERE, where, KEPT_S)
        return written

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
        boot, number = decision_id[len(_PREFIX) : _NUMBER_AT], int(decision_id[_NUMBER_AT:], 16)
        if boot == self._boot:
            found = self._customers.find(number) or self._strangers.find(number)
            if found is not None:
                return found
        found = await self._read(boot, number, decision_id)
        if found is None and patience_s:
            await asyncio.sleep(patience_s)
            found = await self._read(boot, number, decision_id)
        return found

    async def _flush_ring(self, ring: _Ring) -> int:
        dirty = sorted(ring.dirty)
        for page in dirty:
            if page not in ring.pages:  # dropped while another page was written
                continue
            ring.dirty.discard(page)
            blob = _encode(list(ring.pages[page].values()))
            try:
                await self._cache.put_decisions(self._boot, ring.name(page), blob, KEPT_S)
            except BaseException:
                if page in ring.pages:
                    ring.dirty.add(page)
                raise
        return len(dirty)

    async def _read(self, boot: str, number: int, decision_id: str) -> Decision | None:
        where = await self._cache.get_decisions(boot, _WHERE)
        spans = _decode_where(where) if where is not None else {}
        for page in [page for page, (low, high) in spans.items() if low <= number <= high]:
            blob = await self._cache.get_decisions(boot, page)
            for record in _decode(blob) if blob is not None else ():
                if record.decision_id == decision_id:
                    return record
        return None


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_LENGTH else text[: TEXT_LENGTH - 1] + "…"
