"""USE CASE: why was this request let through or refused?

Every decision leaves a record: a few numbers, and a reference to facts that it shares with others.
A worker collects its records in pages and writes the pages that changed to the cache every
moment: one write per page, not per request. It also writes
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
_AT_ONCE = 8
"""Pages that are written in one round trip."""
TEXT_LENGTH = 256
"""Characters of a path and of a detail."""
_WHERE = "where"
_PREFIX = "dec_"
_BOOT_LENGTH = 8
_NUMBER_AT = len(_PREFIX) + _BOOT_LENGTH
_WELL_FORMED = re.compile(r"dec_[0-9a-f]{9,24}")


ADMITTED = "admitted"
REPEATED = "repeat"
"""In metrics: admitted, and paid for by the call that it repeats."""


class LimitSeen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One limit as the decision saw it."""

    name: str
    quota: int
    window_s: int
    cost: int
    remaining: int | None = None
    reset_s: int | None = None
    allowed: bool | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What many decisions have in common: those of one key on one route, as long as nothing changes."""

    policy_hash: str
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
    """As policy has them, without states."""


class Record(msgspec.Struct, kw_only=True, array_like=True):
    """One decision, as it is kept. Whoever made it goes on filling it in until the exchange has ended."""

    number: int
    at: float
    method: str
    path: str
    request_id: str = ""
    """Empty: the decision id."""
    verdict: str = ADMITTED
    detail: str = ""
    states: list[int] = []
    """Of each limit: what remains, milliseconds until its reset, 1 if it allowed."""
    decision_ms: float = 0.0
    status: int | None = None
    refunded: bool = False
    duration_ms: float | None = None
    facts: int = 0
    """Which of its page's; set when the page is written."""
    outage: str = ""
    """`deny`, `allow` or `local`: the cache could not decide, and this is what policy said."""
    settled: dict[str, int] = {}
    """Units by meter that it turned out to cost, of meters that are settled."""
    leased: bool = False


class Decision(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What was decided about one request, on which facts. Holds no key text and no query string.

    `at` is Unix seconds; the last four fields are filled in when the exchange has ended.
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
    settled: dict[str, int] = {}
    duration_ms: float | None = None
    outage: str = ""
    """`deny`, `allow` or `local`, if the cache could not decide: which rule of the tier did."""
    leased: bool = False
    """Let through by a lease of the worker: the limits are as the lease knew them."""


class _Page(msgspec.Struct, array_like=True):
    facts: list[Facts]
    records: list[Record]


class Page:
    """The records that are written together."""

    __slots__ = ("is_dirty", "number", "records")

    def __init__(self, number: int) -> None:
        self.number = number
        self.records: dict[int, tuple[Record, Facts]] = {}
        self.is_dirty = False
        """Something on it has changed since it was written. Set it when a record was filled in."""

    def encode(self) -> bytes:
        """As it is stored; facts that records share stand there once."""
        places: dict[int, int] = {}
        facts: list[Facts] = []
        records = []
        for record, its_facts in self.records.values():
            place = places.get(id(its_facts))
            if place is None:
                place = places[id(its_facts)] = len(facts)
                facts.append(its_facts)
            record.facts = place
            records.append(record)
        return _encode(_Page(facts, records))


_encode = msgspec.msgpack.Encoder().encode
_decode_page = msgspec.msgpack.Decoder(_Page).decode
_decode_where = msgspec.msgpack.Decoder(dict[str, tuple[int, int]]).decode


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


class _Ring:
    """The newest records of one kind, in pages that are filled one after the other."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._page = Page(0)
        self.pages: dict[int, Page] = {}
        """Those in memory, oldest first."""
        self.where: dict[str, tuple[int, int]] = {}
        """Of every page in the ring: the lowest and the highest number on it, as of the last write."""

    def name(self, page: int) -> str:
        """What the page is called in the cache."""
        return f"{self._name}{page % self._size}"

    def find(self, number: int) -> tuple[Record, Facts] | None:
        """A record that is in memory."""
        return next((page.records[number] for page in self.pages.values() if number in page.records), None)

    def add(self, record: Record, facts: Facts) -> tuple[Page, int]:
        """Keep a new record. Returns its page, and how many were dropped for it that the cache has never got."""
        page, dropped = self._page, 0
        if not self.pages or len(page.records) >= PAGE_RECORDS:
            dropped = self._turn()
            page = self._page
        page.records[record.number] = (record, facts)
        page.is_dirty = True
        return page, dropped

    def note_span(self, page: Page) -> None:
        """The page is about to be written: say which numbers are on it."""
        self.where[self.name(page.number)] = (min(page.records), max(page.records))

    def _turn(self) -> int:
        page = self._page = Page(self._page.number + 1)
        self.pages[page.number] = page
        if len(self.pages) <= PAGES_IN_MEMORY:
            return 0
        oldest = self.pages.pop(next(iter(self.pages)))
        return len(oldest.records) if oldest.is_dirty else 0


class DecisionLog:
    """The recent decisions of all workers; this worker's are written here."""

    def __init__(self, cache: Cache, metrics: Metrics) -> None:
        self._cache = cache
        self._metrics = metrics
        self._boot = secrets.token_hex(_BOOT_LENGTH // 2)
        self._start = _PREFIX + self._boot
        self._next = 0
        self._customers = _Ring("c", RING_PAGES)
        self._strangers = _Ring("s", STRANGERS_PAGES)

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

    async def _write(self, dirty: list[tuple[_Ring, Page]]) -> int:
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
                blobs[_WHERE] = _encode(self._customers.where | self._strangers.where)
                await self._cache.put_decisions(self._boot, blobs, KEPT_S)
        except BaseException:
            for page in taken:
                page.is_dirty = True
            raise
        return len(taken)

    async def _read(self, boot: str, number: int) -> Decision | None:
        where = await self._cache.get_decisions(boot, _WHERE)
        spans = _decode_where(where) if where is not None else {}
        for name in [name for name, (low, high) in spans.items() if low <= number <= high]:
            blob = await self._cache.get_decisions(boot, name)
            if blob is None:
                continue
            page = _decode_page(blob)
            for record in page.records:
                if record.number == number:
                    return _whole(boot, record, page.facts[record.facts])
        return None


def cut(text: str) -> str:
    """At most `TEXT_LENGTH` characters of a text."""
    return text if len(text) <= TEXT_LENGTH else text[: TEXT_LENGTH - 1] + "…"
