"""Changes of a running subscription, as Stripe makes them.

A change names the item and the price it is to have, so that a second one which asks for the same
finds it there and does nothing. It is sent with what Stripe lets wait for a payment and with nothing else
(https://docs.stripe.com/billing/subscriptions/pending-updates-reference): no end, no payment method. That an item goes
does not wait, and that there are none of it does: so the change has none of what goes, which settles its money in the
change's own invoice, and says in its metadata which items are left to remove. That waits with it, and is there once
it is made (https://docs.stripe.com/changelog/dahlia/2026-05-27/pending-subscription-update-metadata). What is billed
by use has no number, and is settled as it is removed: by whoever knows that Stripe was told of all of it
(`gateway.sync.letting_go`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import stripe

from gateway.billing.failures import is_missing, stripe_call
from gateway.billing.means import PaymentMeans, read_means
from gateway.billing.previewing import ChangePreview, read_preview
from gateway.billing.prices import PriceList
from gateway.billing.reading import PriceFacts
from gateway.billing.sales import Sales
from gateway.billing.scheduling import Scheduler
from gateway.billing.values import ChangeResult, PlanChange
from gateway.billing.webhook import METADATA_GIVES_UP, METADATA_PLANNED, METADATA_PLANNED_AS
from gateway.core.offer import AddOn
from gateway.core.policy import Plan
from gateway.core.switching import Proration

if TYPE_CHECKING:
    from stripe.params import (
        InvoiceCreatePreviewParams,
        InvoiceCreatePreviewParamsSubscriptionDetailsItem,
        SubscriptionUpdateParams,
        SubscriptionUpdateParamsItem,
    )

_BEHAVIORS: dict[Proration, Literal["create_prorations", "always_invoice", "none"]] = {
    "next invoice": "create_prorations",
    "now": "always_invoice",
    "none": "none",
}


class PlanChanger:
    """Previews and makes changes. Every call fails as `failures.stripe_call` says."""

    def __init__(self, client: stripe.StripeClient, prices: PriceList, sales: Sales, *, deadline_s: float) -> None:
        self._client = client
        self._prices = prices
        self.sales = sales
        """What may be sold beside a plan."""
        self._deadline_s = deadline_s
        self.later = Scheduler(client, deadline_s=deadline_s)
        """Changes at the end of the period."""

    async def fetch_price(self, plan: Plan | AddOn) -> PriceFacts:
        """The price that a change to this is sold at, read now.

        Raises:
            BillingRefused: Also if Stripe has no active price for it.
        """
        return await self._prices.fetch_for_sale(plan)

    async def fetch_means(self, subscription_id: str) -> PaymentMeans:
        """What a subscription is paid with, read now."""
        expand = ["default_payment_method", "customer.invoice_settings.default_payment_method"]
        async with stripe_call("read a means of payment", self._deadline_s):
            return read_means(await self._client.v1.subscriptions.retrieve_async(subscription_id, {"expand": expand}))

    async def preview(self, change: PlanChange) -> ChangePreview:
        """What a plan change would cost. Nothing is changed.

        Items that bill usage go with what was used by then on the bill (`remove_used`). Where nothing is prorated, a
        preview without them would have none of it, so they stay in it.
        """
        base: InvoiceCreatePreviewParamsSubscriptionDetailsItem = {"id": change.item_id, "price": change.price_id}
        if change.quantity is not None:
            base["quantity"] = change.quantity
        items = [base]
        items += [{"price": price_id} for price_id in change.adds]
        items += [{"id": item_id, "quantity": 0} for item_id in change.settles]
        if change.proration != "none":
            items += [{"id": item_id, "deleted": True} for item_id, _ in change.removes if item_id in change.metered]
        params: InvoiceCreatePreviewParams = {
            "subscription": change.subscription_id,
            "subscription_details": {
                "items": items,
                "proration_behavior": _BEHAVIORS[change.proration],
            },
        }
        if change.proration != "none":
            params["subscription_details"]["proration_date"] = change.at
        if change.ends_trial:
            params["subscription_details"]["trial_end"] = "now"
        async with stripe_call("preview a change", self._deadline_s):
            invoice = await self._client.v1.invoices.create_preview_async(params)
            lines = [line async for line in invoice.lines.auto_paging_iter()]
            return read_preview(invoice, lines, change.at)

    async def give_up(self, invoice_id: str) -> None:
        """Withdraw the invoice that a change waits for, and the change with it. One that was paid stays paid."""
        async with stripe_call("give up a change", self._deadline_s):
            try:
                await self._client.v1.invoices.void_invoice_async(invoice_id)
            except stripe.InvalidRequestError:
                invoice = await self._client.v1.invoices.retrieve_async(invoice_id)
                if invoice.status == "open":
                    raise

    async def remember(self, subscription_id: str, planned: str, planned_as: str) -> None:
        """Write on the subscription what was planned for it, and its plan's name."""
        params: SubscriptionUpdateParams = {"metadata": {METADATA_PLANNED: planned, METADATA_PLANNED_AS: planned_as}}
        async with stripe_call("note what was planned", self._deadline_s):
            await self._client.v1.subscriptions.update_async(subscription_id, params)

    async def forget(self, subscription_id: str) -> None:
        """Take away what `remember` wrote."""
        await self.remember(subscription_id, "", "")

    async def apply(self, change: PlanChange) -> ChangeResult:
        """Change the plan now. Sent twice, the second finds the plan there and changes nothing.

        What is to be paid at once (another billing interval, or by the policy's word) and is not leaves the
        old plan until it is. Invoices that are sent by mail, and bank debits, hold nothing up: Stripe lets no change
        wait for them.
        Items that go, go by a request of their own once it is made: at once, or by whoever sees that it was paid.
        Those that bill usage are left to `remove_used`.
        """
        base: SubscriptionUpdateParamsItem = {"id": change.item_id, "price": change.price_id}
        if change.quantity is not None:
            base["quantity"] = change.quantity
        items = [base]
        items += [{"price": price_id} for price_id in change.adds]
        items += [{"id": item_id, "quantity": 0} for item_id in change.settles]
        params: SubscriptionUpdateParams = {
            "items": items,
            "proration_behavior": _BEHAVIORS[change.proration],
            "expand": ["latest_invoice"],
        }
        gone = [item_id for item_id, _ in change.removes]
        labels = ({METADATA_GIVES_UP: ",".join(gone)} if gone or change.takes_back else {}) | (
            {METADATA_PLANNED: "", METADATA_PLANNED_AS: ""} if change.replaces_planned else {}
        )
        if labels:
            params["metadata"] = labels
        if change.waits:
            params["payment_behavior"] = "pending_if_incomplete"
        if change.ends_trial:
            params["trial_end"] = "now"
        async with stripe_call("change a subscription", self._deadline_s):
            changed = await self._client.v1.subscriptions.update_async(change.subscription_id, params)
            invoice = changed.latest_invoice
            is_pending = changed.pending_update is not None
            url = invoice.hosted_invoice_url if is_pending and isinstance(invoice, stripe.Invoice) else None
        if change.settles and not is_pending:
            used = [item_id for item_id in gone if item_id in change.metered]
            await self.remove(change.subscription_id, change.settles, left=used)
        return ChangeResult(is_pending=is_pending, payment_url=url)

    async def remove(self, subscription_id: str, item_ids: Sequence[str], *, left: Sequence[str] = ()) -> None:
        """Remove items that a change gave up and settled: there are none of them. If any is gone, nothing is removed.

        Args:
            subscription_id: Theirs.
            item_ids: Which.
            left: What else is given up and stays for now.
        """
        await self._remove(subscription_id, item_ids, "none", left)

    async def remove_used(
        self, subscription_id: str, item_ids: Sequence[str], proration: Proration, *, left: Sequence[str] = ()
    ) -> None:
        """The same for items that bill usage.

        What was used is billed whatever is prorated, and Stripe discards it where nothing is
        (https://docs.stripe.com/billing/subscriptions/usage-based/manage-billing-setup).

        Args:
            subscription_id: Theirs.
            item_ids: Which.
            proration: When what was used is billed: now, or with the next invoice.
            left: As `remove`.
        """
        await self._remove(subscription_id, item_ids, "now" if proration == "now" else "next invoice", left)

    async def _remove(
        self, subscription_id: str, item_ids: Sequence[str], proration: Proration, left: Sequence[str]
    ) -> None:
        params: SubscriptionUpdateParams = {
            "items": [{"id": item_id, "deleted": True} for item_id in item_ids],
            "proration_behavior": _BEHAVIORS[proration],
            "metadata": {METADATA_GIVES_UP: ",".join(left)},
        }
        async with stripe_call("remove items", self._deadline_s):
            try:
                await self._client.v1.subscriptions.update_async(subscription_id, params)
            except stripe.InvalidRequestError as error:
                if not is_missing(error):
                    raise
