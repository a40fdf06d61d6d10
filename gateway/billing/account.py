"""Whose key it is: the account, and whether a customer is in it or ever was."""

from __future__ import annotations

import stripe

from gateway.billing.failures import is_missing, stripe_call


class AccountReader:
    """Reads of the account itself. Every call fails as `failures.stripe_call` says."""

    def __init__(self, client: stripe.StripeClient, *, deadline_s: float) -> None:
        self._client = client
        self._deadline_s = deadline_s
        self._account_id: str | None = None

    async def find_id(self) -> str | None:
        """The account of the key, asked once: a key never changes its account. None: the key may not read that."""
        if self._account_id is None:
            async with stripe_call("read the account", self._deadline_s):
                try:
                    self._account_id = (await self._client.v1.accounts.retrieve_current_async()).id
                except stripe.PermissionError:
                    return None
        return self._account_id

    async def had_customer(self, stripe_customer_id: str) -> bool:
        """Whether the account has this customer, or had it: Stripe keeps the id of a deleted one."""
        return await self._find(stripe_customer_id) is not None

    async def has_customer(self, stripe_customer_id: str) -> bool:
        """Whether the account has this customer now, not deleted."""
        found = await self._find(stripe_customer_id)
        return found is not None and not getattr(found, "deleted", False)

    async def _find(self, stripe_customer_id: str) -> stripe.Customer | None:
        async with stripe_call("read a customer", self._deadline_s):
            try:
                return await self._client.v1.customers.retrieve_async(stripe_customer_id)
            except stripe.InvalidRequestError as error:
                if not is_missing(error):
                    raise
                return None
