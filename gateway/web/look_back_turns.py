"""How often one customer may look back at what it used: that is the heaviest that a customer can ask of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.core.charge import RateClaim
from gateway.core.errors import Paced
from gateway.ledger import LooksBackFull

if TYPE_CHECKING:
    from gateway.ledger import HistoryRow
    from gateway.web.runtime import Runtime

_LOOKS: Final = RateClaim(field="r:looks:60000", cost=1, units=60, window_ms=60_000, burst=120)


class TooManyLooksBack(Paced):
    """One customer looks back too often, or too often at once."""

    code = "too-many-looks-back"


async def take_look_back_turn(runtime: Runtime, customer_id: str) -> None:
    """Count a look back of a customer. How many go on at once is bounded besides.

    Raises:
        TooManyLooksBack: It looked back a moment ago, and often.
    """
    wait_s = await runtime.pacing.wait_s(f"looks {customer_id}", _LOOKS)
    if wait_s:
        raise TooManyLooksBack("Too many looks back; wait a little.", retry_after_s=wait_s)


async def look_back(runtime: Runtime, customer_id: str, **what: Any) -> list[HistoryRow]:
    """As `Ledger.list_history`, with the refusal that a caller understands.

    Raises:
        TooManyLooksBack: The customer looks back as often at once as it may.
        LedgerUnavailable: The ledger cannot be used, or too many look back.
    """
    try:
        return await runtime.ledger.list_history(customer_id, **what)
    except LooksBackFull:
        raise TooManyLooksBack("Looks back at your use are still being answered.", retry_after_s=1) from None
