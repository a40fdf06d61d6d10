"""A status that this version of the gateway does not know, in place of the one that a subscription has.

Stripe shows it wherever it shows the subscription, for as long as that is not over; beneath it all goes on as before.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from tests.lives.acts import Act, running

if TYPE_CHECKING:
    from gateway.sandbox.records import Subscription
    from tests.lives.town import Buyer, Town

UNHEARD = "hibernating"
_CALLED_SO = frozenset({"active", "trialing", "past_due"})


def shown_status(one: Subscription, unheard: Collection[str]) -> str:
    """What Stripe shows of a subscription. `unheard`: ids of those that it calls what nobody knows."""
    return UNHEARD if one.id in unheard and one.ended_at is None else one.status


def as_shown(
    answer: tuple[bytes, int, Mapping[str, str]], unheard: Collection[str]
) -> tuple[bytes, int, Mapping[str, str]]:
    """An answer of Stripe with that status in it."""
    body, status, headers = answer
    if not unheard or b'"subscription"' not in body:
        return answer
    read = json.loads(body)
    _show(read, unheard)
    return json.dumps(read).encode(), status, headers


def _show(read: Any, unheard: Collection[str]) -> None:
    if isinstance(read, list):
        for one in read:
            _show(one, unheard)
    elif isinstance(read, dict):
        if read.get("object") == "subscription" and read["id"] in unheard and read["ended_at"] is None:
            read["status"] = UNHEARD
        for one in read.values():
            _show(one, unheard)


async def be_called_what_nobody_knows(town: Town, buyer: Buyer) -> None:
    """From now on."""
    for one in running(town, buyer):
        if one.status in _CALLED_SO:
            town.unheard.add(one.id)
            _tell(town, one)


async def be_called_what_is_known(town: Town, buyer: Buyer) -> None:
    """Again."""
    for one in running(town, buyer):
        if one.id in town.unheard:
            town.unheard.remove(one.id)
            _tell(town, one)


def _tell(town: Town, one: Subscription) -> None:
    """With an event."""
    town.stripe("POST", f"/v1/subscriptions/{one.id}", metadata={"called_at": str(int(town.now()))})


UNHEARD_OF: tuple[tuple[Act, int], ...] = ((be_called_what_nobody_knows, 3), (be_called_what_is_known, 2))
