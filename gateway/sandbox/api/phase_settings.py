"""Parameters that a subscription, a phase and a schedule have alike: how it is paid and taxed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.sandbox.engine.methods import method_of
from gateway.sandbox.engine.phase_settings import AUTOMATICALLY, BY_MAIL
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.records import InvoiceWords
from gateway.sandbox.schedule_records import Settings
from gateway.sandbox.wire.params import Flag, Shape, Spec, Text, Whole
from gateway.sandbox.world import World

_PARTY = Shape(fields={"type": Text(required=True, choices=("self",))})
_WORDS: Spec = {"description": Text(clearable=True), "footer": Text(clearable=True), "issuer": _PARTY}
SETTINGS: Spec = {
    "automatic_tax": Shape(fields={"enabled": Flag(required=True), "liability": _PARTY}),
    "collection_method": Text(choices=(AUTOMATICALLY, BY_MAIL)),
    "default_payment_method": Text(),
    "description": Text(clearable=True),
    "invoice_settings": Shape(fields=_WORDS),
}
PHASE_SETTINGS: Spec = {**SETTINGS, "invoice_settings": Shape(fields={**_WORDS, "days_until_due": Whole()})}
"""The same where it is of a schedule, which has the days to pay among its words."""


def own_method(world: World, customer_id: str, method_id: str) -> str:
    """The id of a payment method that is the customer's.

    Raises:
        Refused: It is not.
        NoSuchRecord: There is none.
    """
    method = method_of(world, method_id)
    if method.customer_id != customer_id:
        message = "The customer does not have this payment method: attach it first."
        raise Refused(message, param="default_payment_method", code="resource_missing")
    return method.id


def read_words(params: Mapping[str, Any], known: InvoiceWords) -> InvoiceWords:
    """What invoices say, with what a request changes of it."""
    said = params.get("invoice_settings", {})
    return InvoiceWords(description=said.get("description", known.description), footer=said.get("footer", known.footer))


def read_settings(world: World, customer_id: str, params: Mapping[str, Any], known: Settings | None = None) -> Settings:
    """The settings that a request says; what it leaves out is as it is `known`."""
    settings = known or Settings()
    if "default_payment_method" in params:
        method_id = own_method(world, customer_id, params["default_payment_method"])
        settings = replace(settings, payment_method_id=method_id)
    if (days := params.get("invoice_settings", {}).get("days_until_due")) is not None:
        settings = replace(settings, days_until_due=days)
    if "invoice_settings" in params:
        settings = replace(settings, invoice_words=read_words(params, settings.invoice_words or InvoiceWords()))
    return replace(
        settings,
        automatic_tax=params.get("automatic_tax", {}).get("enabled", settings.automatic_tax),
        collection_method=params.get("collection_method", settings.collection_method),
        description=params.get("description", settings.description),
    )
