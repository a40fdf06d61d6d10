"""How a receipt ends, as the product has it end: packed, and sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cache import Cache, Receipt, prepare_settlement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.planned import Surplus


async def settle(
    cache: Cache, receipt: Receipt, costs: Sequence[int], surpluses: Sequence[Surplus] = ()
) -> tuple[int, int]:
    """Units given back and units charged more, each summed over the quotas."""
    given, taken, _ = await cache.settle_packed(prepare_settlement(receipt, costs, surpluses))
    return given, taken


async def refund(cache: Cache, receipt: Receipt) -> int:
    """A settlement at nothing. Units given back, summed over the quotas."""
    given, _ = await settle(cache, receipt, [0] * len(receipt.parts))
    return given
