"""The OpenAPI document of our own routes, and what Litestar does not say in it by itself.

Laws: whoever sends what the document allows is not refused for its shape, and every route says
which credentials it takes. Rules that no schema can tell (one of two fields, a plan that exists)
stand in the descriptions.
"""

from __future__ import annotations

from typing import Any

from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

import gateway
from gateway.web.admin_bodies import CustomerOrder, Reason
from gateway.web.api_keys import KeyRequest, Rotation
from gateway.web.billing_bodies import ChangeOrder, CheckoutOrder, Named
from gateway.web.callers import AnyRequest
from gateway.web.credentials import API_KEY, BEARER, SIGNATURE, WITH_KEY

_CLOSED = frozenset(
    body.__name__ for body in (ChangeOrder, CheckoutOrder, CustomerOrder, KeyRequest, Named, Reason, Rotation)
)
"""Bodies that are refused with a field they do not have."""


class _Document(JsonRenderPlugin):
    """Litestar's document, corrected."""

    def render(self, request: AnyRequest, openapi_schema: dict[str, Any]) -> bytes:
        for name, schema in openapi_schema["components"]["schemas"].items():
            if name in _CLOSED:
                schema["additionalProperties"] = False
        for item in openapi_schema["paths"].values():
            for operation in item.values():
                if "requestBody" in operation:
                    operation["requestBody"]["required"] = not _may_be_null(operation["requestBody"])
        return super().render(request, openapi_schema)


def _may_be_null(body: dict[str, Any]) -> bool:
    """A body that may be null may be left out."""
    return any({"type": "null"} in content["schema"].get("oneOf", ()) for content in body["content"].values())


def describe(path: str) -> OpenAPIConfig:
    """How the document is made, and that it is served under `path`."""
    return OpenAPIConfig(
        title="Tiergate",
        version=gateway.__version__,
        description="Billing, keys, usage and operations of this gateway. Errors are problem documents (RFC 9457).",
        path=path,
        render_plugins=[_Document(path=["/", "/openapi.json"])],
        use_handler_docstrings=True,
        security=WITH_KEY,
        components=Components(
            security_schemes={
                BEARER: SecurityScheme(
                    type="http",
                    scheme="bearer",
                    description="An API key, the server token or the admin token.",
                ),
                API_KEY: SecurityScheme(
                    type="apiKey", security_scheme_in="header", name="X-API-Key", description="An API key."
                ),
                SIGNATURE: SecurityScheme(
                    type="apiKey",
                    security_scheme_in="header",
                    name="Stripe-Signature",
                    description="Stripe's signature of the body.",
                ),
            }
        ),
    )
