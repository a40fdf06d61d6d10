"""How far the reconciliation of all customers is, for the seller."""

from __future__ import annotations

import msgspec
from litestar import get

from gateway.web.callers import FromRuntime
from gateway.web.problem_shape import problems


class ReconciliationView(msgspec.Struct, kw_only=True):
    """The reconciliation that goes on, or the last one. Instants are Unix seconds."""

    started_at: int | None
    """Null: there was none yet."""
    is_going_on: bool
    """Also while it was broken off, and waits for a worker to go on with it."""
    checked: int
    drifted: int
    """Customers that were not as Stripe had them, and were repaired."""
    failed: int
    ended: int
    """Customers that Stripe did not have, and that lost what they had."""
    held: int
    """Customers that Stripe did not have, and that keep what they have; of those that it has read."""
    held_since: int | None
    """Since when nobody is ended until somebody says how many may be, whoever began it: an earlier one, or a read of a
    part. Null: it is not so."""
    finished_at: int | None
    """When the last complete one ended."""
    oldest_sync_at: int | None
    """When the customer was read that was not read of Stripe for longest. Null: Stripe knows none."""


@get("/reconciliation", responses=problems(400, 401, 403, 404, 409), summary="Show the reconciliation")
async def show_reconciliation(runtime: FromRuntime) -> ReconciliationView:
    """How far all customers have been read of Stripe again, and what was found."""
    row = await runtime.ledger.find_reconciliation()
    return ReconciliationView(
        started_at=None if row is None else row.started_at,
        is_going_on=row is not None and row.cursor is not None,
        checked=0 if row is None else row.checked,
        drifted=0 if row is None else row.drifted,
        failed=0 if row is None else row.failed,
        ended=0 if row is None else row.ended,
        held=0 if row is None else row.held,
        held_since=None if row is None else row.held_since,
        finished_at=None if row is None else row.finished_at,
        oldest_sync_at=await runtime.ledger.oldest_sync(),
    )


HANDLERS = (show_reconciliation,)
