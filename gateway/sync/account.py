"""Is the Stripe key of the account that the ledger belongs to?

Law: until that is proven nobody is ended, bound to a Stripe customer, or sold anything, and no usage is reported,
because in another account nobody is there, and whoever pays there has not paid here.

| the key may read its account | the ledger knows its account | proven if                                |
|------------------------------|------------------------------|------------------------------------------|
| yes                          | yes                          | they are the same                        |
| yes                          | no                           | Stripe had customers of the ledger, or it |
|                              |                              | has none; then the ledger learns it      |
| no (a restricted key)        | either                       | the same, and nothing is learnt          |

A key's account is read once a process, and held against the ledger each time: `tiergate ledger accept stripe`
may have given the ledger to another one meanwhile.
"""

from __future__ import annotations

import structlog

from gateway.billing import Billing
from gateway.clock import Clock
from gateway.core.errors import BillingRefused, BillingUnavailable, StripeAccountWrong
from gateway.ledger import STRIPE_ACCOUNT, Ledger

log = structlog.get_logger(__name__)

_ASKED_FOR = 5
"""Customers that are asked for as a proof. Stripe keeps the ids of deleted ones, so one would do; data of a test mode
can be wiped in part."""


class LedgerAccount:
    """Holds the key's account against the ledger's.

    Args:
        ledger: Which account it belongs to.
        billing: Whose key it is.
        clock: Unix seconds.
    """

    def __init__(self, *, ledger: Ledger, billing: Billing, clock: Clock) -> None:
        self._ledger = ledger
        self._billing = billing
        self._clock = clock
        self.trouble: str | None = None
        """Why the last check failed, for the operator; None: it did not, or there was none yet."""

    async def check(self, *, learns: bool = True) -> None:
        """Return if the key is of the ledger's account.

        Args:
            learns: Whether a ledger that knows no account yet may learn this one.

        Raises:
            StripeAccountWrong: It is not, or nothing proves it.
            BillingUnavailable, BillingRefused, LedgerUnavailable: Nobody can say.
        """
        account_id = await self._billing.account.find_id()
        trouble = await self._find_trouble(account_id, learns=learns)
        if trouble is not None and trouble != self.trouble:
            log.error("the stripe key is not of the ledger's account", reason=trouble)
        self.trouble = trouble
        if trouble is not None:
            raise StripeAccountWrong(trouble)

    async def look(self) -> bool:
        """Check, so that `trouble` is up to date. Where nobody can say, it stays as it was.

        Returns:
            Whether somebody could say.

        Raises:
            LedgerUnavailable: As above.
        """
        try:
            await self.check()
        except StripeAccountWrong:
            return True
        except (BillingUnavailable, BillingRefused):
            return False
        return True

    async def _find_trouble(self, account_id: str | None, *, learns: bool) -> str | None:
        recorded = (await self._ledger.load_facts()).get(STRIPE_ACCOUNT)
        if account_id is not None and recorded is not None:
            return None if account_id == recorded else _other_words(recorded, account_id)
        if not await self._has_ours():
            return _UNPROVEN
        if account_id is None or not learns:
            return None
        now = int(self._clock.now())
        learnt = (await self._ledger.keep_facts({STRIPE_ACCOUNT: account_id}, now=now))[STRIPE_ACCOUNT]
        return None if account_id == learnt else _other_words(learnt, account_id)

    async def _has_ours(self) -> bool:
        """Whether Stripe had a customer that the ledger has; true if it has none, for then there is nothing to lose."""
        bound = await self._ledger.list_stripe_customers(limit=_ASKED_FOR)
        for stripe_customer_id in bound:
            if await self._billing.account.had_customer(stripe_customer_id):
                return True
        return not bound


def _other_words(recorded: str, account_id: str) -> str:
    return f"The ledger was made with the Stripe account {recorded}, and this key is of {account_id}."


_UNPROVEN = (
    "Stripe does not know customers that the ledger has, under this key, so the key seems to be of another account."
)
