"""What a checkout page is asked to sell, in Stripe's words. Every number and price in it is policy's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.billing.labels import customer_labels
from gateway.billing.webhook import METADATA_PLAN

if TYPE_CHECKING:
    from stripe.params.checkout import SessionCreateParams, SessionCreateParamsLineItem

    from gateway.core.offer import CheckoutTerms, Trial
    from gateway.core.purchase import Purchase


@dataclass(frozen=True, slots=True, kw_only=True)
class Buyer:
    """Who buys, and where its browser goes afterwards."""

    stripe_customer_id: str
    customer_id: str
    """Ours."""
    user_id: str
    """The seller's."""
    success_url: str
    cancel_url: str
    ledger_id: str | None = None
    """Of the ledger that it is a customer in."""


def checkout_params(
    purchase: Purchase, buyer: Buyer, price_ids: tuple[str, ...], metered_ids: tuple[str, ...]
) -> SessionCreateParams:
    """The parameters of a checkout session.

    Args:
        purchase: What is sold.
        buyer: To whom.
        price_ids: Of the plan, then of each add-on.
        metered_ids: Prices of overage: sold without a quantity.
    """
    metadata = {
        **customer_labels(buyer.customer_id, buyer.user_id, buyer.ledger_id),
        METADATA_PLAN: purchase.plan.plan_id,
    }
    params: SessionCreateParams = {
        "mode": "subscription",
        "customer": buyer.stripe_customer_id,
        "client_reference_id": buyer.customer_id,
        "line_items": _lines(purchase, price_ids, metered_ids),
        "metadata": metadata,
        "subscription_data": {"metadata": metadata},
        "success_url": buyer.success_url,
        "cancel_url": buyer.cancel_url,
    }
    if purchase.trial is not None:
        _offer_trial(params, purchase.trial)
    if purchase.coupon is not None:
        params["discounts"] = [{"coupon": purchase.coupon}]
    _set_terms(params, purchase.plan.terms)
    return params


def _set_terms(params: SessionCreateParams, terms: CheckoutTerms) -> None:
    """What tax and invoices depend on is kept on the customer: Stripe refuses to work out a tax otherwise."""
    if terms.billing_address:
        params["billing_address_collection"] = "required"
        params["customer_update"] = {"address": "auto"}
    if terms.tax:
        params["automatic_tax"] = {"enabled": True}
        params["tax_id_collection"] = {"enabled": True}
        params["customer_update"] = {"address": "auto", "name": "auto"}
    if terms.promotion_codes:
        params["allow_promotion_codes"] = True


def _offer_trial(params: SessionCreateParams, trial: Trial) -> None:
    """A card is asked for at the beginning, or else what becomes of the trial at its end is said."""
    data = params["subscription_data"]
    data["trial_period_days"] = trial.days
    if trial.without_card is not None:
        data["trial_settings"] = {"end_behavior": {"missing_payment_method": trial.without_card}}
        params["payment_method_collection"] = "if_required"


def _lines(
    purchase: Purchase, price_ids: tuple[str, ...], metered_ids: tuple[str, ...]
) -> list[SessionCreateParamsLineItem]:
    base, *others = price_ids
    add_ons: list[SessionCreateParamsLineItem] = [{"price": price_id, "quantity": 1} for price_id in others]
    usage: list[SessionCreateParamsLineItem] = [{"price": price_id} for price_id in metered_ids]
    return [_base_line(purchase, base), *add_ons, *usage]


def _base_line(purchase: Purchase, price_id: str) -> SessionCreateParamsLineItem:
    """The buyer may still choose another number of seats on the page, within what policy sells."""
    line: SessionCreateParamsLineItem = {"price": price_id, "quantity": purchase.seats}
    sold = purchase.plan.seats
    if sold is not None and sold.least < sold.most:
        line["adjustable_quantity"] = {"enabled": True, "minimum": sold.least, "maximum": sold.most}
    return line
