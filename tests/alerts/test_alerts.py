"""From a settled count to the seller: once a threshold and window, whoever notices, whatever the receiver does."""

import asyncio
import json

import pytest

from gateway.alerts import Noticing, Sending, SendingOptions
from gateway.core.errors import LedgerUnavailable
from gateway.core.limit_text import parse_limit
from gateway.ledger import Ledger
from gateway.notify import WebhookChannel
from gateway.settlement import Settlement
from gateway.telemetry import Metrics
from tests.fakes.raw_upstream import RawUpstream, answering

SECRET = b"a secret of twenty-four b"
TAKEN = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
FAILS = answering(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
PERIOD_S = 31 * 86_400
FAST = SendingOptions(pauses_s=(10, 20, 40), deadline_s=3.0)


class Worker:
    """One worker process's parts, on the ledger and cache of all."""

    def __init__(self, parts, ledger=None, channels=("webhook",)):
        self.parts = parts
        self.admission = parts.another_worker()
        self.ledger = ledger or parts.ledger
        noticing = Noticing(
            ledger=self.ledger, accounts=self.admission, policy=parts.policy, clock=parts.clock, channels=channels
        )
        self.settlement = Settlement(
            self.ledger, parts.cache, parts.publisher, parts.clock, parts.metrics, noticing.look
        )

    async def call(self, key, times):
        for _ in range(times):
            attempt = self.admission.attempt("d", "GET", "/v1/x")
            await self.admission.admit(attempt, key)
            self.settlement.note(attempt.account.customer_id, attempt.plan.key.key_id, attempt.now)
        await self.settlement.settle()


async def told(parts):
    """(limit, percent, used) of every alert, oldest first."""
    events = [json.loads(row.body)["data"] for row in await parts.ledger.list_alerts(limit=500)]
    rows = sorted((event["window_starts_at"], event["percent"], event["limit_name"]) for event in events)
    return [(name, percent) for _, percent, name in rows]


def set_policy(parts, *, limit=10, alerts="[50%, 80%, 100%]"):
    file = parts.policy_dir / "policy.yaml"
    text = file.read_text()
    start = text.index("free:\n")
    before, _, after = text[start:].partition(" requests per billing period]")
    head = before[: before.rindex(", ") + 2]
    file.write_text(f"alerts: {alerts}\n" + text[:start] + f"{head}{limit} requests per billing period]{after}")
    parts.policy = type(parts.policy)(parts.policy_dir)


async def test_each_threshold_is_told_when_it_is_reached(parts):
    _, key, _ = await parts.customer()
    worker = Worker(parts)
    await worker.call(key, 4)
    assert await told(parts) == []
    await worker.call(key, 1)
    assert await told(parts) == [("period", 50)]
    await worker.call(key, 2)
    assert await told(parts) == [("period", 50)]
    await worker.call(key, 3)
    assert await told(parts) == [("period", 50), ("period", 100)], "of two at once the higher one"


async def test_an_event_names_customer_limit_and_window(parts):
    customer_id, key, _ = await parts.customer()
    await Worker(parts).call(key, 5)
    (row,) = await parts.ledger.list_alerts()
    event = json.loads(row.body)
    data = event["data"]
    assert event["type"] == "quota.threshold_reached"
    assert (data["customer_id"], data["user_id"], data["tier"]) == (customer_id, "ada", "free")
    assert (data["used"], data["limit"], data["percent"], data["meter"]) == (5, 10, 50, "requests")
    assert data["window_starts_at"] <= parts.clock.time < data["window_ends_at"]


async def test_neither_a_second_worker_nor_a_restart_tells_it_again(parts):
    _, key, _ = await parts.customer()
    await Worker(parts).call(key, 5)
    await Worker(parts).call(key, 1)
    await Worker(parts).settlement.settle_all()
    assert await told(parts) == [("period", 50)]


async def test_two_workers_that_notice_at_once_tell_it_once(parts, tmp_path):
    _, key, _ = await parts.customer()
    second = await Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    try:
        await Worker(parts, channels=()).call(key, 5)
        workers = [Worker(parts), Worker(parts, second)] * 3
        await asyncio.gather(*(worker.settlement.settle_all() for worker in workers))
    finally:
        await second.aclose()
    assert await told(parts) == [("period", 50)]


async def test_what_a_crashed_worker_did_not_tell_the_next_start_tells(parts):
    _, key, _ = await parts.customer()
    await Worker(parts, channels=()).call(key, 10)
    assert await told(parts) == []
    await Worker(parts).settlement.settle_all()
    assert await told(parts) == [("period", 100)]


async def test_a_start_loads_nobody_who_could_have_reached_nothing(parts, monkeypatch):
    _, little, _ = await parts.customer("little")
    _, much, _ = await parts.customer("much")
    quiet = Worker(parts, channels=())
    await quiet.call(little, 4)
    await quiet.call(much, 5)
    loaded, load = [], parts.ledger.load_account

    async def noting(customer_id):
        loaded.append(customer_id)
        return await load(customer_id)

    monkeypatch.setattr(parts.ledger, "load_account", noting)
    await Worker(parts).settlement.settle_all()
    assert len(loaded) >= 1
    assert await told(parts) == [("period", 50)]
    rows = await parts.ledger.list_alerts()
    assert rows[0].customer_id in loaded
    (quiet_one,) = {row.customer_id for row in await parts.ledger.list_customers()} - {rows[0].customer_id}
    assert quiet_one not in loaded


async def test_the_next_window_tells_anew(parts):
    _, key, _ = await parts.customer()
    worker = Worker(parts)
    await worker.call(key, 5)
    parts.clock.time += PERIOD_S
    await worker.call(key, 4)
    assert await told(parts) == [("period", 50)]
    await worker.call(key, 1)
    assert await told(parts) == [("period", 50), ("period", 50)]


async def test_what_is_given_back_and_used_again_tells_nothing(parts):
    _, key, _ = await parts.customer()
    worker = Worker(parts)
    await worker.call(key, 4)
    for number in range(3):
        attempt = worker.admission.attempt(f"d{number}", "GET", "/v1/x")
        await worker.admission.admit(attempt, key)
        worker.settlement.note(attempt.account.customer_id, attempt.plan.key.key_id, attempt.now)
        await worker.settlement.settle()
        await worker.admission.refund(attempt)
        worker.settlement.note(attempt.account.customer_id, attempt.plan.key.key_id, attempt.now)
        await worker.settlement.settle()
    assert await told(parts) == [("period", 50)]


async def test_a_raised_limit_is_told_of_when_its_own_threshold_is_reached(parts):
    _, key, _ = await parts.customer()
    await Worker(parts).call(key, 9)
    assert await told(parts) == [("period", 80)]
    set_policy(parts, limit=20)
    worker = Worker(parts)
    await worker.settlement.settle_all()
    assert await told(parts) == [("period", 80)], "a raise alone tells nothing"
    await worker.call(key, 1)
    assert await told(parts) == [("period", 50), ("period", 80)]
    await worker.call(key, 6)
    assert await told(parts) == [("period", 50), ("period", 80), ("period", 80)]


async def test_a_keys_own_limit_is_told_of_beside_the_customers(parts):
    limit = parse_limit("4 per day", ())
    _, key, key_id = await parts.customer(limits=(limit,), limit_texts=("4 per day",))
    await Worker(parts).call(key, 4)
    (row,) = await parts.ledger.list_alerts()
    data = json.loads(row.body)["data"]
    assert (data["limit_name"], data["key_id"], data["percent"]) == ("key-day", key_id, 100)


async def test_policy_chooses_the_thresholds_or_none(parts):
    set_policy(parts, alerts="[90%]")
    _, key, _ = await parts.customer()
    await Worker(parts).call(key, 8)
    assert await told(parts) == []
    await Worker(parts).call(key, 1)
    assert await told(parts) == [("period", 90)]


async def test_a_policy_without_alerts_tells_nothing(parts):
    set_policy(parts, alerts="off")
    _, key, _ = await parts.customer()
    await Worker(parts).call(key, 10)
    assert await told(parts) == []


async def test_without_a_ledger_the_settlement_is_tried_again_and_tells_then(parts, tmp_path):
    _, key, _ = await parts.customer()
    worker = Worker(parts)
    await worker.call(key, 4)
    file, away = tmp_path / "ledger.sqlite3", tmp_path / "away"
    lost = await Ledger.open(f"sqlite:///{file}")
    other = Worker(parts, lost)
    other.admission = worker.admission
    file.rename(away)
    with pytest.raises(LedgerUnavailable):
        await other.call(key, 1)
    away.rename(file)
    await other.settlement.settle()
    await lost.aclose()
    assert await told(parts) == [("period", 50)]


# Sending.


class Sender:
    """Sends to a server from a worker of its own, the way a process that was restarted does."""

    def __init__(self, parts, server, options=FAST):
        self.channel = WebhookChannel(server.url, [SECRET], timeout_s=3.0)
        self.metrics = Metrics()
        self.sending = Sending(
            ledger=parts.ledger, channels=[self.channel], clock=parts.clock, metrics=self.metrics, options=options
        )

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.channel.aclose()

    def count(self, result):
        return self.metrics.alerts.labels("webhook", result)._value.get()


async def send(parts, server, **options):
    async with Sender(parts, server, **options) as sender:
        return await sender.sending.send_due()


async def statuses(parts):
    return [(row.status, row.attempts, row.error) for row in await parts.ledger.list_alerts()]


async def hang(peer):
    await peer.request()
    await peer.until_closed()


async def test_a_receiver_that_fails_then_hangs_then_takes_it_gets_the_same_id_until_it_does(parts):
    _, key, _ = await parts.customer()
    await Worker(parts).call(key, 5)
    async with RawUpstream(FAILS, hang, FAILS, TAKEN) as server:
        for pause_s in (10, 20, 40):
            await send(parts, server)
            assert await send(parts, server) == 0, "not before its time, by nobody"
            parts.clock.time += pause_s
        await send(parts, server)
        parts.clock.time += 10_000
        assert await send(parts, server) == 0
    assert len(server.requests) == 4
    assert len({request.field(b"webhook-id") for request in server.requests}) == 1
    assert len({request.body for request in server.requests}) == 1
    assert await statuses(parts) == [("done", 4, None)]


async def test_what_nobody_takes_dies_and_is_seen_and_can_be_sent_again(parts):
    _, key, _ = await parts.customer()
    await Worker(parts).call(key, 5)
    async with RawUpstream(FAILS) as server, Sender(parts, server) as sender:
        for _ in range(6):
            await sender.sending.send_due()
            parts.clock.time += 100
        assert (sender.count("not-taken"), sender.count("dead")) == (3, 1)
        assert sender.metrics.alerts_waiting.labels("dead")._value.get() == 1
    assert await statuses(parts) == [("dead", 4, "answered 500")]
    (row,) = await parts.ledger.list_alerts(status="dead")
    await parts.ledger.retry_alert(row.alert_id, int(parts.clock.time))
    async with RawUpstream(TAKEN) as server:
        await send(parts, server)
    assert await statuses(parts) == [("done", 1, None)]


async def test_a_receiver_that_is_gone_for_good_is_left_alone(parts):
    _, key, _ = await parts.customer()
    await Worker(parts).call(key, 5)
    async with RawUpstream(answering(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n")) as server:
        await send(parts, server)
    assert await statuses(parts) == [("dead", 1, "answered 410")]


async def test_a_worker_that_dies_in_mid_delivery_leaves_it_to_another(parts):
    _, key, _ = await parts.customer()
    await Worker(parts).call(key, 5)
    reached = asyncio.Event()

    async def tell_and_hang(peer):
        await peer.request()
        reached.set()
        await peer.until_closed()

    async with RawUpstream(tell_and_hang, TAKEN) as server:
        async with Sender(parts, server) as dying:
            task = asyncio.create_task(dying.sending.send_due())
            await reached.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert await send(parts, server) == 0, "the dead one's claim holds"
        parts.clock.time += FAST.lease_s
        assert await send(parts, server) == 1
    assert [request.field(b"webhook-id") for request in server.requests] == [
        server.requests[0].field(b"webhook-id")
    ] * 2


async def test_two_workers_deliver_many_alerts_once_each(parts):
    for number in range(12):
        _, key, _ = await parts.customer(f"user-{number}")
        await Worker(parts).call(key, 5)
    async with RawUpstream(TAKEN) as server:
        sent = await asyncio.gather(*(send(parts, server) for _ in range(4)))
    assert sum(sent) == 12
    assert len({request.field(b"webhook-id") for request in server.requests}) == len(server.requests) == 12


class Broken:
    name = "webhook"

    async def send(self, *_):
        raise ZeroDivisionError


async def test_a_defect_on_the_way_is_a_try_that_failed(parts):
    _, key, _ = await parts.customer()
    await Worker(parts).call(key, 5)
    sending = Sending(ledger=parts.ledger, channels=[Broken()], clock=parts.clock, metrics=Metrics(), options=FAST)
    await sending.send_due()
    assert await statuses(parts) == [("pending", 1, "ZeroDivisionError")]
