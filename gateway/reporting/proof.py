"""Whose key it is, asked once a run: by the first that is about to tell Stripe something."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from gateway.core.errors import BillingRefused, BillingUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Trouble: TypeAlias = BillingUnavailable | BillingRefused


class Proof:
    """Holds the key's account against the ledger's, for all that one run does at once.

    Args:
        check: Returns if the key is of the ledger's account (`sync.account`).
    """

    def __init__(self, check: Callable[[], Awaitable[None]]) -> None:
        self._check = check
        self._turn = asyncio.Lock()
        self._is_asked = False
        self._trouble: Trouble | None = None

    async def find_trouble(self) -> Trouble | None:
        """Why nothing may be told under this key; None: it is of the ledger's account.

        Raises:
            LedgerUnavailable: Nobody can say, and the next one asks.
        """
        async with self._turn:
            if not self._is_asked:
                try:
                    await self._check()
                except (BillingUnavailable, BillingRefused) as error:
                    self._trouble = error
                self._is_asked = True
            return self._trouble
