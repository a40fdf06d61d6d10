"""A stateful Stripe simulator on loopback, and a sample API to put a gateway in front of.

It stands alone: the gateway reaches it over HTTP only, through the real Stripe SDK. `python -m
gateway.sandbox` runs both; `running` does so within a program's own event loop.

    records, world     what the account holds; immutable records in tables
    periods, proration, cards, rules
    engine/            what happens to it: pure acts on the world, with events
    shapes/            records as the JSON of API version 2026-10-28.endive
    wire/              forms, parameters, errors, pages of lists, expansion, idempotency
    api/               the endpoints
    simulator          real time, the test clock, deliveries
    delivery/          signed webhooks, retries, faults
    stripe_app, control, happenings, pages/, serving    HTTP
"""

from __future__ import annotations

from gateway.sandbox.delivery.faults import ApiFault, Faults
from gateway.sandbox.rules import API_VERSION, DeliveryRules, Rules
from gateway.sandbox.serving import Listening, Running, running
from gateway.sandbox.simulator import DEFAULT_KEY, Simulator
from gateway.sandbox.stripe_app import create_stripe
from gateway.sandbox.upstream import upstream_app

__all__ = [
    "API_VERSION",
    "DEFAULT_KEY",
    "ApiFault",
    "DeliveryRules",
    "Faults",
    "Listening",
    "Rules",
    "Running",
    "Simulator",
    "create_stripe",
    "running",
    "upstream_app",
]
