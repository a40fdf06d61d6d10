"""The hosted pages, of plain forms without a script.

Checkout at /c/pay/{id}, billing portal at /p/session/{id}, invoices at /i/{id}, a card's bank at /3ds/{id}.
"""

from __future__ import annotations

from litestar.handlers import HTTPRouteHandler

from gateway.sandbox.pages.challenge import Bank
from gateway.sandbox.pages.checkout import checkout_handlers
from gateway.sandbox.pages.invoice import invoice_handlers
from gateway.sandbox.pages.portal import portal_handlers
from gateway.sandbox.simulator import Simulator


def page_handlers(simulator: Simulator) -> list[HTTPRouteHandler]:
    """Every page, bound to one simulator."""
    bank = Bank(simulator)
    return [
        *checkout_handlers(simulator, bank),
        *portal_handlers(simulator, bank),
        *invoice_handlers(simulator, bank),
        *bank.handlers(),
    ]
