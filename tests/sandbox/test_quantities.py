"""Quantities that a payer may choose on the checkout page, as `adjustable_quantity` says."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

pytestmark = pytest.mark.slow


def seats(quantity: int = 3, **adjustable: Any) -> list[dict[str, Any]]:
    return [{"price": "price_pro_monthly", "quantity": quantity, "adjustable_quantity": adjustable}]


async def paid(sandbox: Any, session: Any, **fields: str) -> Any:
    answer = await sandbox.http.post(session.url, data={"card_number": "4242424242424242", **fields})
    assert answer.status_code == 303, answer.text
    done = await sandbox.v1.checkout.sessions.retrieve_async(session.id, {"expand": ["subscription"]})
    return done.subscription["items"].data[0]


async def line_of(sandbox: Any, session: Any) -> Any:
    lines = await sandbox.v1.checkout.sessions.line_items.list_async(session.id)
    return lines.data[0]


async def test_what_is_adjustable_is_told_with_its_limits(sandbox: Any) -> None:
    session = await sandbox.open_checkout(line_items=seats(enabled=True, minimum=2, maximum=9))
    line = await line_of(sandbox, session)
    assert line.adjustable_quantity.to_dict() == {"enabled": True, "minimum": 2, "maximum": 9}
    assert (line.quantity, line.amount_total) == (3, 8_700)


async def test_without_limits_they_are_those_of_the_account(sandbox: Any) -> None:
    session = await sandbox.open_checkout(line_items=seats(enabled=True))
    line = await line_of(sandbox, session)
    assert (line.adjustable_quantity.minimum, line.adjustable_quantity.maximum) == (0, 99)


async def test_the_payer_pays_for_what_the_payer_chose(sandbox: Any) -> None:
    session = await sandbox.open_checkout(line_items=seats(enabled=True, minimum=2, maximum=9))
    line = await line_of(sandbox, session)
    item = await paid(sandbox, session, **{f"quantity_{line.id}": "5"})
    assert item.quantity == 5


@pytest.mark.parametrize("typed", ["1", "10", "", "-2", "3.5", "\u0663"])
async def test_a_quantity_beyond_the_limits_buys_nothing(sandbox: Any, typed: str) -> None:
    session = await sandbox.open_checkout(line_items=seats(enabled=True, minimum=2, maximum=9))
    line = await line_of(sandbox, session)
    data = {"card_number": "4242424242424242", f"quantity_{line.id}": typed}
    refused = await sandbox.http.post(session.url, data=data)
    assert refused.status_code == 402
    assert "between 2 and 9" in refused.text
    assert (await sandbox.v1.checkout.sessions.retrieve_async(session.id)).status == "open"


async def test_a_quantity_that_is_fixed_stays_whatever_is_sent(sandbox: Any) -> None:
    session = await sandbox.open_checkout(line_items=seats(enabled=False))
    line = await line_of(sandbox, session)
    assert line.adjustable_quantity is None
    assert (await paid(sandbox, session, **{f"quantity_{line.id}": "5"})).quantity == 3


async def test_a_page_that_begins_beyond_its_own_limits_is_refused(sandbox: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sandbox.open_checkout(line_items=seats(12, enabled=True, minimum=2, maximum=9))
    assert caught.value.param == "line_items[0][quantity]"
