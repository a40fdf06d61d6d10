"""USE CASE: why was this request let through or refused?

Every decision leaves a record: a few numbers, and a reference to facts that it shares with others.
A worker collects its records in pages and writes the pages that changed to the cache every
moment: one write per page, not per request. It also writes
which decisions are on which page; a decision id names the worker's boot, so any worker finds
any decision.

Nothing here grows with what callers do: pages are written in rings, whoever has no valid
key has a small ring apart from the customers', texts are cut, and of what the cache does
not take, the oldest is dropped and counted.

- `records` are what is kept of a decision, and `pages` what is written together, in rings;
- `decision_log` keeps this worker's, and finds those of all.
"""

from gateway.explaining.decision_log import FLUSH_S, RING_PAGES, STRANGERS_PAGES, DecisionLog
from gateway.explaining.pages import PAGE_RECORDS, PAGES_IN_MEMORY, Page
from gateway.explaining.records import ADMITTED, REPEATED, TEXT_LENGTH, Decision, Facts, LimitSeen, Record, cut

__all__ = [
    "ADMITTED",
    "FLUSH_S",
    "PAGES_IN_MEMORY",
    "PAGE_RECORDS",
    "REPEATED",
    "RING_PAGES",
    "STRANGERS_PAGES",
    "TEXT_LENGTH",
    "Decision",
    "DecisionLog",
    "Facts",
    "LimitSeen",
    "Page",
    "Record",
    "cut",
]
