"""The hosted pages: checkout at /c/pay/{id}, billing portal at /p/session/{id}. Plain forms, no script."""

from __future__ import annotations

from litestar.handlers import HTTPRouteHandler

from gateway.sandbox.pages.checkout import checkout_handlers
from gateway.sandbox.pages.portal import portal_handlers
from gateway.sandbox.simulator import Simulator


def page_handlers(simulator: Simulator) -> list[HTTPRouteHandler]:
    """Every page, bound to one simulator."""
    return [*checkout_handlers(simulator), *portal_handlers(simulator)]
