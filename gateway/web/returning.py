"""A browser that began a checkout, and begins another before it has a key: a second tab, or a second try.

It is the same buyer, so it stays one customer, and what it paid for already is shown instead of sold
again. Only a customer of whom nobody ever had a key counts: whoever planted a claim in somebody else's
browser then holds nothing of what that browser pays for.
"""

from __future__ import annotations

from gateway.ledger import CheckoutRow
from gateway.web.claim_cookie import begun_sessions
from gateway.web.page_frame import Visit
from gateway.web.success_page import first_keys, is_claimant, may_ask


async def begun_before(visit: Visit) -> list[CheckoutRow]:
    """What the browser began as its last customer without a key, the newest first.

    Raises:
        LedgerUnavailable: Nobody can say.
    """
    keys = first_keys(visit)
    found: list[CheckoutRow] = []
    for session_id in begun_sessions(visit.request.cookies):
        checkout = await visit.runtime.ledger.find_checkout(session_id)
        if checkout is None or not is_claimant(visit, keys, checkout):
            continue
        if not found and await visit.runtime.provisioning.list(checkout.customer_id, include_revoked=True, limit=1):
            continue
        if not found or checkout.customer_id == found[0].customer_id:
            found.append(checkout)
    return found


async def paid_before(visit: Visit, begun: list[CheckoutRow]) -> CheckoutRow:
    """Which of them is paid; the newest if none is yet. `begun` is not empty."""
    for checkout in begun:
        if await may_ask(visit, checkout) and await visit.runtime.arrivals.arrive(checkout) == "paid":
            return checkout
    return begun[0]
