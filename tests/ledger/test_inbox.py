from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import event

from gateway.ledger import InboxCounts


async def claim(ledger, worker="w1", *, now=100, lease_s=60, limit=10):
    return [row.event_id for row in await ledger.claim_events(worker=worker, now=now, lease_s=lease_s, limit=limit)]


async def test_an_event_is_stored_once_and_read_back_whole(ledger, store):
    payload = '{"text": "\\u0000 and \\ud800 stay escaped", "é": 1}'
    assert await store("evt_1", payload=payload)
    assert not await store("evt_1", payload="another")
    row = await ledger.find_event("evt_1")
    assert (row.payload, row.status, row.attempts, row.received_at) == (payload, "pending", 0, 100)
    assert (row.type, row.stripe_customer_id, row.livemode) == ("invoice.paid", "cus_1", False)
    assert row.api_version == "2026-10-28.endive"


async def test_of_many_deliveries_at_once_one_is_new(store):
    answers = await asyncio.gather(*(store("evt_1") for _ in range(20)))
    assert sorted(answers) == [False] * 19 + [True]


async def test_events_that_come_at_once_are_all_stored(ledger, store):
    names = [f"evt_{number}" for number in range(250)]
    assert await asyncio.gather(*(store(name) for name in names)) == [True] * 250
    assert {row.event_id for row in await ledger.list_events(limit=500)} == set(names)


async def test_a_claim_takes_what_else_is_due_about_the_same_customers(ledger, store):
    for number, cus in enumerate(("cus_a", "cus_b", "cus_a", "cus_c", "cus_a")):
        await store(f"evt_{number}", cus=cus)
    await store("evt_later", now=200, cus="cus_a")
    assert await claim(ledger, limit=1) == ["evt_0", "evt_2", "evt_4"]
    assert await claim(ledger, "w2", limit=1) == ["evt_1"]
    assert await claim(ledger, "w3", now=120, limit=1) == ["evt_3"]


async def test_a_claim_takes_what_else_is_due_about_the_same_object_where_no_customer_is_named(ledger):
    for number, about in enumerate(("sub_1", None, "sub_1", None)):
        await ledger.store_event(
            event_id=f"evt_{number}",
            type="v1.customer.subscription.updated",
            stripe_customer_id=None,
            livemode=False,
            api_version=None,
            payload="{}",
            now=100,
            about=about,
        )
    assert await claim(ledger, limit=1) == ["evt_0", "evt_2"]
    assert await claim(ledger, limit=1) == ["evt_1"]


async def test_a_claim_does_not_take_without_bound_what_is_about_one_customer(ledger, store):
    await asyncio.gather(*(store(f"evt_{number}", cus="cus_a") for number in range(300)))
    assert len(await claim(ledger, limit=20)) == 220
    assert len(await claim(ledger, limit=20)) == 80


async def test_of_events_that_are_finished_together_those_whose_claims_were_lost_are_told(ledger, store):
    await store("evt_1")
    await store("evt_2")
    await claim(ledger, limit=1)
    await claim(ledger, "w2", limit=1)
    assert await ledger.finish_events(["evt_1", "evt_2"], "w1", now=101, outcome="synced") == {"evt_1"}


async def test_a_done_event_is_still_a_duplicate(ledger, store):
    await store("evt_1")
    await claim(ledger)
    assert await ledger.finish_events(["evt_1"], "w1", now=101, outcome="synced")
    assert not await store("evt_1")
    assert await claim(ledger, now=10_000) == []


async def test_the_oldest_events_are_claimed_first(ledger, store):
    for number in range(5):
        await store(f"evt_{number}", now=100 - number)
    assert await claim(ledger, limit=2) == ["evt_0", "evt_1"]
    assert await claim(ledger, "w2") == ["evt_2", "evt_3", "evt_4"]
    assert await claim(ledger, "w3") == []


async def test_a_claim_tells_who_holds_it_until_when(ledger, store):
    await store("evt_1")
    [row] = await ledger.claim_events(worker="w1", now=100, lease_s=60, limit=1)
    assert (row.status, row.claimed_by, row.due_at, row.attempts) == ("claimed", "w1", 160, 1)
    assert await ledger.find_event("evt_1") == row


async def test_a_claim_ends_by_itself_and_its_holder_can_do_nothing_more(ledger, store):
    await store("evt_1")
    assert await claim(ledger, "crashed", now=100) == ["evt_1"]
    assert await claim(ledger, "w2", now=159) == []
    [row] = await ledger.claim_events(worker="w2", now=160, lease_s=60, limit=10)
    assert (row.claimed_by, row.attempts) == ("w2", 2)
    assert not await ledger.finish_events(["evt_1"], "crashed", now=161, outcome="late")
    assert not await ledger.retry_event("evt_1", "crashed", next_attempt_at=1, error="late")
    assert not await ledger.bury_event("evt_1", "crashed", now=161, error="late")
    assert await ledger.finish_events(["evt_1"], "w2", now=161, outcome="synced")
    done = await ledger.find_event("evt_1")
    assert (done.status, done.outcome, done.claimed_by, done.finished_at) == ("done", "synced", None, 161)


async def test_a_retried_event_waits_until_it_is_due(ledger, store):
    await store("evt_1")
    await claim(ledger)
    assert await ledger.retry_event("evt_1", "w1", next_attempt_at=200, error="Stripe\x00 was slow" + "!" * 9_999)
    assert await claim(ledger, now=199) == []
    [row] = await ledger.claim_events(worker="w1", now=200, lease_s=60, limit=10)
    assert row.attempts == 2
    assert row.error.startswith("Stripe� was slow!")
    assert len(row.error) == 2_000


async def test_a_dead_event_is_tried_again_only_on_request(ledger, store):
    await store("evt_1")
    await claim(ledger)
    assert await ledger.bury_event("evt_1", "w1", now=101, error="unmapped price")
    assert await claim(ledger, now=10_000) == []
    assert await ledger.replay_event("evt_1", 300)
    row = await ledger.find_event("evt_1")
    assert (row.status, row.attempts, row.error) == ("pending", 0, "unmapped price")
    assert await claim(ledger, now=300) == ["evt_1"]
    assert await ledger.finish_events(["evt_1"], "w1", now=301, outcome="synced")
    assert (await ledger.find_event("evt_1")).error is None


async def test_an_event_that_a_worker_has_is_not_replayed(ledger, store):
    await store("evt_1")
    await claim(ledger, now=100)
    assert not await ledger.replay_event("evt_1", 159)
    assert await ledger.replay_event("evt_1", 160)
    assert not await ledger.replay_event("evt_unknown", 160)
    assert not await ledger.finish_events(["evt_1"], "w1", now=161, outcome="late")


async def test_events_are_listed_newest_first_and_page_by_page(ledger, store):
    for number in range(5):
        await store(f"evt_{number}")
    await claim(ledger, limit=1)
    await ledger.finish_events(["evt_0"], "w1", now=101, outcome="synced")
    first = await ledger.list_events(limit=2)
    assert [row.event_id for row in first] == ["evt_4", "evt_3"]
    rest = await ledger.list_events(before=first[-1].position)
    assert [row.event_id for row in rest] == ["evt_2", "evt_1", "evt_0"]
    assert [row.event_id for row in await ledger.list_events(status="done")] == ["evt_0"]


async def test_the_counts_tell_how_long_the_oldest_open_event_waits(ledger, store):
    assert await ledger.inbox_counts() == InboxCounts(
        by_status={"pending": 0, "claimed": 0, "dead": 0}, oldest_open_at=None
    )
    for number in range(4):
        await store(f"evt_{number}", now=10 + number)
    await claim(ledger, limit=3)
    await ledger.finish_events(["evt_0"], "w1", now=101, outcome="synced")
    await ledger.bury_event("evt_1", "w1", now=101, error="broken")
    assert await ledger.inbox_counts() == InboxCounts(
        by_status={"pending": 1, "claimed": 1, "dead": 1}, oldest_open_at=12
    )


async def test_only_events_done_long_ago_are_forgotten(ledger, store):
    for name in ("old", "recent", "dead", "open"):
        await store(name)
    await claim(ledger, limit=3)
    await ledger.finish_events(["old"], "w1", now=100, outcome="synced")
    await ledger.finish_events(["recent"], "w1", now=200, outcome="synced")
    await ledger.bury_event("dead", "w1", now=100, error="broken")
    assert await ledger.forget_events(150) == 1
    assert {row.event_id for row in await ledger.list_events()} == {"recent", "dead", "open"}


async def test_the_event_that_died_last_need_not_be_the_one_that_came_last(ledger, store):
    assert await ledger.find_last_dead() is None
    for number in (1, 2):
        await store(f"evt_{number}")
    await claim(ledger)
    await ledger.bury_event("evt_2", "w1", now=110, error="")
    assert (await ledger.find_last_dead()).event_id == "evt_2"
    await ledger.bury_event("evt_1", "w1", now=4000, error="")
    assert (await ledger.find_last_dead()).event_id == "evt_1"


async def test_many_events_are_forgotten_in_small_steps(ledger, store, monkeypatch):
    monkeypatch.setattr("gateway.ledger.inbox_care._FORGOTTEN_AT_ONCE", 2)
    for number in range(5):
        await store(f"evt_{number}")
        await claim(ledger)
        await ledger.finish_events([f"evt_{number}"], "w1", now=100, outcome="synced")
    assert await ledger.forget_events(101) == 5
    assert await ledger.list_events() == []


async def test_one_call_forgets_a_bounded_number(ledger, store, monkeypatch):
    monkeypatch.setattr("gateway.ledger.inbox_care._FORGOTTEN_AT_ONCE", 2)
    monkeypatch.setattr("gateway.ledger.inbox_care._FORGOTTEN_A_CALL", 4)
    for number in range(5):
        await store(f"evt_{number}")
        await claim(ledger)
        await ledger.finish_events([f"evt_{number}"], "w1", now=100, outcome="synced")
    assert [await ledger.forget_events(101) for _ in range(3)] == [4, 1, 0]


async def planned(ledger, beginning, ask):
    """The steps in which SQLite runs the statement that begins so: a bound on work instead of time.

    PostgreSQL plans a small table by its size.
    """
    plans = []

    def explain(connection, _cursor, statement, parameters, *_):
        if statement.startswith(beginning):
            plans.append(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all())

    engine = ledger._database._engine.sync_engine
    event.listen(engine, "before_cursor_execute", explain)
    await ask()
    event.remove(engine, "before_cursor_execute", explain)
    [plan] = plans
    return [step.detail for step in plan]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_counting_does_not_touch_the_done_events(ledger):
    [step] = await planned(ledger, "SELECT inbox.status", ledger.inbox_counts)
    assert step.startswith("SEARCH inbox USING INDEX")
    assert "(status=?" in step


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_a_claim_reads_what_it_takes_however_much_waits(ledger):
    """It holds the write lock, for which a webhook waits: to read all that waits took a tenth of a second."""
    steps = await planned(ledger, "WITH", lambda: claim(ledger))
    of_inbox = [step for step in steps if " inbox " in step]
    assert [step.split("USING ")[1] for step in of_inbox] == [
        "INTEGER PRIMARY KEY (rowid=?)",
        "INDEX ix_inbox_waiting",
        "INDEX ix_inbox_waiting_about (about=?)",
    ]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_events_are_finished_by_their_ids(ledger, store):
    await store("evt_1")
    await claim(ledger)
    steps = await planned(
        ledger, "UPDATE inbox", lambda: ledger.finish_events(["evt_1"], "w1", now=100, outcome="synced")
    )
    assert steps == ["SEARCH inbox USING INDEX sqlite_autoindex_inbox_1 (event_id=?)"]


async def test_a_number_of_an_event_is_never_given_again(ledger, store):
    await store("evt_1")
    first = (await ledger.find_event("evt_1")).position
    await claim(ledger)
    await ledger.finish_events(["evt_1"], "w1", now=100, outcome="synced")
    await ledger.forget_events(101)
    await store("evt_2")
    assert (await ledger.find_event("evt_2")).position > first


@pytest.mark.parametrize("event_id", ["nothing", "a\x00b", "\ud800"], ids=["unknown", "nul", "surrogate"])
async def test_an_event_that_cannot_exist_is_not_found(ledger, event_id):
    assert await ledger.find_event(event_id) is None


def go(processes):
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * len(processes)
    for process in processes:
        process.stdin.close()


async def test_no_event_is_claimed_by_two_processes(ledger, ledger_url, store, start_process):
    for number in range(60):
        await store(f"evt_{number}")
    processes = [start_process("claim", ledger_url, f"w{number}", 100) for number in range(3)]
    await asyncio.to_thread(go, processes)
    claimed = [line for process in processes for line in (await asyncio.to_thread(process.stdout.read)).split("\n")]
    assert sorted(filter(None, claimed)) == sorted(f"evt_{number}" for number in range(60))
    assert len(await ledger.list_events(status="done", limit=100)) == 60


async def test_what_a_killed_worker_held_is_taken_over(ledger, ledger_url, store, start_process):
    for number in range(5):
        await store(f"evt_{number}")
    process = start_process("claim_and_hang", ledger_url, "crashed", 100)
    assert await asyncio.to_thread(process.stdout.readline) == "5\n"
    process.kill()
    process.wait()
    assert await claim(ledger, "w2", now=159) == []
    assert await claim(ledger, "w2", now=160) == [f"evt_{number}" for number in range(5)]


async def test_processes_that_store_at_once_lose_no_event(ledger, ledger_url, start_process):
    processes = [start_process("store", ledger_url, prefix, 40) for prefix in ("same", "same", "other")]
    await asyncio.to_thread(go, processes)
    new = [int(await asyncio.to_thread(process.stdout.read)) for process in processes]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert new[0] + new[1] == new[2] == 40
    assert (await ledger.inbox_counts()).by_status["pending"] == 80


async def test_every_acknowledged_event_survives_kill_9(ledger, ledger_url, start_process):
    process = start_process("store_until_killed", ledger_url, "evt")
    acknowledged = [await asyncio.to_thread(process.stdout.readline) for _ in range(30)]
    process.kill()
    acknowledged += (await asyncio.to_thread(process.stdout.read)).splitlines(keepends=True)
    whole = {line.strip() for line in acknowledged if line.endswith("\n")}
    assert len(whole) >= 30
    assert whole <= {row.event_id for row in await ledger.list_events(limit=100_000)}
