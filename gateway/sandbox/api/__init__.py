"""The endpoints, one table per kind of object: which parameters they take and what they do."""

from __future__ import annotations

from gateway.sandbox.api import (
    catalog,
    charges,
    coupons,
    customers,
    destinations,
    events,
    features,
    invoices,
    meters,
    methods,
    payments,
    portals,
    schedules,
    sessions,
    subscriptions,
    test_clocks,
)
from gateway.sandbox.api.endpoint import Call, Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (
    *catalog.ENDPOINTS,
    *customers.ENDPOINTS,
    *methods.ENDPOINTS,
    *sessions.ENDPOINTS,
    *portals.ENDPOINTS,
    *subscriptions.ENDPOINTS,
    *schedules.ENDPOINTS,
    *invoices.ENDPOINTS,
    *payments.ENDPOINTS,
    *meters.ENDPOINTS,
    *charges.ENDPOINTS,
    *coupons.ENDPOINTS,
    *features.ENDPOINTS,
    *events.ENDPOINTS,
    *destinations.ENDPOINTS,
    *test_clocks.ENDPOINTS,
)

__all__ = ["ENDPOINTS", "Call", "Endpoint"]
