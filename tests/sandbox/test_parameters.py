"""Every parameter that the sandbox takes is one that the pinned SDK can send, with words that it knows."""

from __future__ import annotations

import typing
from typing import Any, Literal

import pytest
import stripe
import typing_extensions

from gateway.sandbox import API_VERSION
from gateway.sandbox.api import ENDPOINTS, Endpoint
from gateway.sandbox.wire.params import Each, Shape, Spec, Text, Whole
from tests.stripe_sdk.params import REQUESTS, faults_of_request, hints_of, leaves, required_by, typed_dict

pytestmark = pytest.mark.slow


def _faults(spec: Spec, cls: Any, path: str) -> list[str]:
    hints = hints_of(cls)
    found = [f"{path}: {name} is unknown to the SDK" for name in spec if name not in hints]
    for name, kind in spec.items():
        kinds = leaves(hints.get(name, str))
        words = {word for leaf in kinds if typing.get_origin(leaf) is Literal for word in typing.get_args(leaf)}
        known = words - {""}
        if isinstance(kind, (Shape, Each)):
            nested = [leaf for leaf in kinds if typing_extensions.is_typeddict(leaf)]
            nested_faults = [_faults(kind.fields, one, f"{path}.{name}") for one in nested]
            found += min(nested_faults, key=len, default=[f"{path}.{name}: not an object to the SDK"])
        if isinstance(kind, Text) and known:
            found += [f"{path}.{name}: unknown word {word}" for word in kind.choices if word not in known]
        if isinstance(kind, (Text, Whole, Shape)) and kind.clearable and "" not in words:
            found.append(f"{path}.{name}: the SDK cannot unset it")
        if isinstance(kind, Whole):
            found += [f"{path}.{name}: unknown word {word}" for word in kind.words if word not in known]
    found += [f"{path}: {name} is required by the SDK" for name in required_by(cls) if name not in spec]
    return found


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: f"{one.method}-{one.path.replace('/', '_')}")
def test_every_parameter_is_one_that_the_sdk_knows(endpoint: Endpoint) -> None:
    cls = typed_dict(REQUESTS[endpoint.method, endpoint.path])
    assert _faults(endpoint.spec, cls, endpoint.path) == []


def test_the_version_is_the_one_that_the_sdk_pins() -> None:
    assert stripe.api_version == API_VERSION


CHECKOUT = {
    "mode": "subscription",
    "success_url": "http://127.0.0.1/done",
    "line_items": {"0": {"price": "price_1", "quantity": "1"}},
    "subscription_data": {"metadata": {"a": "b"}, "trial_period_days": "5"},
    "expand": ["line_items"],
}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, None),
        ({"metadata": ""}, "metadata: not an object"),
        ({"mode": "subscribe"}, "mode: 'subscribe' is not one of"),
        ({"sucess_url": "x"}, "sucess_url is unknown to the SDK"),
        ({"line_items": {"0": {"price": "price_1", "quantity": "two"}}}, "quantity: 'two' is not int"),
        ({"line_items": {"0": {"prize": "price_1"}}}, "prize is unknown to the SDK"),
        ({"subscription_data": {"trial_period_days": ""}}, "trial_period_days: '' is not int"),
        ({"allow_promotion_codes": "yes"}, "allow_promotion_codes: 'yes' is not bool"),
        ({"expand": "line_items"}, "expand: not a list"),
    ],
    ids=str,
)
def test_the_check_of_parameters_finds_what_is_wrong(change: dict[str, Any], fault: str | None) -> None:
    found = faults_of_request("POST", "/v1/checkout/sessions", CHECKOUT | change)
    assert ([one for one in found if fault in one] != []) if fault else found == []


def test_the_check_of_parameters_finds_what_is_missing_and_what_nobody_serves() -> None:
    found = faults_of_request("POST", "/v1/payment_links", {})
    assert found == ["POST /v1/payment_links: no request that this check knows"]
    [fault] = faults_of_request("GET", "/v1/payment_methods/pm_1/attach", {})
    assert "no request" in fault
    assert "POST /v1/products: name is required by the SDK" in faults_of_request("POST", "/v1/products", {})
