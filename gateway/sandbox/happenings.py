"""What happens to a seller and no API of Stripe can cause: controls under /_sandbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec
from litestar import delete, post
from litestar.exceptions import ClientException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from gateway.sandbox.engine.charges import STATUSES, fail_refund, last_charge_of, move_dispute, open_dispute
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.unused import delete_unused_price
from gateway.sandbox.records import Json
from gateway.sandbox.shapes.catalog import price_shape
from gateway.sandbox.shapes.charges import dispute_shape, refund_shape
from gateway.sandbox.simulator import Simulator
from gateway.sandbox.world import NoSuchRecord, World

Act: TypeAlias = Callable[[World], Json]


class NewDispute(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A payment to dispute: `charge`, or the newest one of `customer`."""

    charge: str | None = None
    customer: str | None = None
    reason: str = "fraudulent"
    status: str = "needs_response"


class Moved(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where something is to go."""

    status: str


class Failed(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Why something came to nothing, in Stripe's word."""

    reason: str = "expired_or_canceled_card"


def happening_handlers(simulator: Simulator) -> list[HTTPRouteHandler]:
    """Every such control, bound to one simulator."""

    @post("/_sandbox/disputes", status_code=200)
    async def dispute(data: JSONBody[NewDispute]) -> Json:
        def act(world: World) -> Json:
            charge_id = data.charge or last_charge_of(world, data.customer or "").id
            return dispute_shape(open_dispute(world, charge_id, reason=data.reason, status=data.status))

        _check_status(data.status)
        return _carry_out(simulator, act)

    @post("/_sandbox/disputes/{dispute_id:str}", status_code=200)
    async def move(dispute_id: FromPath[str], data: JSONBody[Moved]) -> Json:
        _check_status(data.status)
        return _carry_out(simulator, lambda world: dispute_shape(move_dispute(world, dispute_id, data.status)))

    @post("/_sandbox/refunds/{refund_id:str}/fail", status_code=200)
    async def fail(refund_id: FromPath[str], data: JSONBody[Failed]) -> Json:
        return _carry_out(simulator, lambda world: refund_shape(fail_refund(world, refund_id, reason=data.reason)))

    @delete("/_sandbox/prices/{price_id:str}", status_code=200)
    async def remove_price(price_id: FromPath[str]) -> Json:
        return _carry_out(simulator, lambda world: price_shape(delete_unused_price(world, price_id)))

    return [dispute, move, fail, remove_price]


def _check_status(status: str) -> None:
    if status not in STATUSES:
        raise ClientException(f"status must be one of {', '.join(STATUSES)}")


def _carry_out(simulator: Simulator, act: Act) -> Json:
    try:
        return simulator.carry_out(act)
    except (NoSuchRecord, Refused) as error:
        raise ClientException(str(error)) from error
