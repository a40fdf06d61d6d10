"""All customers of the account, and our ids in their metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

import stripe

from gateway.billing.failures import stripe_call
from gateway.billing.webhook import METADATA_CUSTOMER, METADATA_USER
from gateway.core.adoption import ListedCustomer

if TYPE_CHECKING:
    from stripe.params import CustomerListParams

_PAGE = 100
_LONGEST_METADATA = 500


class CustomerList:
    """Lists customers in Stripe's order, the newest first; deleted ones are not among them."""

    def __init__(self, client: stripe.StripeClient, *, deadline_s: float) -> None:
        self._client = client
        self._deadline_s = deadline_s

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

    async def write_ids(self, stripe_customer_id: str, *, customer_id: str, user_id: str) -> None:
        """Put our ids into a customer's metadata; what else is in it stays.

        Raises:
            BillingUnavailable, BillingRefused: They may not be there.
        """
        metadata = {METADATA_CUSTOMER: customer_id, METADATA_USER: user_id[:_LONGEST_METADATA]}
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
    )
