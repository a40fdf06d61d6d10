"""Invoices as Stripe made them, with every line, and what its meters count. Reads and changes nothing.

A line says which price it is for, and the price says which meter counts it, so that usage is told from plans
without a table of ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import stripe

from gateway.billing.failures import is_missing, stripe_call
from gateway.billing.reading import id_of
from gateway.core.debt import OpenInvoice
from gateway.core.invoice import Invoice, InvoiceLine, LineKind
from gateway.core.proving import RunningPeriod

if TYPE_CHECKING:
    from stripe.params import InvoiceListParams

_PAGE = 100
_MINUTE_S = 60
_BEFORE_S = 86_400
_AFTER_S = 7 * 86_400
"""An invoice may be made so long after the time that it settles, and still be found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters:
    """The meters of an account. Of several with one event name, `ids` has the active one."""

    names: dict[str, str]
    """Event names by id."""
    ids: dict[str, str]

    def name_of(self, meter_id: str) -> str:
        """Its event name; the id itself of a meter that is not known."""
        return self.names.get(meter_id, meter_id)


class InvoiceReader:
    """Reads invoices. Every call fails as `failures.stripe_call` says."""

    def __init__(self, client: stripe.StripeClient, *, deadline_s: float) -> None:
        self._client = client
        self._deadline_s = deadline_s

    async def fetch_meters(self) -> Meters:
        """Every meter of the account."""
        async with stripe_call("list meters", self._deadline_s):
            page = await self._client.v1.billing.meters.list_async({"limit": _PAGE})
            found = [one async for one in page.auto_paging_iter()]
        found.sort(key=lambda one: one.status == "active")
        return Meters(names={one.id: one.event_name for one in found}, ids={one.event_name: one.id for one in found})

    async def fetch(self, stripe_customer_id: str, since: int, until: int, meters: Meters) -> list[Invoice]:
        """The invoices of a customer that may be about the time between two instants, oldest first.

        All pages of invoices and of lines. None for a customer that Stripe does not have.
        """
        params: InvoiceListParams = {
            "customer": stripe_customer_id,
            "created": {"gte": max(0, since - _BEFORE_S), "lte": until + _AFTER_S},
            "limit": _PAGE,
        }
        async with stripe_call("list invoices", self._deadline_s):
            try:
                page = await self._client.v1.invoices.list_async(params)
            except stripe.InvalidRequestError as error:
                if not is_missing(error):
                    raise
                return []
            found = [one async for one in page.auto_paging_iter()]
        read = [_read_invoice(one, await self._lines(one.id, meters)) for one in found]
        return sorted(read, key=lambda one: (one.created_at, one.invoice_id))

    async def fetch_open(self, stripe_customer_id: str) -> list[OpenInvoice]:
        """The latest 100 invoices of a customer that are open: one page, whoever has more owes by these too."""
        async with stripe_call("list open invoices", self._deadline_s):
            try:
                page = await self._client.v1.invoices.list_async(
                    {"customer": stripe_customer_id, "status": "open", "limit": _PAGE}
                )
            except stripe.InvalidRequestError as error:
                if not is_missing(error):
                    raise
                return []
            return [_read_open(one) for one in page.data]

    async def fetch_running(self, stripe_customer_id: str, meters: Meters) -> list[RunningPeriod]:
        """The metered items of a customer's subscriptions that are not over, with the periods that they are in."""
        async with stripe_call("list subscriptions", self._deadline_s):
            page = await self._client.v1.subscriptions.list_async({"customer": stripe_customer_id, "limit": _PAGE})
            items = [item async for one in page.auto_paging_iter() async for item in one.items.auto_paging_iter()]
        return [
            RunningPeriod(
                stripe_meter=meters.name_of(item.price.recurring.meter),
                starts_at=item.current_period_start,
                ends_at=item.current_period_end,
            )
            for item in items
            if item.price.recurring is not None and item.price.recurring.meter is not None
        ]

    async def fetch_counted(
        self, stripe_customer_id: str, wanted: Iterable[tuple[str, int, int]], meters: Meters
    ) -> dict[tuple[str, int], int]:
        """What Stripe's meters count of a customer, by event name and start.

        Meters count whole minutes: the one in which a window begins is that of the window before.

        Args:
            stripe_customer_id: Whose usage.
            wanted: Event name, start and end of each window. A meter that Stripe does not have is left out.
            meters: Those that it has.
        """
        counted: dict[tuple[str, int], int] = {}
        for name, starts_at, ends_at in wanted:
            first, last = starts_at + -starts_at % _MINUTE_S, ends_at + -ends_at % _MINUTE_S
            if name not in meters.ids or first >= last:
                continue
            async with stripe_call("read a meter", self._deadline_s):
                page = await self._client.v1.billing.meters.event_summaries.list_async(
                    meters.ids[name],
                    {
                        "customer": stripe_customer_id,
                        "start_time": first,
                        "end_time": last,
                        "limit": _PAGE,
                    },
                )
                summaries = [one async for one in page.auto_paging_iter()]
            counted[name, starts_at] = sum(int(one.aggregated_value) for one in summaries)
        return counted

    async def _lines(self, invoice_id: str, meters: Meters) -> tuple[InvoiceLine, ...]:
        async with stripe_call("list invoice lines", self._deadline_s):
            page = await self._client.v1.invoices.line_items.list_async(
                invoice_id, {"limit": _PAGE, "expand": ["data.pricing.price_details.price"]}
            )
            return tuple([_read_line(one, meters) async for one in page.auto_paging_iter()])


def _read_invoice(invoice: stripe.Invoice, lines: tuple[InvoiceLine, ...]) -> Invoice:
    moments = invoice.status_transitions
    credits_ = [one for one in invoice.total_pretax_credit_amounts or () if one.type == "credit_balance_transaction"]
    return Invoice(
        invoice_id=invoice.id,
        number=invoice.number,
        status=invoice.status or "draft",
        currency=invoice.currency,
        lines=lines,
        total=invoice.total,
        created_at=invoice.created,
        period_ends_at=invoice.period_end,
        closes=invoice.billing_reason == "subscription_cycle",
        finalized_at=moments.finalized_at,
        finalizes_at=invoice.automatically_finalizes_at,
        discount=sum(one.amount for one in invoice.total_discount_amounts or ()),
        credit=sum(one.amount for one in credits_),
        tax=sum(one.amount for one in invoice.total_taxes or () if one.tax_behavior == "exclusive"),
        shipping=invoice.amount_shipping,
    )


def _read_open(invoice: stripe.Invoice) -> OpenInvoice:
    details = None if invoice.parent is None else invoice.parent.subscription_details
    return OpenInvoice(
        invoice_id=invoice.id,
        number=invoice.number,
        subscription_id=None if details is None else id_of(details.subscription),
        reason=invoice.billing_reason,
        is_mailed=invoice.collection_method == "send_invoice",
        amount=invoice.amount_remaining,
        currency=invoice.currency,
        created_at=invoice.created,
        payment_url=invoice.hosted_invoice_url,
    )


def _read_line(line: stripe.InvoiceLineItem, meters: Meters) -> InvoiceLine:
    details = None if line.pricing is None else line.pricing.price_details
    price = None if details is None else details.price
    meter_id = price.recurring.meter if isinstance(price, stripe.Price) and price.recurring is not None else None
    each = None if line.pricing is None else line.pricing.unit_amount_decimal
    return InvoiceLine(
        line_id=line.id,
        kind=_kind_of(line, meter_id),
        description=line.description or "",
        amount=line.amount,
        quantity=line.quantity,
        unit_amount=None if each is None else f"{each.normalize():f}",
        price_id=id_of(price),
        stripe_meter=None if meter_id is None else meters.name_of(meter_id),
        starts_at=line.period.start,
        ends_at=line.period.end,
    )


def _kind_of(line: stripe.InvoiceLineItem, meter_id: str | None) -> LineKind:
    if meter_id is not None:
        return "usage"
    parent = line.parent
    details = None if parent is None else parent.subscription_item_details or parent.invoice_item_details
    if details is not None and details.proration:
        return "proration"
    return "fixed" if parent is not None and parent.subscription_item_details is not None else "item"
