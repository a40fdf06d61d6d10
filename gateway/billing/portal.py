"""Stripe's portal, opened at one act: a deep link, after which the customer is sent back to where it came from.

Source: https://docs.stripe.com/customer-management/portal-deep-links
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from stripe.params.billing_portal import SessionCreateParams, SessionCreateParamsFlowData

PortalFlowName: TypeAlias = Literal[
    "payment_method_update", "subscription_cancel", "subscription_update", "subscription_update_confirm"
]
"""Stripe's words for what a customer can be led to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalFlow:
    """One act in the portal."""

    name: PortalFlowName
    done_url: str
    """Where the browser goes when it is done."""
    subscription_id: str | None = None
    """Which subscription; a payment method needs none."""
    item_id: str | None = None
    price_id: str | None = None
    """What the item is to be sold at, for `subscription_update_confirm`; read of Stripe for a plan of the policy."""
    quantity: int = 1


def portal_params(
    stripe_customer_id: str, return_url: str, flow: PortalFlow | None, configuration: str | None
) -> SessionCreateParams:
    """What Stripe is asked for; see `Billing.create_portal_session`."""
    params: SessionCreateParams = {"customer": stripe_customer_id, "return_url": return_url}
    if configuration is not None:
        params["configuration"] = configuration
    if flow is not None:
        params["flow_data"] = _flow_params(flow)
    return params


def _flow_params(flow: PortalFlow) -> SessionCreateParamsFlowData:
    subscription = flow.subscription_id or ""
    params: SessionCreateParamsFlowData = {
        "type": flow.name,
        "after_completion": {"type": "redirect", "redirect": {"return_url": flow.done_url}},
    }
    if flow.name == "subscription_cancel":
        params["subscription_cancel"] = {"subscription": subscription}
    elif flow.name == "subscription_update":
        params["subscription_update"] = {"subscription": subscription}
    elif flow.name == "subscription_update_confirm":
        params["subscription_update_confirm"] = {
            "subscription": subscription,
            "items": [{"id": flow.item_id or "", "price": flow.price_id or "", "quantity": flow.quantity}],
        }
    return params
