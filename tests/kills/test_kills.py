"""kill -9 of real processes, before and after each step of each path: nothing is lost, and nothing is double.

Steps are not listed here: a path is walked until it ends before the step at which it was to be ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from math import inf
from typing import TypeAlias

import httpx
import pytest

from gateway.cli.life import find_key
from tests.journeys.buyers import until
from tests.kills.by_operators import RECONCILED_EVERY_S, daily, grant, importing, reconciliation, restoring
from tests.kills.site import CLAIMS_END_S, INCLUDED, OVERAGE, Site
from tests.kills.truths import check

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

Walk: TypeAlias = Callable[[Site, Callable[[], None]], Callable[[], None]]
"""Makes a user ready, arms the plan, and sets out; what it returns makes good what was broken off, and checks."""


def webhook(site: Site, arm: Callable[[], None]) -> Callable[[], None]:
    """A purchase is told."""
    user_id = paid(site)
    arm()
    site.let_events_go()
    until(lambda: site.was_killed or site.is_delivered())

    def make_good() -> None:
        site.settle_down()
        check(site, user_id)

    return make_good


def worker(site: Site, arm: Callable[[], None]) -> Callable[[], None]:
    """What was told is worked on."""
    make_good = webhook(site, arm)
    until(lambda: site.was_killed or site.is_worked_off())
    return make_good


def checkout(site: Site, arm: Callable[[], None]) -> Callable[[], None]:
    """A user wants to pay, and clicks again when nothing happens and the turn of the killed process has ended."""
    user_id = site.new_user()
    arm()
    site.checkout(user_id)

    def make_good() -> None:
        site.settle_down()
        again = site.checkout(user_id)
        assert again is not None
        assert site.pay(again)
        site.settle_down()
        check(site, user_id)

    return make_good


def change(site: Site, arm: Callable[[], None]) -> Callable[[], None]:
    """A subscriber takes a dearer plan, and clicks again when the turn of the killed process has ended."""
    user_id = site.subscriber()
    wanted = {"plan_id": "enterprise-monthly", "user_id": user_id, "preview": False}
    arm()
    site.ask("POST", "/api/v1/subscription/change", json=wanted)

    def make_good() -> None:
        site.settle_down()
        answer = site.ask("POST", "/api/v1/subscription/change", json=wanted)
        assert answer is not None
        assert answer.is_success, answer.text
        site.settle_down()
        check(site, user_id)

    return make_good


def sweep(site: Site, arm: Callable[[], None]) -> Callable[[], None]:
    """What was never told is asked for. The plan comes first, or a sweep could have found all before it."""

    def keep_quiet() -> None:
        site.lose_events()
        arm()

    user_id = paid(site, keep_quiet)
    site.let_events_go()
    until(lambda: site.was_killed or is_recorded(site, user_id))

    def make_good() -> None:
        site.pass_time(CLAIMS_END_S)
        until(site.has_all)
        site.settle_down()
        check(site, user_id)

    return make_good


def claim(site: Site, arm: Callable[[], None]) -> Callable[[], None]:
    """Somebody new has paid and collects the key; who sees none loads the page again, or has it replaced."""
    begun, browser = site.sign_up()
    assert site.pay(begun)
    site.settle_down()
    page = f"{site.house.url}/_tiergate/success"
    arm()
    with suppress(httpx.HTTPError):
        browser.get(page, params={"session_id": begun["session_id"]})

    def make_good() -> None:
        again = browser.get(page, params={"session_id": begun["session_id"]})
        if find_key(again.text) is None:
            again = browser.post(
                f"{page}/replace", data={"session_id": begun["session_id"]}, headers={"origin": site.house.url}
            )
        key = find_key(again.text)
        assert key is not None, again.text
        browser.close()
        site.settle_down()
        who = "SELECT user_id FROM customers JOIN checkouts USING (customer_id) WHERE session_id = ?"
        check(site, site.read(who, begun["session_id"]), keys=1)
        assert site.call(key)

    return make_good


def arrival(site: Site, arm: Callable[[], None]) -> Callable[[], None]:
    """Who has a key, and is signed in with it, is back from the payment, of which nothing is told; and loads again."""
    user_id = site.new_user()
    made = site.house.admin("POST", "customers", json={"user_id": user_id})
    key = site.house.admin("POST", f"customers/{made['customer_id']}/keys")["key"]
    browser = site.sign_in(key)
    begun = site.checkout(user_id)
    assert begun is not None
    site.settle_down()
    assert site.call(key)  # so that the cache has the account as it was
    site.hold_events()
    assert site.pay(begun)
    page = f"{site.house.url}/_tiergate/success"
    arm()
    with suppress(httpx.HTTPError):
        browser.get(page, params={"session_id": begun["session_id"]})

    def make_good() -> None:
        browser.get(page, params={"session_id": begun["session_id"]}).raise_for_status()
        browser.close()
        assert is_recorded(site, user_id), "whoever is back from a payment has to wait for an event"
        told = site.usage(key)
        assert told["tier"] == "pro"
        site.let_events_go()
        site.settle_down()
        check(site, user_id, keys=1)

    return make_good


def settlement(site: Site, arm: Callable[[], None]) -> Callable[[], None]:
    """Calls were counted, and become part of the record."""
    user_id = site.new_user()
    made = site.house.admin("POST", "customers", json={"user_id": user_id})
    key = site.house.admin("POST", f"customers/{made['customer_id']}/keys")["key"]
    used = "SELECT SUM(used) FROM usage_totals WHERE customer_id = ? AND field = 'q:requests:period'"

    def settled() -> int:
        return site.read(used, made["customer_id"]) or 0

    arm()
    for _ in range(_CALLS):
        site.call(key)
    until(lambda: site.was_killed or settled() == _CALLS)

    def make_good() -> None:
        told = site.usage(key)
        counted = next(row["used"] for row in told["limits"] if row["name"] == "period")
        assert counted <= _CALLS
        until(lambda: settled() == counted)
        site.settle_down()
        assert settled() == counted
        check(site, user_id, subscriptions=0, keys=1)

    return make_good


def unbilled(site: Site, arm: Callable[[], None]) -> Callable[[], None]:
    """The same, of whom nothing bills them: that is noted with the report, once."""
    make_good = report(site, arm, is_billed=False)

    def make_good_and_look() -> None:
        make_good()
        noted = "SELECT COUNT(*) FROM metered_windows WHERE unbilled IS NOT total AND total > 0"
        assert site.read(noted) == 0, "units were told that nothing bills, and nobody hears of it"

    return make_good_and_look


def report(site: Site, arm: Callable[[], None], *, is_billed: bool = True) -> Callable[[], None]:
    """Calls beyond what the plan includes are told to Stripe's meter."""
    site.meter()
    user_id = site.subscriber()
    key = site.key_of(user_id)
    for _ in range(INCLUDED + _BEYOND):
        assert site.call(key)
    until(lambda: site.read(_OVER, user_id) == _BEYOND)
    if not is_billed:
        site.lose_item(user_id)

    jumped_at = -inf

    def is_reported() -> bool:
        """Time passes where something waits for it, and nobody is at work: their turn would be over before it wrote.

        It passes no faster than the reporter looks: a day of it, and nobody knows any more what Stripe was told.
        """
        nonlocal jumped_at
        is_jump_due = time.monotonic() - jumped_at > _LOOKS_EVERY_S
        if is_jump_due and site.read(_WAITING, now=site.now()) and site.is_at_rest("reports"):
            site.pass_time(CLAIMS_END_S)
            jumped_at = time.monotonic()
        return site.metered(user_id) >= _BEYOND and not site.read(_UNSENT)

    def reported(*, or_killed: bool) -> None:
        deadline = time.monotonic() + _REPORTED_WITHIN_S
        while not (or_killed and site.was_killed) and not is_reported():
            left = site.read("SELECT group_concat(status || ' ' || coalesce(error, '')) FROM meter_reports")
            assert time.monotonic() < deadline, f"metered {site.metered(user_id)}, reports: {left}"
            time.sleep(0.05)

    arm()
    reported(or_killed=True)

    def make_good() -> None:
        site.settle_down()
        reported(or_killed=False)
        site.settle_down()
        assert site.metered(user_id) == _BEYOND
        check(site, user_id, keys=1)

    return make_good


def paid(site: Site, keep_quiet: Callable[[], None] | None = None) -> str:
    """A user who has paid, of which nothing is told yet."""
    user_id = site.new_user()
    begun = site.checkout(user_id)
    assert begun is not None
    site.settle_down()
    (keep_quiet or site.hold_events)()
    assert site.pay(begun)
    return user_id


def is_recorded(site: Site, user_id: str) -> bool:
    """Whether the ledger knows what was bought."""
    query = "SELECT status FROM subscriptions JOIN customers USING (customer_id) WHERE user_id = ?"
    return site.read(query, user_id) == "active"


_CALLS, _WORKERS = 5, 2
_BEYOND = 3
_OVER = (
    "SELECT SUM(used) FROM usage_totals JOIN customers USING (customer_id)"
    " WHERE user_id = ? AND field = 'q:requests:over'"
)
_LOOKS_EVERY_S = 3.0
"""Longer than the reporter takes from one look to the next."""
_REPORTED_WITHIN_S = 150.0
_UNSENT = "SELECT COUNT(*) FROM meter_reports WHERE status <> 'sent'"
_WAITING = (
    "SELECT (SELECT COUNT(*) FROM metered_windows WHERE total > reported AND look_at > :now)"
    " + (SELECT COUNT(*) FROM meter_reports WHERE status = 'pending' AND due_at > :now)"
    " + (SELECT COUNT(*) FROM meter_turns WHERE claimed_until > :now)"
)
"""Looks, tries and turns of those who were killed that only time brings or ends."""
_SETTINGS = {
    "daily": {
        "TIERGATE_RECONCILE_INTERVAL_S": str(RECONCILED_EVERY_S),
        "TIERGATE_ALERT_URL": "http://127.0.0.1:9/nobody",
        "TIERGATE_ALERT_SECRET": "whsec_" + "YSBzZWNyZXQgb2YgdHdlbnR5LWZvdXIgYg==",
    }
}
_PATH_OF = {"daily": "reconciliation", "importing": "import", "restoring": "import", "unbilled": "report"}
"""Of walks that are called otherwise."""
WALKS: dict[str, tuple[Walk, int]] = {
    "webhook": (webhook, 1),
    "worker": (worker, 8),
    "checkout": (checkout, 8),
    "change": (change, 8),
    "sweep": (sweep, 4),
    "claim": (claim, 8),
    "arrival": (arrival, 5),
    "settlement": (settlement, 4),
    "report": (report, 4),
    "unbilled": (unbilled, 4),
    "reconciliation": (reconciliation, 8),
    "daily": (daily, 8),
    "importing": (importing, 8),
    "restoring": (restoring, 8),
    "grant": (grant, 3),
}
"""What is walked: how, and how many steps it has at the very least. The path is of the same name."""


@pytest.mark.parametrize("fate", ["before", "after"])
@pytest.mark.parametrize("name", WALKS)
def test_a_process_that_is_killed_at_any_step_loses_nothing_and_does_nothing_twice(
    new_site: Callable[..., Site], name: str, fate: str
) -> None:
    walk, fewest = WALKS[name]
    path = _PATH_OF.get(name, name)
    site = new_site(policy=OVERAGE if path == "report" else None, settings=_SETTINGS.get(name))
    for number in count():
        make_good = walk(site, lambda number=number: site.plan(path, number, fate))
        until(lambda: site.was_killed or site.is_at_rest(path))
        was_killed = not site.call_off()
        if was_killed:
            site.revive()
        make_good()
        if not was_killed:
            break
    steps = list(site.steps().values())[-1]
    print(f"{name}, killed {fate} each of {number} steps:\n  " + "\n  ".join(steps))  # noqa: T201 - for who reads -rA
    assert number >= fewest


@pytest.mark.parametrize("fate", ["before", "after"])
def test_a_double_click_on_two_workers_of_which_one_is_killed_at_any_step_sells_once(
    new_site: Callable[..., Site], fate: str
) -> None:
    site = new_site(workers=_WORKERS)
    number, is_over = 0, False
    while not is_over:
        until(lambda kills=number: site.house.started == _WORKERS + kills)
        user_id = site.new_user()
        site.plan("checkout", number, fate)
        with ThreadPoolExecutor(2) as clicks:
            answers = list(clicks.map(site.checkout, [user_id] * 2))
        was_killed = not site.call_off()
        until(lambda user_id=user_id: site.checkout(user_id))
        assert [site.pay(page) for page in site.open_pages(user_id)].count(True) == 1
        site.settle_down()
        check(site, user_id)
        number += was_killed
        is_over = not was_killed and any(answers)
    steps, processes = list(site.steps().values())[-1], site.processes()
    print(f"a double click, one killed {fate} each of {number} steps:\n  " + "\n  ".join(steps))  # noqa: T201 - as above
    assert number >= 8
    assert any(len(both) == _WORKERS for both in processes.values()), "one worker took all the clicks"
