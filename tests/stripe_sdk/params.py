"""The pinned SDK is the schema of what is sent: `stripe.params` says which parameters a request may have.

Everything travels as text in a form, so a number is a text of digits, and `""` unsets where the SDK says so.
"""

from __future__ import annotations

import importlib
import re
import types
import typing
from decimal import Decimal
from functools import cache
from typing import Any, Literal, Union

import typing_extensions

REQUESTS = {
    ("POST", "/v1/products"): "ProductCreateParams",
    ("GET", "/v1/products"): "ProductListParams",
    ("GET", "/v1/products/{id}"): "ProductRetrieveParams",
    ("POST", "/v1/products/{id}"): "ProductUpdateParams",
    ("POST", "/v1/prices"): "PriceCreateParams",
    ("GET", "/v1/prices"): "PriceListParams",
    ("GET", "/v1/prices/{id}"): "PriceRetrieveParams",
    ("POST", "/v1/prices/{id}"): "PriceUpdateParams",
    ("POST", "/v1/customers"): "CustomerCreateParams",
    ("GET", "/v1/customers"): "CustomerListParams",
    ("GET", "/v1/customers/search"): "CustomerSearchParams",
    ("GET", "/v1/customers/{id}"): "CustomerRetrieveParams",
    ("POST", "/v1/customers/{id}"): "CustomerUpdateParams",
    ("DELETE", "/v1/customers/{id}"): "CustomerDeleteParams",
    ("POST", "/v1/test_helpers/test_clocks"): "test_helpers.TestClockCreateParams",
    ("GET", "/v1/test_helpers/test_clocks"): "test_helpers.TestClockListParams",
    ("GET", "/v1/test_helpers/test_clocks/{id}"): "test_helpers.TestClockRetrieveParams",
    ("DELETE", "/v1/test_helpers/test_clocks/{id}"): "test_helpers.TestClockDeleteParams",
    ("POST", "/v1/test_helpers/test_clocks/{id}/advance"): "test_helpers.TestClockAdvanceParams",
    ("GET", "/v1/customers/{id}/payment_methods"): "CustomerPaymentMethodListParams",
    ("GET", "/v1/customers/{id}/payment_methods/{method}"): "CustomerPaymentMethodRetrieveParams",
    ("POST", "/v1/payment_methods"): "PaymentMethodCreateParams",
    ("GET", "/v1/payment_methods"): "PaymentMethodListParams",
    ("GET", "/v1/payment_methods/{id}"): "PaymentMethodRetrieveParams",
    ("POST", "/v1/payment_methods/{id}/attach"): "PaymentMethodAttachParams",
    ("POST", "/v1/payment_methods/{id}/detach"): "PaymentMethodDetachParams",
    ("POST", "/v1/coupons"): "CouponCreateParams",
    ("GET", "/v1/coupons"): "CouponListParams",
    ("GET", "/v1/coupons/{id}"): "CouponRetrieveParams",
    ("DELETE", "/v1/coupons/{id}"): "CouponDeleteParams",
    ("POST", "/v1/promotion_codes"): "PromotionCodeCreateParams",
    ("GET", "/v1/promotion_codes"): "PromotionCodeListParams",
    ("GET", "/v1/promotion_codes/{id}"): "PromotionCodeRetrieveParams",
    ("POST", "/v1/promotion_codes/{id}"): "PromotionCodeUpdateParams",
    ("POST", "/v1/checkout/sessions"): "checkout.SessionCreateParams",
    ("GET", "/v1/checkout/sessions"): "checkout.SessionListParams",
    ("GET", "/v1/checkout/sessions/{id}"): "checkout.SessionRetrieveParams",
    ("POST", "/v1/checkout/sessions/{id}/expire"): "checkout.SessionExpireParams",
    ("GET", "/v1/checkout/sessions/{id}/line_items"): "checkout.SessionLineItemListParams",
    ("GET", "/v1/billing_portal/configurations"): "billing_portal.ConfigurationListParams",
    ("POST", "/v1/billing_portal/configurations"): "billing_portal.ConfigurationCreateParams",
    ("GET", "/v1/billing_portal/configurations/{id}"): "billing_portal.ConfigurationRetrieveParams",
    ("POST", "/v1/billing_portal/configurations/{id}"): "billing_portal.ConfigurationUpdateParams",
    ("POST", "/v1/billing_portal/sessions"): "billing_portal.SessionCreateParams",
    ("POST", "/v1/subscriptions"): "SubscriptionCreateParams",
    ("GET", "/v1/subscriptions"): "SubscriptionListParams",
    ("GET", "/v1/subscriptions/{id}"): "SubscriptionRetrieveParams",
    ("POST", "/v1/subscriptions/{id}"): "SubscriptionUpdateParams",
    ("POST", "/v1/subscriptions/{id}/resume"): "SubscriptionResumeParams",
    ("DELETE", "/v1/subscriptions/{id}"): "SubscriptionCancelParams",
    ("POST", "/v1/subscription_schedules"): "SubscriptionScheduleCreateParams",
    ("GET", "/v1/subscription_schedules"): "SubscriptionScheduleListParams",
    ("GET", "/v1/subscription_schedules/{id}"): "SubscriptionScheduleRetrieveParams",
    ("POST", "/v1/subscription_schedules/{id}"): "SubscriptionScheduleUpdateParams",
    ("POST", "/v1/subscription_schedules/{id}/release"): "SubscriptionScheduleReleaseParams",
    ("POST", "/v1/subscription_schedules/{id}/cancel"): "SubscriptionScheduleCancelParams",
    ("POST", "/v1/invoices/create_preview"): "InvoiceCreatePreviewParams",
    ("GET", "/v1/invoices"): "InvoiceListParams",
    ("GET", "/v1/invoices/{id}"): "InvoiceRetrieveParams",
    ("GET", "/v1/invoices/{id}/lines"): "InvoiceLineItemListParams",
    ("POST", "/v1/invoices/{id}/pay"): "InvoicePayParams",
    ("POST", "/v1/invoices/{id}/finalize"): "InvoiceFinalizeInvoiceParams",
    ("POST", "/v1/invoices/{id}/void"): "InvoiceVoidInvoiceParams",
    ("GET", "/v1/invoice_payments"): "InvoicePaymentListParams",
    ("GET", "/v1/payment_intents/{id}"): "PaymentIntentRetrieveParams",
    ("POST", "/v1/invoices/{id}/mark_uncollectible"): "InvoiceMarkUncollectibleParams",
    ("POST", "/v1/entitlements/features"): "entitlements.FeatureCreateParams",
    ("GET", "/v1/entitlements/features"): "entitlements.FeatureListParams",
    ("GET", "/v1/entitlements/features/{id}"): "entitlements.FeatureRetrieveParams",
    ("POST", "/v1/entitlements/features/{id}"): "entitlements.FeatureUpdateParams",
    ("GET", "/v1/entitlements/active_entitlements"): "entitlements.ActiveEntitlementListParams",
    ("POST", "/v1/products/{id}/features"): "ProductFeatureCreateParams",
    ("GET", "/v1/products/{id}/features"): "ProductFeatureListParams",
    ("DELETE", "/v1/products/{id}/features/{feature}"): "ProductFeatureDeleteParams",
    ("POST", "/v1/billing/meters"): "billing.MeterCreateParams",
    ("GET", "/v1/billing/meters"): "billing.MeterListParams",
    ("GET", "/v1/billing/meters/{id}"): "billing.MeterRetrieveParams",
    ("POST", "/v1/billing/meters/{id}"): "billing.MeterUpdateParams",
    ("POST", "/v1/billing/meters/{id}/deactivate"): "billing.MeterDeactivateParams",
    ("POST", "/v1/billing/meters/{id}/reactivate"): "billing.MeterReactivateParams",
    ("GET", "/v1/billing/meters/{id}/event_summaries"): "billing.MeterEventSummaryListParams",
    ("POST", "/v1/billing/meter_events"): "billing.MeterEventCreateParams",
    ("POST", "/v1/billing/meter_event_adjustments"): "billing.MeterEventAdjustmentCreateParams",
    ("GET", "/v1/charges"): "ChargeListParams",
    ("GET", "/v1/charges/{id}"): "ChargeRetrieveParams",
    ("POST", "/v1/refunds"): "RefundCreateParams",
    ("GET", "/v1/refunds"): "RefundListParams",
    ("GET", "/v1/refunds/{id}"): "RefundRetrieveParams",
    ("GET", "/v1/disputes"): "DisputeListParams",
    ("GET", "/v1/disputes/{id}"): "DisputeRetrieveParams",
    ("POST", "/v1/disputes/{id}"): "DisputeUpdateParams",
    ("POST", "/v1/disputes/{id}/close"): "DisputeCloseParams",
    ("GET", "/v1/events"): "EventListParams",
    ("GET", "/v1/events/{id}"): "EventRetrieveParams",
    ("POST", "/v1/webhook_endpoints"): "WebhookEndpointCreateParams",
    ("GET", "/v1/webhook_endpoints"): "WebhookEndpointListParams",
    ("GET", "/v1/webhook_endpoints/{id}"): "WebhookEndpointRetrieveParams",
    ("POST", "/v1/webhook_endpoints/{id}"): "WebhookEndpointUpdateParams",
    ("DELETE", "/v1/webhook_endpoints/{id}"): "WebhookEndpointDeleteParams",
    ("GET", "/v1/account"): "AccountRetrieveCurrentParams",
    ("GET", "/v1/accounts/{id}"): "AccountRetrieveParams",
    ("GET", "/v2/core/events"): "v2.core.EventListParams",
    ("GET", "/v2/core/events/{id}"): "v2.core.EventRetrieveParams",
    ("POST", "/v2/core/event_destinations"): "v2.core.EventDestinationCreateParams",
    ("GET", "/v2/core/event_destinations"): "v2.core.EventDestinationListParams",
    ("GET", "/v2/core/event_destinations/{id}"): "v2.core.EventDestinationRetrieveParams",
    ("POST", "/v2/core/event_destinations/{id}"): "v2.core.EventDestinationUpdateParams",
    ("DELETE", "/v2/core/event_destinations/{id}"): "v2.core.EventDestinationDeleteParams",
    ("POST", "/v2/core/event_destinations/{id}/enable"): "v2.core.EventDestinationEnableParams",
    ("POST", "/v2/core/event_destinations/{id}/disable"): "v2.core.EventDestinationDisableParams",
    ("POST", "/v2/core/event_destinations/{id}/ping"): "v2.core.EventDestinationPingParams",
}


def typed_dict(name: str) -> Any:
    package, _, cls = name.rpartition(".")
    module = importlib.import_module(f"stripe.params.{package}".rstrip("."))
    return getattr(module, cls)


@cache
def hints_of(cls: Any) -> dict[str, Any]:
    names = vars(importlib.import_module(cls.__module__))
    return typing.get_type_hints(cls, globalns={**vars(typing), "StripeContext": Any, **names})


def leaves(hint: Any) -> list[Any]:
    """Every type that a parameter may be, lists opened."""
    origin = typing.get_origin(hint)
    if origin in {Union, types.UnionType, list}:
        return [leaf for arg in typing.get_args(hint) for leaf in leaves(arg)]
    return [hint]


_ID = re.compile(r"\{[a-z]+\}")
_TEXTS = {
    int: re.compile(r"-?\d+"),
    bool: re.compile(r"true|false"),
    float: re.compile(r"-?\d+(\.\d+)?"),
    Decimal: re.compile(r"-?\d+(\.\d+)?"),
    str: re.compile(r".+", re.DOTALL),
}


def template_of(method: str, path: str) -> str | None:
    """The path as `REQUESTS` has it. A fixed name is found before an id."""
    fitting = [known for verb, known in REQUESTS if verb == method and _pattern(known).fullmatch(path)]
    return min(fitting, key=lambda known: known.count("{"), default=None)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile("[^/]+".join(re.escape(part) for part in _ID.split(template)))


def faults_of_request(method: str, path: str, tree: dict[str, Any]) -> list[str]:
    """Everything about a request that the SDK does not know: its path, a parameter's name, or its kind."""
    template = template_of(method, path)
    if template is None:
        return [f"{method} {path}: no request that this check knows"]
    if path.startswith("/v2/") and method == "GET":  # in the address of a next page, which the SDK follows as it is
        tree = {name: value for name, value in tree.items() if name != "page"}
    return _faults_of_object(tree, typed_dict(REQUESTS[method, template]), f"{method} {template}")


def required_by(cls: Any) -> set[str]:
    """The parameters that a request must have."""
    return {name for name in cls.__required_keys__ if "NotRequired" not in str(cls.__annotations__[name])}


def _faults_of_object(tree: dict[str, Any], cls: Any, path: str) -> list[str]:
    hints = hints_of(cls)
    found = [f"{path}: {name} is unknown to the SDK" for name in tree if name not in hints]
    found += [f"{path}: {name} is required by the SDK" for name in required_by(cls) if name not in tree]
    for name, value in tree.items():
        if name in hints:
            found += _faults(value, hints[name], f"{path} {name}")
    return found


def _faults(value: Any, hint: Any, path: str) -> list[str]:
    options = _alternatives(hint)
    words = {word for one in options if typing.get_origin(one) is Literal for word in typing.get_args(one)}
    if words - {""}:  # the SDK leaves its enumerations open (`Literal[...] | str`); a new word needs a newer SDK
        options = [one for one in options if one is not str]
    return min((_faults_of_one(value, one, path) for one in options), key=len)


def _alternatives(hint: Any) -> list[Any]:
    if typing.get_origin(hint) in {Union, types.UnionType, typing.NotRequired, typing_extensions.NotRequired}:
        return [one for arg in typing.get_args(hint) for one in _alternatives(arg)]
    return [hint]


def _faults_of_one(value: Any, hint: Any, path: str) -> list[str]:
    origin = typing.get_origin(hint)
    if origin is Literal:
        return [] if value in typing.get_args(hint) else [f"{path}: {value!r} is not one of {typing.get_args(hint)}"]
    if typing_extensions.is_typeddict(hint):
        return _faults_of_object(value, hint, path) if isinstance(value, dict) else [f"{path}: not an object"]
    if origin is list:
        return _faults_of_list(value, typing.get_args(hint)[0], path)
    if origin is dict:
        return [] if isinstance(value, dict) else [f"{path}: not an object"]
    if hint in _TEXTS:
        fits = isinstance(value, str) and _TEXTS[hint].fullmatch(value)
        return [] if fits else [f"{path}: {value!r} is not {hint.__name__}"]
    return [f"{path}: {hint} is not checked"]


def _faults_of_list(value: Any, element: Any, path: str) -> list[str]:
    if isinstance(value, dict) and all(name.isdigit() for name in value):
        value = list(value.values())
    if not isinstance(value, list):
        return [f"{path}: not a list"]
    return [fault for one in value for fault in _faults(one, element, path)]
