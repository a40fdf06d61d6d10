"""Every parameter that the sandbox takes is one that the pinned SDK can send, with words that it knows."""

from __future__ import annotations

import importlib
import types
import typing
from functools import cache
from typing import Any, Literal, Union

import pytest
import stripe
import typing_extensions

from gateway.sandbox import API_VERSION
from gateway.sandbox.api import ENDPOINTS, Endpoint
from gateway.sandbox.wire.params import Each, Shape, Spec, Text, Whole

_SDK = {
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
    ("GET", "/v1/customers/{id}"): "CustomerRetrieveParams",
    ("POST", "/v1/customers/{id}"): "CustomerUpdateParams",
    ("DELETE", "/v1/customers/{id}"): "CustomerDeleteParams",
    ("GET", "/v1/customers/{id}/payment_methods"): "CustomerPaymentMethodListParams",
    ("GET", "/v1/customers/{id}/payment_methods/{method}"): "CustomerPaymentMethodRetrieveParams",
    ("POST", "/v1/payment_methods"): "PaymentMethodCreateParams",
    ("GET", "/v1/payment_methods"): "PaymentMethodListParams",
    ("GET", "/v1/payment_methods/{id}"): "PaymentMethodRetrieveParams",
    ("POST", "/v1/payment_methods/{id}/attach"): "PaymentMethodAttachParams",
    ("POST", "/v1/payment_methods/{id}/detach"): "PaymentMethodDetachParams",
    ("POST", "/v1/checkout/sessions"): "checkout.SessionCreateParams",
    ("GET", "/v1/checkout/sessions"): "checkout.SessionListParams",
    ("GET", "/v1/checkout/sessions/{id}"): "checkout.SessionRetrieveParams",
    ("POST", "/v1/checkout/sessions/{id}/expire"): "checkout.SessionExpireParams",
    ("GET", "/v1/checkout/sessions/{id}/line_items"): "checkout.SessionLineItemListParams",
    ("GET", "/v1/billing_portal/configurations"): "billing_portal.ConfigurationListParams",
    ("POST", "/v1/billing_portal/sessions"): "billing_portal.SessionCreateParams",
    ("POST", "/v1/subscriptions"): "SubscriptionCreateParams",
    ("GET", "/v1/subscriptions"): "SubscriptionListParams",
    ("GET", "/v1/subscriptions/{id}"): "SubscriptionRetrieveParams",
    ("POST", "/v1/subscriptions/{id}"): "SubscriptionUpdateParams",
    ("DELETE", "/v1/subscriptions/{id}"): "SubscriptionCancelParams",
    ("POST", "/v1/invoices/create_preview"): "InvoiceCreatePreviewParams",
    ("GET", "/v1/invoices"): "InvoiceListParams",
    ("GET", "/v1/invoices/{id}"): "InvoiceRetrieveParams",
    ("GET", "/v1/invoices/{id}/lines"): "InvoiceLineItemListParams",
    ("POST", "/v1/invoices/{id}/pay"): "InvoicePayParams",
    ("POST", "/v1/invoices/{id}/finalize"): "InvoiceFinalizeInvoiceParams",
    ("POST", "/v1/invoices/{id}/void"): "InvoiceVoidInvoiceParams",
    ("POST", "/v1/invoices/{id}/mark_uncollectible"): "InvoiceMarkUncollectibleParams",
    ("GET", "/v1/events"): "EventListParams",
    ("GET", "/v1/events/{id}"): "EventRetrieveParams",
    ("POST", "/v1/webhook_endpoints"): "WebhookEndpointCreateParams",
    ("GET", "/v1/webhook_endpoints"): "WebhookEndpointListParams",
    ("GET", "/v1/webhook_endpoints/{id}"): "WebhookEndpointRetrieveParams",
    ("POST", "/v1/webhook_endpoints/{id}"): "WebhookEndpointUpdateParams",
    ("DELETE", "/v1/webhook_endpoints/{id}"): "WebhookEndpointDeleteParams",
    ("GET", "/v1/account"): "AccountRetrieveCurrentParams",
    ("GET", "/v1/accounts/{id}"): "AccountRetrieveParams",
}


def _typed_dict(name: str) -> Any:
    package, _, cls = name.rpartition(".")
    module = importlib.import_module(f"stripe.params.{package}".rstrip("."))
    return getattr(module, cls)


@cache
def _hints(cls: Any) -> dict[str, Any]:
    names = vars(importlib.import_module(cls.__module__))
    return typing.get_type_hints(cls, globalns={**vars(typing), "StripeContext": Any, **names})


def _leaves(hint: Any) -> list[Any]:
    """Every type that a parameter may be, lists opened."""
    origin = typing.get_origin(hint)
    if origin in {Union, types.UnionType, list}:
        return [leaf for arg in typing.get_args(hint) for leaf in _leaves(arg)]
    return [hint]


def _faults(spec: Spec, cls: Any, path: str) -> list[str]:
    hints = _hints(cls)
    found = [f"{path}: {name} is unknown to the SDK" for name in spec if name not in hints]
    for name, kind in spec.items():
        leaves = _leaves(hints.get(name, str))
        words = {word for leaf in leaves if typing.get_origin(leaf) is Literal for word in typing.get_args(leaf)}
        known = words - {""}
        if isinstance(kind, (Shape, Each)):
            nested = [leaf for leaf in leaves if typing_extensions.is_typeddict(leaf)]
            nested_faults = [_faults(kind.fields, one, f"{path}.{name}") for one in nested]
            found += min(nested_faults, key=len, default=[f"{path}.{name}: not an object to the SDK"])
        if isinstance(kind, Text) and known:
            found += [f"{path}.{name}: unknown word {word}" for word in kind.choices if word not in known]
        if isinstance(kind, (Whole, Shape)) and kind.clearable and "" not in words:
            found.append(f"{path}.{name}: the SDK cannot unset it")
        if isinstance(kind, Whole):
            found += [f"{path}.{name}: unknown word {word}" for word in kind.words if word not in known]
    required = {name for name in cls.__required_keys__ if "NotRequired" not in str(cls.__annotations__[name])}
    found += [f"{path}: {name} is required by the SDK" for name in required if name not in spec]
    return found


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: f"{one.method}-{one.path.replace('/', '_')}")
def test_every_parameter_is_one_that_the_sdk_knows(endpoint: Endpoint) -> None:
    cls = _typed_dict(_SDK[endpoint.method, endpoint.path])
    assert _faults(endpoint.spec, cls, endpoint.path) == []


def test_the_version_is_the_one_that_the_sdk_pins() -> None:
    assert stripe.api_version == API_VERSION
