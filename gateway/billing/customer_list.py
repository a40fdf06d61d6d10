"""All customers of the account, those that are labelled with one of ours, and our ids in their metadata.

Stripe answers 20 searches a second, however many buyers come, and none to accounts in India. So searches are begun at
a pace of their own, and one that Stripe puts off all the same (other processes search too) is begun again: a crowd
waits for seconds. Only who would wait longer than a buyer does is told to come back.

Source: https://docs.stripe.com/rate-limits, https://docs.stripe.com/search
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

import stripe

from gateway.billing.failures import stripe_call
from gateway.billing.labels import customer_labels
from gateway.billing.pace import Pace
from gateway.billing.webhook import METADATA_CUSTOMER, METADATA_LEDGER, METADATA_USER
from gateway.core.adoption import ListedCustomer
from gateway.core.errors import BillingUnavailable

if TYPE_CHECKING:
    from stripe.params import CustomerListParams

_PAGE = 100


class CustomerList:
    """Lists customers in Stripe's order, the newest first; deleted ones are not among them."""

    def __init__(
        self, client: stripe.StripeClient, *, deadline_s: float, searches_per_s: float, patience_s: float
    ) -> None:
        self._client = client
        self._deadline_s = deadline_s
        self._patience_s = patience_s
        self._searches = Pace(searches_per_s)

    async def fetch_page(self, after: str | None) -> tuple[list[ListedCustomer], bool]:
        """The customers behind `after`, at most 100, and whether there are more.

        Raises:
            BillingUnavailable, BillingRefused: Stripe did not say.
        """
        params: CustomerListParams = {"limit": _PAGE}
        if after is not None:
            params["starting_after"] = after
        async with stripe_call("list customers", self._deadline_s):
            page = await self._client.v1.customers.list_async(params)
            return [_read(one) for one in page.data], page.has_more

    async def find_labelled(self, customer_id: str, user_id: str) -> list[ListedCustomer]:
        """Customers whose metadata names one of ours, or its user; the newest first, 100 at most.

        Stripe finds what was written a minute ago or so, and what it has already deleted may be among it.

        Raises:
            BillingUnavailable: Stripe did not say, or so many are looked for that it will not in time.
            BillingRefused: It does not search for this account, or this key.
        """
        query = f"{_clause(METADATA_CUSTOMER, customer_id)} OR {_clause(METADATA_USER, user_id)}"
        found = None
        until = monotonic() + self._patience_s
        while found is None:
            await self._take_turn(until)
            found = await self._search(query)
        return [one for one in found if customer_id == one.claimed_id or user_id == one.claimed_user_id]

    async def _take_turn(self, until: float) -> None:
        if monotonic() + self._searches.waits_s > until:
            raise BillingUnavailable("So many new customers buy right now that there is a queue; try again shortly.")
        await asyncio.sleep(self._searches.reserve())

    async def _search(self, query: str) -> list[ListedCustomer] | None:
        """None: Stripe has answered as many searches as it does at the moment."""
        async with stripe_call("search for customers", self._deadline_s):
            try:
                page = await self._client.v1.customers.search_async({"query": query, "limit": _PAGE})
            except stripe.RateLimitError:
                self._searches.slow_down()
                return None
            return [_read(one) for one in page.data]

    async def write_ids(
        self, stripe_customer_id: str, *, customer_id: str, user_id: str, ledger_id: str | None = None
    ) -> None:
        """Put our ids into a customer's metadata; what else is in it stays.

        Raises:
            BillingUnavailable, BillingRefused: They may not be there.
        """
        metadata = customer_labels(customer_id, user_id, ledger_id)
        async with stripe_call("write ids to a customer", self._deadline_s):
            await self._client.v1.customers.update_async(stripe_customer_id, {"metadata": metadata})


def _read(customer: stripe.Customer) -> ListedCustomer:
    metadata = {} if customer.metadata is None else {str(k): str(v) for k, v in customer.metadata.to_dict().items()}
    return ListedCustomer(
        stripe_customer_id=customer.id,
        is_live=customer.livemode,
        email=customer.email,
        metadata=metadata,
        claimed_id=metadata.get(METADATA_CUSTOMER),
        claimed_user_id=metadata.get(METADATA_USER),
        ledger_id=metadata.get(METADATA_LEDGER),
    )


def _clause(name: str, value: str) -> str:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'metadata["{name}"]:"{quoted}"'
