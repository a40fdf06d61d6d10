"""What needs Stripe is refused where there is none, before anything else is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar.handlers import BaseRouteHandler

from gateway.core.errors import BillingNotConfigured
from gateway.web.callers import Connection

if TYPE_CHECKING:
    from gateway.web.runtime import Runtime


def needs_billing(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard of every route that buys, changes or reads something at Stripe, or hears from it.

    Raises:
        BillingNotConfigured: The gateway was set up without Stripe.
    """
    runtime: Runtime = connection.app.state.runtime
    if not runtime.billing.is_configured:
        raise BillingNotConfigured
