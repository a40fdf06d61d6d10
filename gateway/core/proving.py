"""How a statement is made: lines of invoices are laid beside windows of usage, and what differs gets its reasons.

Pure; instants are Unix seconds, quantities whole units.

Laws, each a property test:
- every line of an invoice is on the statement, and what they come to is the total, or `unexplained` says by how much
  it is not;
- the units of all reasons of a difference add up to the difference;
- nothing is said to agree that was not compared, and nothing to differ that Stripe may still put right by itself:
  a draft is measured again when it becomes final.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.statement import Because, MeteredWindow, Reason, Statement, UsageProof, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.core.invoice import Invoice, InvoiceLine

INVOICE_PENDING_S = 3 * 86_400
"""So long after a window's end its invoice may not be there: the longest that Stripe lets a seller wait.

Source: https://docs.stripe.com/billing/subscriptions/usage-based/configure-grace-period
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Billed:
    """A usage line, with the invoice that it is on."""

    invoice: Invoice
    line: InvoiceLine


def make_statement(
    windows: Iterable[MeteredWindow],
    invoices: Sequence[Invoice] | None,
    counted: Mapping[tuple[str, int], int],
    *,
    since: int,
    until: int,
    now: int,
) -> Statement:
    """Compare what the ledger knows with what Stripe says.

    Args:
        windows: Of the period, and those before it that the invoices still ask for. Windows of one Stripe meter that
            start together are compared as one: Stripe does not tell them apart.
        invoices: Those that were read; None: Stripe did not answer. More than belong to the period may be given.
        counted: What Stripe's meters say, by event name and window's start.
        since: Unix seconds, where the period begins.
        until: Where it ends.
        now: Unix seconds.
    """
    known = _by_stripe_meter(windows)
    if invoices is None:
        away = (Because(reason="stripe-away"),)
        proofs = [UsageProof(window=one, verdict="not-compared", because=away) for one in known]
        return Statement(since=since, until=until, usage=tuple(proofs), invoices=(), is_compared=False)
    billed, strange = _attach(known, invoices)
    shown = [one for one in known if since <= one.starts_at < until]
    places = {_place(one) for one in shown}
    of_period = [one for one in invoices if _belongs(one, since, until) or _touches(one, places, billed)]
    also = [one for one in known if one not in shown and any(b.invoice in of_period for b in billed[_place(one)])]
    proofs = [_prove(one, billed[_place(one)], counted.get(_place(one)), now) for one in (*also, *shown)]
    proofs += [_unheard(one) for one in strange if one.invoice in of_period and one.line.quantity]
    return Statement(since=since, until=until, usage=tuple(proofs), invoices=tuple(of_period), is_compared=True)


def _by_stripe_meter(windows: Iterable[MeteredWindow]) -> list[MeteredWindow]:
    """One for each meter of Stripe's and start; meters of ours that share one are added up."""
    found: dict[tuple[str, int], MeteredWindow] = {}
    for one in sorted(windows, key=lambda window: (window.starts_at, window.meter)):
        other = found.get(_place(one))
        found[_place(one)] = one if other is None else _added(other, one)
    return list(found.values())


def _added(one: MeteredWindow, other: MeteredWindow) -> MeteredWindow:
    return MeteredWindow(
        meter=f"{one.meter} + {other.meter}",
        stripe_meter=one.stripe_meter,
        starts_at=one.starts_at,
        ends_at=max(one.ends_at, other.ends_at),
        included=None if one.included is None or other.included is None else one.included + other.included,
        used=None if one.used is None or other.used is None else one.used + other.used,
        overage=one.overage + other.overage,
        reports=one.reports + other.reports,
    )


def _place(window: MeteredWindow) -> tuple[str, int]:
    return window.stripe_meter, window.starts_at


def _attach(
    windows: Sequence[MeteredWindow], invoices: Iterable[Invoice]
) -> tuple[dict[tuple[str, int], list[_Billed]], list[_Billed]]:
    """The usage lines of each window, and those of none that is known."""
    billed: dict[tuple[str, int], list[_Billed]] = defaultdict(list)
    strange: list[_Billed] = []
    for invoice in invoices:
        for line in invoice.lines:
            if line.kind != "usage":
                continue
            one = _Billed(invoice=invoice, line=line)
            homes = [w for w in windows if w.stripe_meter == line.stripe_meter and _covers(w, line.starts_at)]
            if homes:
                billed[_place(homes[-1])].append(one)
            else:
                strange.append(one)
    return billed, strange


def _covers(window: MeteredWindow, instant: int) -> bool:
    return window.starts_at <= instant < window.ends_at


def _belongs(invoice: Invoice, since: int, until: int) -> bool:
    """Whether it settles time of the period. Each invoice belongs to one of two periods that follow each other."""
    if invoice.closes:
        return since < invoice.period_ends_at <= until
    return since <= invoice.period_ends_at < until


def _touches(
    invoice: Invoice, places: set[tuple[str, int]], billed: Mapping[tuple[str, int], Sequence[_Billed]]
) -> bool:
    return any(one.invoice is invoice for place in places for one in billed.get(place, ()))


def _prove(window: MeteredWindow, billed: Sequence[_Billed], counted: int | None, now: int) -> UsageProof:
    live = [one for one in billed if one.invoice.status != "void"]
    invoiced = sum(one.line.quantity or 0 for one in live) if live else None
    difference = window.overage - (invoiced or 0)
    verdict, because = _judge(window, billed, live, difference, counted, now)
    return UsageProof(
        window=window,
        verdict=verdict,
        difference=difference if verdict == "differs" else 0,
        because=because + _price_changed(live),
        counted=counted,
        invoiced=invoiced,
        amount=sum(one.line.amount for one in live) if live else None,
        currency=live[0].invoice.currency if live else None,
        invoices=tuple(dict.fromkeys(_name(one.invoice) for one in billed)),
    )


def _judge(
    window: MeteredWindow,
    billed: Sequence[_Billed],
    live: Sequence[_Billed],
    difference: int,
    counted: int | None,
    now: int,
) -> tuple[Verdict, tuple[Because, ...]]:
    if (waits := _waits(window, billed, live, difference, now)) is not None:
        dead = window.units_of("dead")
        warned = (Because(reason="dead-report", units=dead),) if dead else ()
        return "not-yet-invoiced", (Because(reason=waits, units=difference), *warned)
    if difference == 0:
        return "agrees", ()
    if not live:
        return "differs", (Because(reason="void" if billed else "no-invoice", units=difference),)
    return "differs", _reasons(window, live, difference, counted)


def _waits(
    window: MeteredWindow, billed: Sequence[_Billed], live: Sequence[_Billed], difference: int, now: int
) -> Reason | None:
    """Why it is too early to tell; None: it is not."""
    if any(one.invoice.status == "draft" for one in live):
        return "draft"
    if difference == 0:
        return None
    if now < window.ends_at:
        return "running"
    is_covered = any(one.line.ends_at >= window.ends_at for one in live)
    is_soon = now < window.ends_at + INVOICE_PENDING_S
    return "invoice-pending" if is_soon and not is_covered and len(live) == len(billed) else None


def _reasons(
    window: MeteredWindow, live: Sequence[_Billed], difference: int, counted: int | None
) -> tuple[Because, ...]:
    """Where the units of the difference are; what is left over has no reason that can be told from here."""
    final_at = max(one.invoice.finalized_at or one.invoice.created_at for one in live)
    late = sum(
        one.units
        for one in window.reports
        if one.status == "sent" and one.sent_at is not None and one.sent_at >= final_at
    )
    unreported = window.overage - window.reported
    found: list[tuple[Reason, int]] = [
        ("not-reported", max(unreported, 0)),
        ("given-back", min(unreported, 0)),
        ("dead-report", window.units_of("dead")),
        ("pending-report", window.units_of("pending")),
        ("late-report", late),
    ]
    rest = difference - sum(units for _, units in found)
    is_told = counted is not None and counted != window.units_of("sent")
    found.append(("adjusted" if is_told else "unknown", rest))
    return tuple(Because(reason=reason, units=units) for reason, units in found if units)


def _price_changed(live: Sequence[_Billed]) -> tuple[Because, ...]:
    prices = {one.line.price_id for one in live}
    return (Because(reason="price-changed"),) if len(prices) > 1 else ()


def _unheard(one: _Billed) -> UsageProof:
    """A line of usage that the ledger has nothing of."""
    quantity = one.line.quantity or 0
    window = MeteredWindow(
        meter="",
        stripe_meter=one.line.stripe_meter or "",
        starts_at=one.line.starts_at,
        ends_at=one.line.ends_at,
        included=None,
        used=None,
        overage=0,
    )
    is_draft = one.invoice.status == "draft"
    return UsageProof(
        window=window,
        verdict="not-yet-invoiced" if is_draft else "differs",
        difference=0 if is_draft else -quantity,
        because=(Because(reason="not-ours", units=-quantity),),
        invoiced=quantity,
        amount=one.line.amount,
        currency=one.invoice.currency,
        invoices=(_name(one.invoice),),
    )


def _name(invoice: Invoice) -> str:
    return invoice.number or invoice.invoice_id
