"""/v1/test_helpers/test_clocks."""

from __future__ import annotations

from gateway.sandbox.api.endpoint import Call, Endpoint
from gateway.sandbox.engine.test_clocks import advance_clock, create_clock, delete_clock, find_clock
from gateway.sandbox.records import Json
from gateway.sandbox.shapes.events import deleted_shape
from gateway.sandbox.shapes.test_clocks import test_clock_shape
from gateway.sandbox.wire.paging import PAGE, page
from gateway.sandbox.wire.params import Text, Whole


def _create(call: Call) -> Json:
    return test_clock_shape(create_clock(call.world, call.params["frozen_time"], call.params.get("name")))


def _retrieve(call: Call) -> Json:
    return test_clock_shape(find_clock(call.world, call.id))


def _advance(call: Call) -> Json:
    return test_clock_shape(advance_clock(call.world, call.id, call.params["frozen_time"]))


def _delete(call: Call) -> Json:
    delete_clock(call.world, call.id)
    return deleted_shape("test_helpers.test_clock", call.id)


def _list(call: Call) -> Json:
    clocks = list(call.world.tables.test_clocks.values())
    return page(clocks, call.params, "/v1/test_helpers/test_clocks", test_clock_shape)


_PATH = "/v1/test_helpers/test_clocks"
ENDPOINTS = (
    Endpoint(method="POST", path=_PATH, act=_create, spec={"frozen_time": Whole(required=True), "name": Text()}),
    Endpoint(method="GET", path=_PATH, act=_list, spec=PAGE),
    Endpoint(method="GET", path=f"{_PATH}/{{id}}", act=_retrieve),
    Endpoint(method="DELETE", path=f"{_PATH}/{{id}}", act=_delete),
    Endpoint(method="POST", path=f"{_PATH}/{{id}}/advance", act=_advance, spec={"frozen_time": Whole(required=True)}),
)
