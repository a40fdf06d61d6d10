"""How invoices are collected: by themselves, or sent by mail with a date by which they are to be paid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.sandbox.engine.phase_settings import AUTOMATICALLY, BY_MAIL
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.subscriptions import pays_late
from gateway.sandbox.records import Subscription
from gateway.sandbox.wire.params import Spec, Text, Whole
from gateway.sandbox.world import World

COLLECTION: Spec = {
    "collection_method": Text(choices=(AUTOMATICALLY, BY_MAIL)),
    "days_until_due": Whole(),
}


def read_days(params: Mapping[str, Any], has: int | None = None) -> int | None:
    """Days in which an invoice is to be paid; None: it is collected by itself.

    Raises:
        Refused: one of both is said without the other.
    """
    method = params.get("collection_method", AUTOMATICALLY if has is None else BY_MAIL)
    days = params.get("days_until_due", has if method == BY_MAIL else None)
    if method == BY_MAIL and days is None:
        message = "If `collection_method` is set to `send_invoice`, then you must specify `days_until_due`."
        raise Refused(message, param="days_until_due")
    if method != BY_MAIL and days is not None:
        message = "You can only specify `days_until_due` if `collection_method` is set to `send_invoice`."
        raise Refused(message, param="days_until_due")
    return None if days is None else int(days)


def refuse_waiting(world: World, subscription: Subscription) -> None:
    """Some ways to pay cannot make a change wait for its payment.

    Source: https://docs.stripe.com/billing/subscriptions/pending-updates, which names those that can; a bank debit is
    not among them, and invoices have to be collected by themselves.

    Raises:
        Refused: Of such a one.
    """
    if pays_late(world, subscription):
        message = "Pending updates are not supported for subscriptions that are paid by bank debit."
        raise Refused(message, param="payment_behavior")
    if subscription.days_until_due is not None:
        message = "Pending updates are only supported for subscriptions with `collection_method=charge_automatically`."
        raise Refused(message, param="payment_behavior")
