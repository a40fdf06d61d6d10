"""How often one customer may have the ledger keep something for good: each key and each spend cap is in the audit log.

To revoke a key is never counted: who has lost one must not wait, and no key is revoked twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.core.charge import RateClaim
from gateway.core.errors import Paced

if TYPE_CHECKING:
    from gateway.web.callers import Caller
    from gateway.web.runtime import Runtime

_RECORDS: Final = RateClaim(field="r:records:3600000", cost=1, units=240, window_ms=3_600_000, burst=60)


class TooManyChanges(Paced):
    """One customer issues keys or sets caps too often."""

    code = "too-many-changes"


async def take_record_turn(runtime: Runtime, customer_id: str) -> None:
    """Count what a customer has the ledger keep.

    Raises:
        TooManyChanges: It was asked a moment ago, and often.
    """
    wait_s = await runtime.pacing.wait_s(f"records {customer_id}", _RECORDS)
    if wait_s:
        raise TooManyChanges("Too many new keys and spend caps; wait a little.", retry_after_s=wait_s)


async def take_record_turn_of(caller: Caller, runtime: Runtime) -> None:
    """As `take_record_turn`, for a customer with its key. The seller's own server is not counted."""
    if caller.account is not None:
        await take_record_turn(runtime, caller.account.customer_id)
