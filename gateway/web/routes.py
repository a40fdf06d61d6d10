"""All of our own routes, assembled. What is not listed here is not served."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from litestar import Litestar, Router
from litestar.datastructures import ResponseHeader
from litestar.di import Provide

from gateway.settings import Settings
from gateway.web import (
    api_keys,
    billing_routes,
    change_routes,
    operations,
    spend_caps,
    statement,
    usage,
    usage_history,
    webhook,
)
from gateway.web.admin import admin_router
from gateway.web.billing_routes import provide_checkouts
from gateway.web.callers import provide_caller, provide_runtime
from gateway.web.description import describe
from gateway.web.failures import EXCEPTION_HANDLERS
from gateway.web.head import AnswersHead
from gateway.web.jwks import jwks
from gateway.web.pages import page_handlers
from gateway.web.reserved import OPERATIONS

if TYPE_CHECKING:
    from litestar.types import ControllerRouterHandler

MAX_BODY_BYTES = 1024 * 1024
"""Largest body of our own routes; what is proxied has its own cap."""

_BILLING = (
    *billing_routes.HANDLERS,
    *statement.HANDLERS,
    *change_routes.HANDLERS,
    *spend_caps.HANDLERS,
    *usage.HANDLERS,
    *usage_history.HANDLERS,
    *api_keys.HANDLERS,
    *webhook.HANDLERS,
)
"""Under the billing prefix; `reserved.BILLING_ROUTES` names the same paths."""


def build_litestar(
    settings: Settings, *, lifespan: Callable[[Litestar], AbstractAsyncContextManager[None]]
) -> Litestar:
    """The app behind the metered edge. `lifespan` must set `app.state.runtime`."""
    app = Litestar(
        route_handlers=[
            Router(path=settings.billing_prefix, route_handlers=_BILLING),
            Router(path=OPERATIONS, route_handlers=_operations()),
        ],
        lifespan=[lifespan],
        dependencies={
            "runtime": Provide(provide_runtime, sync_to_thread=False),
            "caller": Provide(provide_caller),
            "checkouts": Provide(provide_checkouts, sync_to_thread=False),
        },
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=MAX_BODY_BYTES,
        response_headers=[
            ResponseHeader(name="cache-control", value="no-store"),
            ResponseHeader(name="x-content-type-options", value="nosniff"),
            ResponseHeader(name="referrer-policy", value="no-referrer"),
        ],
        openapi_config=describe(f"{OPERATIONS}/docs"),
        logging_config=None,
        debug=False,
        pdb_on_exception=False,
    )
    app.asgi_handler = AnswersHead(app.asgi_handler)  # type: ignore[assignment]  # as with the edge
    return app


def _operations() -> list[ControllerRouterHandler]:
    """Everything under /_tiergate."""
    return [
        *operations.HANDLERS,
        jwks,
        *page_handlers,
        admin_router(),
    ]
