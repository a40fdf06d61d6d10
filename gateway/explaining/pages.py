"""Pages of records, which are written together, and the rings in which pages follow each other."""

from __future__ import annotations

import zlib

import msgspec

from gateway.explaining.records import Facts, Record

PAGE_RECORDS = 256
PAGES_IN_MEMORY = 24
"""Of each ring, written or not: what is not written within so many pages is dropped."""
_COMPRESSION = 1
"""zlib's level: 80 us for a full page, which it makes a third as long. Higher ones take longer and gain nothing."""


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
        """As it is stored, compressed; facts that records share stand there once."""
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
        return zlib.compress(encode(_Page(facts, records)), _COMPRESSION)


encode = msgspec.msgpack.Encoder().encode
_decode_page = msgspec.msgpack.Decoder(_Page).decode
decode_where = msgspec.msgpack.Decoder(dict[str, tuple[int, int]]).decode
"""By the name of a page, the lowest and the highest number on it."""


def decode_page(stored: bytes) -> _Page:
    """What `Page.encode` made."""
    return _decode_page(zlib.decompress(stored))


class Ring:
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
