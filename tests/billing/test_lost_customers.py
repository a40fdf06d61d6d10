"""A ledger restored from a backup misses whom it made since: they pay, so they are found, and not sold to twice."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.adopting import Adopting, ImportOrder, ImportReport
from gateway.billing import CheckoutLink
from gateway.checkout import AlreadySubscribed, Checkouts
from gateway.core.access import decide_access
from gateway.core.errors import BillingRefused
from gateway.core.keys import KeyCodec
from gateway.ledger import Ledger
from gateway.provisioning import Provisioning
from gateway.publishing import Publisher
from gateway.sync import EventWorker, Sync
from tests.billing.conftest import PATIENT_S, publishing

pytestmark = pytest.mark.slow


@dataclass(kw_only=True)
class House:
    """One gateway's use cases over one ledger."""

    shop: Any
    ledger: Ledger
    sync: Sync
    worker: EventWorker

    @property
    def provisioning(self) -> Provisioning:
        unused: Any = None
        publisher: Publisher = unused
        codec: KeyCodec = unused
        return Provisioning(self.ledger, publisher, codec, self.shop.sandbox.clock)

    async def open_page(self, user_id: str) -> CheckoutLink:
        unused: Any = {"signups": None, "codec": None}
        checkouts = Checkouts(
            ledger=self.ledger,
            billing=self.shop.billing,
            policy=self.shop.sync._policy,
            sync=self.sync,
            provisioning=self.provisioning,
            clock=self.shop.sandbox.clock,
            base_url="http://localhost",
            **unused,
        )
        return await checkouts.for_user(user_id, "pro-monthly", actor="server")

    async def buys(self, user_id: str) -> tuple[str, str]:
        """A buyer by this gateway's own checkout: the customer, and its Stripe customer."""
        answer = await self.shop.sandbox.pay((await self.open_page(user_id)).url)
        assert answer.status_code == 303
        await self.settle()
        row = await self.ledger.find_customer_by_user(user_id)
        assert row is not None
        assert row.stripe_customer_id is not None
        return row.customer_id, row.stripe_customer_id

    async def settle(self) -> None:
        await self.shop.sandbox.control("deliveries/drain")
        while await self.worker.work_once():
            pass

    async def tier(self, customer_id: str) -> str | None:
        account = await self.ledger.load_account(customer_id)
        assert account is not None
        tier = decide_access(account, self.sync.policy, self.shop.sandbox.clock.now()).tier
        return None if tier is None else tier.name

    async def imports(self, *, is_dry: bool = False, of_ledgers: tuple[str, ...] = ()) -> ImportReport:
        adopting = Adopting(
            ledger=self.ledger,
            sync=self.sync,
            provisioning=self.provisioning,
            clock=self.shop.sandbox.clock,
            actor="operator",
        )
        order = ImportOrder(source="metadata:user_id", per_second=80, is_dry=is_dry, of_ledgers=frozenset(of_ledgers))
        return await adopting.run(order)

    async def something_happens_to(self, stripe_customer_id: str) -> None:
        v1 = self.shop.sandbox.stripe.v1
        [one] = (await v1.subscriptions.list_async({"customer": stripe_customer_id})).data
        await v1.subscriptions.update_async(one.id, {"metadata": {"note": self.shop.secret[-6:]}})
        await self.settle()


@asynccontextmanager
async def housed(shop: Any, url: str) -> AsyncIterator[House]:
    """A gateway over that ledger, which gets the shop's events from now on."""
    ledger = await Ledger.open(url, deadline_s=PATIENT_S)
    clock = shop.sandbox.clock
    sync = Sync(
        ledger=ledger, billing=shop.billing, policy=shop.sync._policy, publish=publishing(ledger, []), clock=clock
    )
    shop.ledger, shop.worker = ledger, EventWorker(ledger=ledger, sync=sync, clock=clock)
    yield House(shop=shop, ledger=ledger, sync=sync, worker=shop.worker)
    await ledger.aclose()


@pytest.fixture
def backup(ledger_url: str, tmp_path: Path) -> Callable[[str], str]:
    """Copies the ledger as of now."""

    def copy(name: str) -> str:
        target = tmp_path / name
        with sqlite3.connect(ledger_url.removeprefix("sqlite:///")) as ours, sqlite3.connect(target) as theirs:
            ours.backup(theirs)
        return f"sqlite:///{target}"

    return copy


@pytest.fixture
async def restored(
    shop: Any, ledger_url: str, backup: Callable[[str], str]
) -> AsyncIterator[tuple[House, str, str, str]]:
    """A gateway whose ledger lost a buyer: its customer, its Stripe customer and its user."""
    async with housed(shop, ledger_url) as before:
        await before.ledger.keep_ledger_id(now=1)
        old = backup("old.sqlite3")
        user_id = f"lost-{shop.secret[-8:]}"
        lost, cus = await before.buys(user_id)
        assert await before.tier(lost) == "pro"
    async with housed(shop, old) as after:
        yield after, lost, cus, user_id


async def live_of(shop: Any, user_id: str) -> list[str]:
    v1 = shop.sandbox.stripe.v1
    every = (await v1.customers.list_async({"limit": 100})).data
    mine = [one.id for one in every if one.metadata.to_dict().get("tiergate_user_id") == user_id]
    return [one.id for cus in mine for one in (await v1.subscriptions.list_async({"customer": cus})).data]


async def test_an_import_makes_a_lost_customer_again_under_the_id_that_it_had(
    restored: tuple[House, str, str, str],
) -> None:
    house, lost, cus, user_id = restored
    dry = await house.imports(is_dry=True)
    assert (dry.restored, [one for one in dry.conflicts if one.stripe_customer_id == cus]) == (1, [])
    assert await house.ledger.find_customer(lost) is None
    report = await house.imports()
    assert (report.restored, report.granted) == (1, 1)
    row = await house.ledger.find_customer(lost)
    assert row is not None
    assert (row.user_id, row.stripe_customer_id, await house.tier(lost)) == (user_id, cus, "pro")
    assert (await house.imports()).restored == 0


async def test_an_event_of_a_lost_customer_is_set_aside_once_and_its_replay_after_the_import_reads_it(
    restored: tuple[House, str, str, str],
) -> None:
    house, lost, cus, _ = restored
    await house.something_happens_to(cus)
    v1 = house.shop.sandbox.stripe.v1
    [one] = (await v1.subscriptions.list_async({"customer": cus})).data
    await v1.subscriptions.update_async(one.id, {"metadata": {"again": "1"}})
    await house.settle()
    [dead] = await house.ledger.list_events(status="dead")
    assert lost in (dead.error or "")
    assert "tiergate customers import" in (dead.error or "")
    await house.imports()
    assert await house.ledger.replay_event(dead.event_id, int(house.shop.sandbox.clock.now()))
    await house.settle()
    assert await house.ledger.list_events(status="dead") == []


async def test_a_thin_event_of_a_lost_customer_has_the_verdict_of_the_snapshot(
    restored: tuple[House, str, str, str],
) -> None:
    house, lost, cus, _ = restored
    await house.shop.hear_thinly()
    await house.something_happens_to(cus)
    [dead] = await house.ledger.list_events(status="dead")
    assert (dead.type, lost in (dead.error or "")) == ("v1.customer.subscription.updated", True)
    assert house.worker.strangers == {"lost": 1}
    await house.imports()
    assert await house.ledger.replay_event(dead.event_id, int(house.shop.sandbox.clock.now()))
    await house.settle()
    assert (await house.ledger.find_event(dead.event_id)).outcome == "applied"


async def test_a_user_whose_customer_was_lost_is_not_sold_a_second_subscription(
    restored: tuple[House, str, str, str],
) -> None:
    house, _, cus, user_id = restored
    with pytest.raises(AlreadySubscribed):
        await house.open_page(user_id)
    row = await house.ledger.find_customer_by_user(user_id)
    assert row is not None
    assert (row.stripe_customer_id, await house.tier(row.customer_id)) == (cus, "pro")
    assert len(await live_of(house.shop, user_id)) == 1


async def test_who_has_no_unambiguous_account_at_stripe_is_sold_nothing(
    restored: tuple[House, str, str, str],
) -> None:
    house, lost, _, user_id = restored
    ledger_id = await house.ledger.find_ledger_id()
    await house.shop.billing.create_customer(lost[::-1], user_id, ledger_id=ledger_id)
    with pytest.raises(BillingRefused, match="more than one"):
        await house.open_page(user_id)
    assert {one.code for one in (await house.imports()).conflicts} >= {"same-user-id"}


@pytest.mark.parametrize("hear", ["snapshots", "thin events"])
async def test_another_gateway_in_the_same_account_is_left_alone_by_events_import_and_checkout(
    shop: Any, ledger_url: str, backup: Callable[[str], str], hear: str
) -> None:
    other = backup("other.sqlite3")
    user_id = f"shared-{shop.secret[-8:]}"
    async with housed(shop, ledger_url) as theirs:
        _, cus = await theirs.buys(user_id)
        ledger_id = await theirs.ledger.find_ledger_id()
    if hear == "thin events":
        await shop.hear_thinly()
    async with housed(shop, other) as ours:
        await ours.ledger.keep_ledger_id(now=1)
        await ours.something_happens_to(cus)
        assert await ours.ledger.list_events(status="dead") == []
        assert {one.outcome for one in await ours.ledger.list_events()} == {"another-ledger"}
        assert ours.worker.strangers == {"another-ledger": 1}
        [conflict] = [one for one in (await ours.imports()).conflicts if one.stripe_customer_id == cus]
        assert conflict.code == "another-ledger"
        assert ledger_id in conflict.detail
        assert (await ours.buys(user_id))[1] != cus


async def test_labels_that_name_no_ledger_are_restored_only_where_the_operator_says_so(
    shop: Any, backup: Callable[[str], str]
) -> None:
    old = backup("old.sqlite3")
    lost = await shop.buyer()
    row = await shop.ledger.find_customer(lost)
    async with housed(shop, old) as house:
        await house.something_happens_to(row.stripe_customer_id)
        assert {one.outcome for one in await house.ledger.list_events()} == {"not-in-this-ledger"}
        [conflict] = [
            one for one in (await house.imports()).conflicts if one.stripe_customer_id == row.stripe_customer_id
        ]
        assert (conflict.code, "unnamed" in conflict.detail) == ("another-ledger", True)
        await house.imports(of_ledgers=("unnamed",))
        made = await house.ledger.find_customer(lost)
        assert made is not None
        assert (made.user_id, made.stripe_customer_id, await house.tier(lost)) == (
            row.user_id,
            row.stripe_customer_id,
            "pro",
        )
