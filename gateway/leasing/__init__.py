"""Leased mode: busy plans let calls through by leases (`core.lease`) instead of charging them one by one.

- `leasing` is one worker: who may have leases, who has one, and what ends them all;
- `lessee` is one plan of one key there: how fast its calls come, the lease it spends, and the next one;
- `asking` draws leases and gives them back, and `giving_back` repeats what had no answer.

Whatever is not sure is exact: without news from the other workers (`cache.news`), after a draw that was refused or
not answered, with an empty lease.

A lease is dropped when its account changes: at once where this worker is told of it, and where all news are
lost, when it is over. So a revoked key is let in for as long as a lease lasts, at the very most.
"""

from gateway.leasing.leasing import Leasing
from gateway.leasing.lessee import Lessee

__all__ = ["Leasing", "Lessee"]
