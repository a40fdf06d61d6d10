from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import SimulatedClock
from gateway.sandbox import Listening, running

pytestmark = pytest.mark.slow


def is_ahead(clock: Any, by_s: float) -> bool:
    """Of real time, give or take a second; however long the machine takes to look at both."""
    before = time.time()
    shown = clock.now()
    return before - 1 < shown - by_s < time.time() + 1


async def test_an_advance_moves_the_clock_of_everybody_who_maps_the_file(sandbox: Any, tmp_path: Path) -> None:
    clock = SimulatedClock(tmp_path / "clock")
    assert is_ahead(clock, 0)
    answer = await sandbox.advance(86_400)
    assert is_ahead(clock, 86_400)
    assert answer["now"] <= clock.now() + 1


async def test_things_fall_due_in_the_order_of_their_instants_and_at_them(sandbox: Any) -> None:
    monthly = await sandbox.subscribe()
    yearly = await sandbox.subscribe(price="price_pro_yearly")
    await sandbox.advance(400 * 86_400)
    events = await sandbox.events(type="invoice.created", created={"gt": yearly.created + 1})
    created = [event.created for event in events]
    assert created == sorted(created)
    renewals = [e for e in events if e.data.object.parent.subscription_details.subscription == monthly.id]
    assert len(renewals) == 13
    assert len(events) - len(renewals) == 1


async def test_a_receiver_never_sees_an_event_from_its_own_future(sandbox: Any, receiver: Any, tmp_path: Path) -> None:
    clock = SimulatedClock(tmp_path / "clock")
    seen: list[tuple[int, float]] = []
    await sandbox.listen(receiver)
    await sandbox.subscribe()
    serve = receiver.got.append

    class Noting(list[Any]):
        def append(self, one: Any) -> None:
            serve(one)
            seen.append((receiver.events[-1]["created"], clock.now()))

    kept, receiver.got = receiver.got, Noting(receiver.got)
    await sandbox.advance(40 * 86_400)
    await sandbox.drain()
    receiver.got = kept
    assert seen
    assert all(created <= now for created, now in seen)


async def test_a_settled_advance_lets_receivers_live_through_the_time_in_between(
    sandbox: Any, receiver: Any, tmp_path: Path
) -> None:
    clock = SimulatedClock(tmp_path / "clock")
    await sandbox.listen(receiver, "invoice.created")
    await sandbox.subscribe()
    await sandbox.drain()
    lags: list[float] = []
    receiver.answers = []

    class Lagging(list[int]):
        def __bool__(self) -> bool:
            lags.append(clock.now() - receiver.events[-1]["created"])
            return False

    receiver.answers = Lagging()
    await sandbox.advance(95 * 86_400, settle=True)
    assert len(lags) == 3
    assert max(lags) < 60
    assert is_ahead(clock, 95 * 86_400)


async def test_what_falls_due_in_real_time_happens_by_itself(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    world = sandbox.simulator.world
    assert len(world.tables.invoices) == 1
    await sandbox.advance_to(subscription["items"].data[0].current_period_end - 1)
    deadline = time.monotonic() + 30
    while len(world.tables.invoices) < 2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("body", [{}, {"seconds": -1}, {"seconds": 1, "until": 2}, {"until": 1}])
async def test_time_never_runs_back(sandbox: Any, body: dict[str, float]) -> None:
    answer = await sandbox.http.post(f"{sandbox.running.stripe_url}/_sandbox/clock/advance", json=body)
    assert answer.status_code == 400
    state = (await sandbox.http.get(f"{sandbox.running.stripe_url}/_sandbox/state")).json()
    assert state["clock"]["offset_s"] == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.com"])
async def test_it_binds_to_nothing_but_loopback(host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        async with running(Listening(host=host)):
            pass


@pytest.mark.parametrize("key", ["sk_live_x", "rk_live_x", "sk_test_51abc"])
async def test_it_takes_no_key_of_a_real_account(key: str) -> None:
    with pytest.raises(ValueError, match=r"live Stripe key|must begin"):
        async with running(Listening(key=key)):
            pass


async def test_a_restarted_sandbox_goes_on_with_the_clock_it_left(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    async with running(Listening(clock_file=path)) as first:
        await first.simulator.advance(5_000)
    async with running(Listening(clock_file=path)) as second:
        assert is_ahead(second.simulator, 5_000)


@pytest.mark.parametrize("content", [b"", b"not a clock", b"\xff" * 8])
async def test_a_file_that_is_no_clock_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a clock file"):
        async with running(Listening(clock_file=path)):
            pass
    assert path.read_bytes() == content
