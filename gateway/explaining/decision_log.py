"""The recent decisions of all workers: this worker's are kept and written here, any worker's are found."""

from __future__ import annotations

import asyncio
import re
import secrets

import msgspec

from gateway.cache import Cache
from gateway.explaining.pages import Page, Ring, decode_page, decode_where, encode
from gateway.explaining.records import Decision, Facts, Record
from gateway.telemetry import Metrics

RING_PAGES = 200
"""Pages of a worker's decisions about customers."""
STRANGERS_PAGES = 8
"""Pages of a worker's decisions about callers whose customer is not known."""
KEPT_S = 3600
FLUSH_S = 0.5
"""Seconds between two writes of changed pages: a killed worker's last ones are missing."""
_AT_ONCE = 8
"""Pages that are written in one round trip."""
_WHERE = "where"
_PREFIX = "dec_"
_BOOT_LENGTH = 8
_NUMBER_AT = len(_PREFIX) + _BOOT_LENGTH
_WELL_FORMED = re.compile(r"dec_[0-9a-f]{9,24}")


def _whole(boot: str, record: Record, facts: Facts) -> Decision:
    """A decision as people ask for it."""
    decision_id = f"{_PREFIX}{boot}{record.number:x}"
    seen = facts.limits
    if record.states:
        seen = tuple(
            msgspec.structs.replace(limit, remaining=left, reset_s=-(-reset_ms // 1000), allowed=allowed == 1)
            for limit, left, reset_ms, allowed in zip(
                seen, record.states[::3], record.states[1::3], record.states[2::3], strict=True
            )
        )
    shared = msgspec.structs.asdict(facts)
    return Decision(
        **{**shared, "limits": seen},
        decision_id=decision_id,
        at=record.at,
        verdict=record.verdict,
        detail=record.detail,
        method=record.method,
        path=record.path,
        request_id=record.request_id or decision_id,
        decision_ms=round(record.decision_ms, 3),
        status=record.status,
        refunded=record.refunded,
        settled=record.settled,
        duration_ms=None if record.duration_ms is None else round(record.duration_ms, 3),
        outage=record.outage,
        leased=record.leased,
    )


class DecisionLog:
    """The recent decisions of all workers; this worker's are written here."""

    def __init__(self, cache: Cache, metrics: Metrics) -> None:
        self._cache = cache
        self._metrics = metrics
        self._boot = secrets.token_hex(_BOOT_LENGTH // 2)
        self._start = _PREFIX + self._boot
        self._next = 0
        self._customers = Ring("c", RING_PAGES)
        self._strangers = Ring("s", STRANGERS_PAGES)

    def next_number(self) -> int:
        """A number for a decision of this worker."""
        number = self._next
        self._next = number + 1
        return number

    def id_of(self, number: int) -> str:
        """A decision's id: unique over workers and restarts."""
        return f"{self._start}{number:x}"

    def keep(self, record: Record, facts: Facts) -> Page:
        """Keep a decision. Fill its record in later if there is more to say, and mark the returned page dirty.

        What is filled in after the record has left this worker's memory is not written any more.

        Args:
            record: Its texts are at most `TEXT_LENGTH` long (`cut`).
            facts: What it shares with others.
        """
        ring = self._strangers if facts.customer_id is None else self._customers
        page, dropped = ring.add(record, facts)
        if dropped:
            self._metrics.decisions_dropped.inc(dropped)
        return page

    async def flush(self) -> int:
        """Write the pages that changed. Called every moment by a background task, and at shutdown.

        Returns:
            How many pages were written. A failed write is repeated by the next call.
        """
        dirty = [(ring, page) for ring in (self._customers, self._strangers) for page in ring.pages.values()]
        dirty = [(ring, page) for ring, page in dirty if page.is_dirty]
        return sum([await self._write(dirty[at : at + _AT_ONCE]) for at in range(0, len(dirty), _AT_ONCE)])

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
                return _whole(boot, *found)
        decision = await self._read(boot, number)
        if decision is None and patience_s:
            await asyncio.sleep(patience_s)
            decision = await self._read(boot, number)
        return decision

    async def _write(self, dirty: list[tuple[Ring, Page]]) -> int:
        """Write a few pages, and where to find what is on them. Calls go on between one page and the next."""
        blobs: dict[str, bytes] = {}
        taken: list[Page] = []
        try:
            for ring, page in dirty:
                await asyncio.sleep(0)
                if page.number in ring.pages:  # else it was dropped while others were written
                    page.is_dirty = False
                    taken.append(page)
                    ring.note_span(page)
                    blobs[ring.name(page.number)] = page.encode()
            if taken:
                blobs[_WHERE] = encode(self._customers.where | self._strangers.where)
                await self._cache.put_decisions(self._boot, blobs, KEPT_S)
        except BaseException:
            for page in taken:
                page.is_dirty = True
            raise
        return len(taken)

    async def _read(self, boot: str, number: int) -> Decision | None:
        where = await self._cache.get_decisions(boot, _WHERE)
        spans = decode_where(where) if where is not None else {}
        for name in [name for name, (low, high) in spans.items() if low <= number <= high]:
            blob = await self._cache.get_decisions(boot, name)
            if blob is None:
                continue
            page = decode_page(blob)
            for record in page.records:
                if record.number == number:
                    return _whole(boot, record, page.facts[record.facts])
        return None
