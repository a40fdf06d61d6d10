"""Stripe: what we ask of it, what its events mean, and whether a delivery is really its own.

The only package that imports the SDK. It answers in plain values and fails in two ways:
`BillingUnavailable` (waiting helps) and `BillingRefused` (somebody must look).
"""

from __future__ import annotations

from gateway.billing.checkout_params import Buyer
from gateway.billing.claims import NOTHING_CLAIMED, Claimed, claimed_customer
from gateway.billing.client import API_VERSION, Billing
from gateway.billing.destinations import DestinationFacts, DestinationKeeper
from gateway.billing.endpoints import EndpointFacts, NewEndpoint
from gateway.billing.events import (
    ITEMS_LEFT,
    METER_ERRORS,
    PLANS_CHANGED,
    REASONS,
    SUBSCRIBED_TYPES,
    THIN_TYPES,
    Meaning,
    meaning_of,
    thin_type,
)
from gateway.billing.facts import Owner
from gateway.billing.failures import WrongStripeMode
from gateway.billing.health import SEARCH, StripeReport
from gateway.billing.means import PaymentMeans
from gateway.billing.meter_errors import ERROR_REPORTS
from gateway.billing.options import DEADLINE_S, SEARCHES_PER_S, StripeOptions
from gateway.billing.portal import PortalFlow, PortalFlowName
from gateway.billing.previewing import ChangePreview, PreviewLine
from gateway.billing.reading import CheckoutFacts, PriceFacts
from gateway.billing.sales import Sales, check_rhythm
from gateway.billing.told import FIRST_TOLD, Told, ToldTo
from gateway.billing.undelivered import FIRST_SWEPT, SweptTo
from gateway.billing.values import ChangeResult, CheckoutLink, CouponFacts, LaterChange, PlanChange
from gateway.billing.webhook import (
    MAX_PAYLOAD_BYTES,
    TOLERANCE_S,
    EventEnvelope,
    InvalidPayload,
    InvalidSignature,
    SignatureTrouble,
    remapped_price,
    subject_of,
    verify,
)

__all__ = [
    "API_VERSION",
    "DEADLINE_S",
    "ERROR_REPORTS",
    "FIRST_SWEPT",
    "FIRST_TOLD",
    "ITEMS_LEFT",
    "MAX_PAYLOAD_BYTES",
    "METER_ERRORS",
    "NOTHING_CLAIMED",
    "PLANS_CHANGED",
    "REASONS",
    "SEARCH",
    "SEARCHES_PER_S",
    "SUBSCRIBED_TYPES",
    "THIN_TYPES",
    "TOLERANCE_S",
    "Billing",
    "Buyer",
    "ChangePreview",
    "ChangeResult",
    "CheckoutFacts",
    "CheckoutLink",
    "Claimed",
    "CouponFacts",
    "DestinationFacts",
    "DestinationKeeper",
    "EndpointFacts",
    "EventEnvelope",
    "InvalidPayload",
    "InvalidSignature",
    "LaterChange",
    "Meaning",
    "NewEndpoint",
    "Owner",
    "PaymentMeans",
    "PlanChange",
    "PortalFlow",
    "PortalFlowName",
    "PreviewLine",
    "PriceFacts",
    "Sales",
    "SignatureTrouble",
    "StripeOptions",
    "StripeReport",
    "SweptTo",
    "Told",
    "ToldTo",
    "WrongStripeMode",
    "check_rhythm",
    "claimed_customer",
    "meaning_of",
    "remapped_price",
    "subject_of",
    "thin_type",
    "verify",
]
