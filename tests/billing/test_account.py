"""A key of another account of Stripe, in the same mode: nobody is ended, bound or sold anything with it."""

from collections.abc import AsyncIterator
from math import inf
from typing import Any

import pytest

from gateway.billing import StripeOptions
from gateway.checkout import Checkouts
from gateway.core.errors import BillingUnavailable, StripeAccountWrong
from gateway.core.lifecycle import CUSTOMER_DELETED
from gateway.ledger import STRIPE_ACCOUNT, Ledger
from gateway.sync import Comparing, EventWorker, Sync
from gateway.sync.ending import MOST_ENDED, TOO_MANY_MISSING
from gateway.sync.reporting import SyncReport
from tests.billing.conftest import (
    ACCOUNT,
    CUS,
    DAY,
    KEY,
    NOW,
    Answer,
    HeldPolicy,
    Request,
    SetClock,
    StandIn,
    opened,
    publishing,
)
from tests.billing.towns import Town

pytestmark = pytest.mark.slow


@pytest.fixture
def town(sync: Sync, ledger: Ledger, account: Any, stand_in: StandIn, clock: SetClock) -> Town:
    return Town(sync, ledger, account, stand_in, clock)


@pytest.fixture
async def restarted(stand_in: StandIn, ledger: Ledger, held_policy: HeldPolicy, clock: SetClock) -> AsyncIterator[Sync]:
    """Another process, which has not asked yet whose key it has."""
    async with opened(StripeOptions(secret_key=KEY, base_url=stand_in.url, timeout_s=10, deadline_s=20)) as billing:
        yield Sync(ledger=ledger, billing=billing, policy=held_policy, publish=publishing(ledger, []), clock=clock)


def paste_wrong_key(town: Town) -> None:
    town.stand_in.account_id = "acct_wrong"
    town.account.subscriptions.clear()


async def test_a_sign_up_in_another_account_ends_nobody(town: Town, restarted: Sync) -> None:
    await town.settle(5)
    paste_wrong_key(town)
    await town.ledger.create_customer(
        customer_id="customer9999", user_id="new", now=NOW, stripe_customer_id="cus_new", actor="signup"
    )
    town.account.subscriptions["cus_new"] = []
    town.clock.at += DAY
    await town.reconciler(restarted).run_if_due()
    town.clock.at += DAY
    report = await town.reconciler(restarted).run_if_due()
    assert report is not None
    assert f"the Stripe account {ACCOUNT}, and this key is of acct_wrong" in str(report.stopped_because)
    assert await town.statuses() == {"active"}
    row = await town.ledger.find_reconciliation()
    assert row is not None
    assert row.finished_at is None


async def test_an_event_under_the_key_of_another_account_waits(
    town: Town, restarted: Sync, ledger: Ledger, clock: SetClock, deliver: Any
) -> None:
    await town.settle(1)
    right = dict(town.account.subscriptions)
    paste_wrong_key(town)
    await deliver("evt_1", "invoice.paid", {"id": "in_1", "object": "invoice", "customer": CUS})
    await EventWorker(ledger=ledger, sync=restarted, clock=clock).work_once()
    waiting = await ledger.find_event("evt_1")
    assert waiting is not None
    assert (waiting.status, waiting.failures) == ("pending", 0)
    assert await town.statuses() == {"active"}
    town.account.subscriptions.update(right)
    clock.at += 60
    await EventWorker(ledger=ledger, sync=town.sync, clock=clock).work_once()
    done = await ledger.find_event("evt_1")
    assert done is not None
    assert done.outcome == "applied"


async def test_an_event_that_names_nobody_is_not_dropped_under_the_key_of_another_account(
    town: Town, restarted: Sync, ledger: Ledger, clock: SetClock, deliver: Any
) -> None:
    await town.settle(1)
    paste_wrong_key(town)
    town.account.answer_object = lambda _: None

    async def answer(request: Request) -> Answer:
        if request.path.startswith("/v1/disputes/"):
            error = {"type": "invalid_request_error", "code": "resource_missing", "message": "No such dispute"}
            return Answer(status=404, body={"error": error})
        return await town.account.answer(request)  # type: ignore[no-any-return]

    town.stand_in.handler = answer
    await deliver("evt_1", "charge.dispute.created", {"id": "du_1", "object": "dispute"})
    await EventWorker(ledger=ledger, sync=restarted, clock=clock).work_once()
    waiting = await ledger.find_event("evt_1")
    assert waiting is not None
    assert waiting.status == "pending"


async def test_one_that_was_broken_off_and_goes_on_with_the_wrong_key_ends_nobody(
    town: Town, restarted: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.sync.everyone._OUTAGE_PAUSES_S", (0.01,))
    monkeypatch.setattr("gateway.sync.everyone.PAGE", 2)
    await town.settle(6)

    def fail(report: SyncReport) -> None:
        town.account.is_down = report.cursor == town.ids[2]

    await town.reconciler().run(fail)
    town.account.is_down = False
    paste_wrong_key(town)
    report = await town.reconciler(restarted).run_if_due()
    assert report is not None
    assert report.stopped_because is not None
    assert await town.statuses() == {"active"}


async def test_a_rest_of_deleted_customers_is_ended_by_one_that_goes_on_behind_the_others(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.sync.everyone._OUTAGE_PAUSES_S", (0.01,))
    monkeypatch.setattr("gateway.sync.everyone.PAGE", 2)
    await town.settle(4)
    del town.account.subscriptions["cus_3"], town.account.subscriptions["cus_4"]

    def fail(report: SyncReport) -> None:
        town.account.is_down = report.cursor == town.ids[1]

    await town.reconciler().run(fail)
    town.account.is_down = False
    row = await town.ledger.find_reconciliation()
    assert row is not None
    report = await town.reconciler().run(after=row.cursor)
    assert (report.stopped_because, report.ended, report.checked) == (None, 2, 2)


async def test_nothing_is_sold_and_nobody_is_bound_anew_with_the_key_of_another_account(
    town: Town, restarted: Sync, clock: SetClock, held_policy: HeldPolicy
) -> None:
    await town.settle(1)
    paste_wrong_key(town)
    before = len(town.stand_in.requests)
    parts: Any = {"provisioning": None, "signups": None, "codec": None}
    checkouts = Checkouts(
        ledger=town.ledger,
        billing=restarted.billing,
        policy=held_policy,
        sync=restarted,
        clock=clock,
        base_url="http://localhost",
        **parts,
    )
    with pytest.raises(StripeAccountWrong) as refused:
        await checkouts.for_customer(town.ids[0], "pro-monthly")
    assert (refused.value.code, isinstance(refused.value, BillingUnavailable)) == ("billing-unavailable", True)
    assert "acct_" not in str(refused.value)
    assert len(town.stand_in.requests) == before
    row = await town.ledger.find_customer(town.ids[0])
    assert row is not None
    assert row.stripe_customer_id == CUS


async def test_a_comparison_under_the_key_of_another_account_says_so(town: Town, restarted: Sync) -> None:
    await town.settle(2)
    paste_wrong_key(town)
    report = await Comparing(sync=restarted, ledger=town.ledger, clock=town.clock).compare_all(per_second=1000)
    assert "acct_wrong" in str(report.stopped_because)
    assert report.differences == []


async def test_a_run_ends_a_small_share_and_asks_about_the_rest(town: Town) -> None:
    await town.settle(MOST_ENDED + 5)
    for number in range(1, MOST_ENDED + 4):
        del town.account.subscriptions[f"cus_{number}"]
    report = await town.reconciler().run()
    assert (report.ended, len(report.held), report.stopped_because) == (MOST_ENDED, 3, TOO_MANY_MISSING)
    [alert] = [one for one in await town.ledger.list_alerts() if "customers_missing" in one.body]
    assert '"held":3' in alert.body
    report = await town.reconciler().run(may_end=inf)
    assert (report.ended, report.held, report.stopped_because) == (3, [], None)
    report = await town.reconciler().run()
    assert (len(report.missing), report.ended, report.held, report.stopped_because) == (MOST_ENDED + 3, 0, [], None)


async def ended_of(town: Town) -> int:
    found = [await town.ledger.load_subscription(one) for one in town.ids]
    return sum(one is not None and one.status == CUSTOMER_DELETED for one in found)


async def test_one_that_was_broken_off_and_goes_on_ends_no_more_than_one_run_may(
    town: Town, restarted: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.sync.everyone._OUTAGE_PAUSES_S", (0.01,))
    monkeypatch.setattr("gateway.sync.everyone.PAGE", 4)
    await town.settle(MOST_ENDED + 8)
    for number in range(1, MOST_ENDED + 5):
        del town.account.subscriptions[f"cus_{number}"]

    def fail(report: SyncReport) -> None:
        town.account.is_down = report.cursor == town.ids[9]

    report = await town.reconciler().run(fail)
    assert (report.ended, report.stopped_because is None) == (8, False)
    town.account.is_down = False
    report = await town.reconciler(restarted).run()
    assert (report.ended, len(report.held), report.stopped_because) == (MOST_ENDED, 4, TOO_MANY_MISSING)
    assert await ended_of(town) == MOST_ENDED
    [alert] = [one for one in await town.ledger.list_alerts() if "customers_missing" in one.body]
    assert f'"checked":{MOST_ENDED + 8},"ended":{MOST_ENDED},"held":4' in alert.body
    row = await town.ledger.find_reconciliation()
    assert row is not None
    assert row.ended == MOST_ENDED


async def test_one_that_is_broken_off_again_and_again_within_a_page_ends_no_more_than_one_run_may(
    town: Town, restarted: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.sync.everyone._OUTAGE_PAUSES_S", (0.01,))
    await town.settle(3 * MOST_ENDED)
    for number in range(1, 3 * MOST_ENDED):
        del town.account.subscriptions[f"cus_{number}"]

    async def answer(request: Request) -> Answer:
        """Stripe goes away when four more are to be ended, before the page of all is done."""
        town.account.is_down |= await ended_of(town) >= stop_at
        return await town.account.answer(request)  # type: ignore[no-any-return]

    town.stand_in.handler = answer
    for stop_at in (4, 8):
        report = await town.reconciler(restarted).run()
        assert (await ended_of(town), report.stopped_because is None) == (stop_at, False)
        town.account.is_down = False
        town.stand_in.handler = answer
    stop_at = len(town.ids)
    report = await town.reconciler(restarted).run()
    assert report.stopped_because == TOO_MANY_MISSING
    assert MOST_ENDED - 2 <= await ended_of(town) <= MOST_ENDED, "who was being ended when it broke off counts too"


async def restrict(town: Town, *, known: bool) -> None:
    """A key that may not read its account, in an account that has, or does not have, the customers of the ledger."""

    async def answer(request: Request) -> Answer:
        if request.path == "/v1/account":
            return Answer(status=403, body={"error": {"type": "invalid_request_error", "message": "not permitted"}})
        if request.path.startswith("/v1/customers/"):
            if known:
                return Answer(body={"id": CUS, "object": "customer", "deleted": True})
            error = {"type": "invalid_request_error", "code": "resource_missing", "message": "No such customer"}
            return Answer(status=404, body={"error": error})
        return await town.account.answer(request)  # type: ignore[no-any-return]

    town.stand_in.handler = answer
    town.stand_in.account_id = None


@pytest.mark.parametrize("known", [True, False])
async def test_a_key_that_may_not_read_its_account_is_judged_by_the_customers_that_stripe_had(
    *, known: bool, town: Town, restarted: Sync
) -> None:
    await town.settle(3)
    await restrict(town, known=known)
    del town.account.subscriptions[CUS]
    report = await town.reconciler(restarted).run()
    assert (report.ended, report.stopped_because is None) == ((1, True) if known else (0, False))


async def test_a_ledger_with_customers_learns_no_account_that_never_had_them(
    town: Town, restarted: Sync, ledger: Ledger
) -> None:
    await town.settle(1)
    await ledger.replace_facts({"x": "y"}, now=NOW, actor="test")
    await ledger.leave_stripe({"x": "y"}, without=(STRIPE_ACCOUNT,), now=NOW, actor="test")
    await ledger.bind_stripe_customer(town.ids[0], CUS)
    town.stand_in.handler = town.stand_in.nothing

    async def answer(_: Request) -> Answer:
        error = {"type": "invalid_request_error", "code": "resource_missing", "message": "No such customer"}
        return Answer(status=404, body={"error": error})

    town.stand_in.handler = answer
    with pytest.raises(StripeAccountWrong):
        await restarted.account.check()
    assert STRIPE_ACCOUNT not in await ledger.load_facts()
    town.stand_in.always(Answer(body={"id": CUS, "object": "customer"}))
    await restarted.account.check()
    assert (await ledger.load_facts())[STRIPE_ACCOUNT] == ACCOUNT
    assert restarted.account.trouble is None


async def test_a_process_that_runs_on_while_the_ledger_goes_to_another_account_is_told(
    town: Town, sync: Sync, ledger: Ledger
) -> None:
    await sync.account.check()
    await ledger.leave_stripe({"x": "y"}, without=(STRIPE_ACCOUNT,), now=NOW, actor="test")
    await ledger.keep_facts({STRIPE_ACCOUNT: "acct_next"}, now=NOW)
    with pytest.raises(StripeAccountWrong):
        await town.sync.account.check()
