"""What a statement's reasons mean and what to do about them, in plain words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.core.statement import Because, Reason

VERDICTS: dict[str, str] = {
    "agrees": "agrees",
    "not-yet-invoiced": "not yet invoiced",
    "differs": "differs",
    "not-compared": "not compared",
}
_MEANINGS: dict[Reason, str] = {
    "acknowledged": "the subscription ended at once without an invoice for them, and that was seen to",
    "adjusted": "Stripe's meter counts otherwise: an event was cancelled there, or others report to it",
    "dead-report": "Stripe did not take these reports",
    "draft": "the invoice is still a draft, and is measured again when it becomes final",
    "ended-at-once": "the subscription, or its metered item, ended at once, and no invoice was asked for",
    "given-back": "these units were given back after Stripe was told of them",
    "invoice-pending": "the period has just ended, and its invoice is not there yet",
    "late-report": "Stripe was told after the invoice had become final",
    "no-invoice": "no invoice has a line for it",
    "not-ours": "the ledger knows nothing of this usage",
    "not-reported": "Stripe was not told of these units",
    "pending-report": "these reports wait to be sent",
    "price-changed": "the price changed within the period, so there is a line for each",
    "running": "the period is not over",
    "stripe-away": "Stripe did not answer",
    "unknown": "it cannot be told from here why",
    "void": "the invoice was voided",
}
_ADVICE: dict[Reason, str] = {
    "acknowledged": "nothing",
    "adjusted": "look at the meter's events in Stripe's dashboard",
    "dead-report": "mend what `tiergate meters list --status dead` says, then `tiergate meters retry`",
    "draft": "nothing; look again when it is final",
    "ended-at-once": "put these units on an invoice by hand, or let them go, then `tiergate meters acknowledge`; "
    "cancel at the end of the period",
    "given-back": "issue a credit note over these units if the invoice is paid",
    "invoice-pending": "nothing; look again later",
    "late-report": "put these units on the next invoice by hand, or let them go",
    "no-invoice": "check that the subscription has an item with a price of this meter, and add the units by hand",
    "not-ours": "look for who else reports to this meter; issue a credit note if nobody should",
    "not-reported": "check that the gateway runs and can reach Stripe: it reports by itself",
    "pending-report": "check that the gateway runs and can reach Stripe: it sends them by itself",
    "price-changed": "nothing",
    "running": "nothing",
    "stripe-away": "ask again when Stripe answers",
    "unknown": "compare the line with the meter's events in Stripe's dashboard",
    "void": "nothing, if it was voided on purpose",
}


def because_words(because: Because) -> str:
    """`1,200 units: Stripe was told after the invoice had become final`."""
    units = f"{because.units:+,} units: " if because.units else ""
    return f"{units}{_MEANINGS[because.reason]}"


def advice_words(because: Because) -> str:
    """What to do about it."""
    return _ADVICE[because.reason]
