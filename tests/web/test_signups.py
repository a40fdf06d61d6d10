"""How many strangers may begin to buy: all networks together have a pace, and nobody who is known waits for it."""

from __future__ import annotations

import time
from itertools import cycle

import pytest

from gateway.cli.ports import free_port

CHECKOUT = "/api/v1/create-checkout"
PRO = {"plan_id": "pro-monthly"}
CROWD = 60

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workers(start_shared, apart):
    """Two, with one cache, that let one stranger in a minute."""
    return [start_shared(**apart, TIERGATE_SIGNUPS_PER_MINUTE="1") for _ in range(2)]


def buys(worker):
    return worker.browser().post(CHECKOUT, json=PRO)


def buys_on_the_page(worker):
    return worker.browser().post("/_tiergate/pricing", data=PRO, headers={"origin": worker.url})


def refused_stranger(workers, asks=buys):
    """What the first of many strangers is told that is turned away, each from a network of its own."""
    begun_at = time.monotonic()
    for let_in, worker in enumerate(cycle(workers)):
        answer = asks(worker)
        if answer.status_code >= 400:
            return answer
        assert let_in + 1 <= 1 + (time.monotonic() - begun_at) / 60, "more than the pace was let in"
    raise AssertionError


def test_strangers_from_many_networks_are_held_up_over_all_workers(workers):
    answer = refused_stranger(workers)
    assert (answer.status_code, answer.json()["code"]) == (429, "too-many-signups")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert "from all networks together" in answer.json()["detail"]


def test_a_stranger_on_the_pricing_page_is_told_the_same_in_words(workers):
    page = refused_stranger(workers, buys_on_the_page)
    assert page.status_code == 429
    assert 1 <= int(page.headers["retry-after"]) <= 60
    assert "from all networks together" in page.text


def test_customers_and_the_sellers_server_buy_while_strangers_wait(workers, new_user):
    _, user_id, client = workers[0].customer()
    refused_stranger(workers)
    known = [client.post(CHECKOUT, json=PRO) for _ in range(3)]
    sold = [workers[1].server.post(CHECKOUT, json={**PRO, "user_id": name}) for name in (user_id, new_user())]
    assert {answer.status_code for answer in (*known, *sold)} == {200}


def test_one_network_that_is_over_its_own_pace_takes_nothing_from_all(start_gateway, apart):
    gateway = start_gateway(**apart, TIERGATE_SIGNUPS_PER_MINUTE="40")
    crowd = gateway.browser()
    answers = [crowd.post(CHECKOUT, json=PRO) for _ in range(CROWD)]
    assert gateway.browser().post(CHECKOUT, json=PRO).status_code == 200
    refused = [answer for answer in answers if answer.status_code == 429]
    assert all("this network" in answer.json()["detail"] for answer in refused)
    assert gateway.metric("tiergate_signups_refused_total", pace="network") == len(refused) > 0
    assert gateway.metric("tiergate_signups_refused_total", pace="all") == 0


def test_who_is_refused_is_counted(workers):
    before = sum(worker.metric("tiergate_signups_refused_total", pace="all") for worker in workers)
    refused_stranger(workers)
    assert sum(worker.metric("tiergate_signups_refused_total", pace="all") for worker in workers) == before + 1


def test_without_a_cache_strangers_are_let_in_at_the_pace_that_the_worker_counts(start_gateway, apart):
    nowhere = f"redis://127.0.0.1:{free_port()}"
    gateway = start_gateway(is_ready=False, **{**apart, "TIERGATE_REDIS_URL": nowhere}, TIERGATE_SIGNUPS_PER_MINUTE="1")
    assert gateway.browser().post(CHECKOUT, json=PRO).status_code == 200
    answer = refused_stranger([gateway])
    assert (answer.status_code, answer.json()["code"]) == (429, "too-many-signups")
