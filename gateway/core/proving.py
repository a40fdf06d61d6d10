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

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from gateway.core.statement import Because, MeteredWindow, Reason, Statement, UsageProof, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.core.invoice import Invoice, InvoiceLine
    from gateway.core.statement_period import Span

INVOICE_PENDING_S = 3 * 86_400
"""So long after a window's end its invoice may not be there: the longest that Stripe lets a seller wait.

Source: https://docs.stripe.com/billing/subscriptions/usage-based/configure-grace-period
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPeriod:
    """That an item of a subscription counts a meter until `ends_at`, and is invoiced then."""

    stripe_meter: str
    starts_at: int
    ends_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Billed:
    """A usage line, with the invoice that it is on."""

    invoice: Invoice
    line: InvoiceLine


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Windows that one line asks for (of a yearly price, a year of them), and all lines that ask for any of them."""

    windows: tuple[MeteredWindow, ...]
    billed: tuple[_Billed, ...]

    def begins_within(self, since: int, until: int) -> bool:
        return any(since <= window.starts_at < until for window in self.windows)


def make_statement(
    windows: Iterable[MeteredWindow],
    invoices: Sequence[Invoice] | None,
    counted: Mapping[tuple[str, int], int],
    *,
    span: Span,
    now: int,
    running: Sequence[RunningPeriod] = (),
) -> Statement:
    """Compare what the ledger knows with what Stripe says.

    Args:
        windows: Of the period, and those before it that the invoices still ask for.
        invoices: Those that were read; None: Stripe did not answer. More than belong to the period may be given.
        counted: What Stripe's meters say, by event name and window's start.
        span: The period.
        now: Unix seconds.
        running: What is invoiced later.
    """
    known = sorted(windows, key=lambda one: (one.stripe_meter, one.starts_at, one.meter))
    since, until = span.since, span.until
    if invoices is None:
        away = (Because(reason="stripe-away"),)
        shown = [one for one in known if since <= one.starts_at < until]
        proofs = [UsageProof(window=one, verdict="not-compared", because=away) for one in shown]
        return Statement(since=since, until=until, usage=tuple(proofs), invoices=(), is_compared=False)
    groups, strange = _lay_beside(known, invoices)
    mine = [one for one in groups if one.begins_within(since, until)]
    touched = {billed.invoice.invoice_id for group in mine for billed in group.billed}
    of_period = [one for one in invoices if one.invoice_id in touched or _belongs(one, since, until)]
    ids = {one.invoice_id for one in of_period}
    shown_groups = [one for one in groups if one in mine or any(b.invoice.invoice_id in ids for b in one.billed)]
    proofs = [_prove(one, counted, running, now) for one in shown_groups]
    proofs += [_unheard(one) for one in strange if one.invoice.invoice_id in ids and one.line.quantity]
    return Statement(since=since, until=until, usage=tuple(proofs), invoices=tuple(of_period), is_compared=True)


def _lay_beside(windows: Sequence[MeteredWindow], invoices: Iterable[Invoice]) -> tuple[list[_Group], list[_Billed]]:
    """The windows with the lines that ask for them; and the lines that ask for none that is known.

    Args:
        windows: By meter of Stripe's and start. Those that start together are one group: Stripe cannot tell them apart.
        invoices: With the lines.
    """
    is_joined = [
        (one.stripe_meter, one.starts_at) == (other.stripe_meter, other.starts_at) for one, other in pairwise(windows)
    ]
    homes: list[tuple[int, _Billed]] = []
    strange: list[_Billed] = []
    for invoice in invoices:
        for line in invoice.lines:
            if line.kind != "usage":
                continue
            billed = _Billed(invoice=invoice, line=line)
            places = _places(windows, line)
            if not places:
                strange.append(billed)
                continue
            homes.append((places[0], billed))
            for place in range(places[0], places[-1]):
                is_joined[place] = True
    starts = [place for place in range(len(windows)) if place == 0 or not is_joined[place - 1]]
    groups = []
    for start, end in pairwise([*starts, len(windows)]):
        found = tuple(billed for place, billed in homes if start <= place < end)
        groups.append(_Group(windows=tuple(windows[start:end]), billed=found))
    return groups, strange


def _places(windows: Sequence[MeteredWindow], line: InvoiceLine) -> list[int]:
    """Which windows a line asks for: those that start within its period.

    If none starts with it, its price changed in the middle of one, which is among them too.
    """
    same = [place for place, window in enumerate(windows) if window.stripe_meter == line.stripe_meter]
    found = [place for place in same if line.starts_at <= windows[place].starts_at < line.ends_at]
    if found and windows[found[0]].starts_at == line.starts_at:
        return found
    around = [place for place in same if windows[place].starts_at <= line.starts_at < windows[place].ends_at]
    return sorted({*found, *around[-1:]})


def _joined(windows: Sequence[MeteredWindow]) -> MeteredWindow:
    """Several as one."""
    if len(windows) == 1:
        return windows[0]
    included = [one.included for one in windows if one.included is not None]
    used = [one.used for one in windows if one.used is not None]
    return MeteredWindow(
        meter=" + ".join(dict.fromkeys(one.meter for one in windows)),
        stripe_meter=windows[0].stripe_meter,
        starts_at=min(one.starts_at for one in windows),
        ends_at=max(one.ends_at for one in windows),
        included=sum(included) if len(included) == len(windows) else None,
        used=sum(used) if len(used) == len(windows) else None,
        overage=sum(one.overage for one in windows),
        reported=sum(one.reported for one in windows),
        unbilled=sum(one.unbilled for one in windows),
        acknowledged=sum(one.acknowledged for one in windows),
        reports=tuple(report for one in windows for report in one.reports),
        told=tuple(told for one in windows for told in one.told),
    )


def _counted(windows: Sequence[MeteredWindow], counted: Mapping[tuple[str, int], int]) -> int | None:
    places = {(one.stripe_meter, one.starts_at) for one in windows}
    return sum(counted[place] for place in places) if places <= counted.keys() else None


def _belongs(invoice: Invoice, since: int, until: int) -> bool:
    """Whether it settles time of the period. Each invoice belongs to one of two periods that follow each other."""
    if invoice.closes:
        return since < invoice.period_ends_at <= until
    return since <= invoice.period_ends_at < until


def _prove(
    group: _Group, all_counted: Mapping[tuple[str, int], int], running: Sequence[RunningPeriod], now: int
) -> UsageProof:
    window, billed, counted = _joined(group.windows), group.billed, _counted(group.windows, all_counted)
    live = [one for one in billed if one.invoice.status != "void"]
    open_until = max([window.ends_at, *(one.ends_at for one in running if _counts(one, window))])
    invoiced = sum(one.line.quantity or 0 for one in live) if live else None
    difference = window.overage - (invoiced or 0)
    waits = _waits(window, billed, live, difference, open_until, now)
    verdict, because = _judge(window, billed, live, difference, counted, waits)
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
    waits: Reason | None,
) -> tuple[Verdict, tuple[Because, ...]]:
    if waits is not None:
        dead = window.units_of("dead")
        warned = (Because(reason="dead-report", units=dead),) if dead else ()
        return "not-yet-invoiced", (Because(reason=waits, units=difference), *warned)
    if difference == 0:
        return "agrees", ()
    seen_to = (Because(reason="acknowledged", units=window.acknowledged),) if window.acknowledged else ()
    if difference == window.acknowledged:
        return "agrees", seen_to
    if not live:
        missing: Reason = "ended-at-once" if window.unbilled else "no-invoice"
        rest = Because(reason="void" if billed else missing, units=difference - window.acknowledged)
        return "differs", (rest, *seen_to)
    return "differs", _reasons(window, live, difference, counted)


def _counts(period: RunningPeriod, window: MeteredWindow) -> bool:
    """Whether the end of a window is invoiced with that period."""
    return period.stripe_meter == window.stripe_meter and period.starts_at < window.ends_at <= period.ends_at


def _waits(
    window: MeteredWindow,
    billed: Sequence[_Billed],
    live: Sequence[_Billed],
    difference: int,
    open_until: int,
    now: int,
) -> Reason | None:
    """Why it is too early to tell; None: it is not."""
    if any(one.invoice.status == "draft" for one in live):
        return "draft"
    if difference == 0 or (window.unbilled and not live):
        return None
    if now < open_until:
        return "running"
    is_covered = any(one.line.ends_at >= window.ends_at for one in live)
    is_soon = now < open_until + INVOICE_PENDING_S
    return "invoice-pending" if is_soon and not is_covered and len(live) == len(billed) else None


def _reasons(
    window: MeteredWindow, live: Sequence[_Billed], difference: int, counted: int | None
) -> tuple[Because, ...]:
    """Where the units of the difference are; what is left over has no reason that can be told from here."""
    final_at = max(final_since(one.invoice) for one in live)
    late = sum(units for told_from, units in window.told if told_from >= final_at)
    unreported = window.overage - window.reported
    found: list[tuple[Reason, int]] = [
        ("not-reported", max(unreported, 0)),
        ("given-back", min(unreported, 0)),
        ("dead-report", window.units_of("dead")),
        ("pending-report", window.units_of("pending")),
        ("late-report", late),
    ]
    rest = difference - sum(units for _, units in found)
    is_told = counted is not None and counted != window.sent
    found.append(("adjusted" if is_told else "unknown", rest))
    return tuple(Because(reason=reason, units=units) for reason, units in found if units)


def final_since(invoice: Invoice) -> int:
    """From when on what Stripe is told is not on that invoice any more."""
    return invoice.finalized_at or invoice.created_at


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
