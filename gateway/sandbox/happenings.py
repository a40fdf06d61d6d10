"""What happens to a seller and no API of Stripe can cause: controls under /_sandbox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import msgspec
from litestar import post
from litestar.exceptions import ClientException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from gateway.sandbox.engine.charges import STATUSES, last_charge_of, move_dispute, open_dispute
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.records import Json
from gateway.sandbox.shapes.charges import dispute_shape
from gateway.sandbox.shapes.events import endpoint_shape
from gateway.sandbox.simulator import Simulator
from gateway.sandbox.world import NoSuchRecord, World, find

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


class Thinness(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Whether an endpoint is sent thin events, as an event destination is."""

    thin: bool


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

    @post("/_sandbox/endpoints/{endpoint_id:str}", status_code=200)
    async def send_thinly(endpoint_id: FromPath[str], data: JSONBody[Thinness]) -> Json:
        def act(world: World) -> Json:
            endpoint = replace(find(world.tables.endpoints, "webhook endpoint", endpoint_id), thin=data.thin)
            world.tables.endpoints[endpoint_id] = endpoint
            return endpoint_shape(endpoint)

        return _carry_out(simulator, act)

    return [dispute, move, send_thinly]


def _check_status(status: str) -> None:
    if status not in STATUSES:
        raise ClientException(f"status must be one of {', '.join(STATUSES)}")


def _carry_out(simulator: Simulator, act: Act) -> Json:
    try:
        return simulator.carry_out(act)
    except (NoSuchRecord, Refused) as error:
        raise ClientException(str(error)) from error
