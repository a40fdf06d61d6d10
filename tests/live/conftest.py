"""Each test here is run against the sandbox, and with `-m live` against a real Stripe account in test mode."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.billing import StripeOptions
from gateway.billing.pace import Pace
from gateway.billing.transport import Transport
from gateway.ledger import Ledger
from gateway.sync import EventWorker, Sync
from tests.billing.conftest import HeldPolicy, SetClock, opened, publishing, sold_policy
from tests.conftest import PATIENT_S
from tests.live.account import StripeAccount, real_account, sandbox_account
from tests.live.life import Life


@pytest.fixture(scope="module", params=["sandbox", pytest.param("stripe", marks=pytest.mark.live)])
def account(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StripeAccount]:
    """With this run's products and prices, which are archived at the end."""
    if request.param == "stripe":
        yield from stocked(real_account())
        return
    with sandbox_account(tmp_path_factory.mktemp("sandbox")) as made:
        yield from stocked(made)


def stocked(account: StripeAccount) -> Iterator[StripeAccount]:
    try:
        account.stock()
        yield account
    finally:
        account.clear()


@pytest.fixture
async def life(account: StripeAccount, migrated_sqlite: Path, tmp_path: Path) -> AsyncIterator[Life]:
    file = shutil.copy(migrated_sqlite, tmp_path / "ledger.sqlite3")
    ledger = await Ledger.open(f"sqlite:///{file}", deadline_s=PATIENT_S)
    transport = Transport(timeout_s=60, through_proxy=account.base_url is None, pace=Pace(15.0))
    policy, clock = HeldPolicy(current=replace(sold_policy(), plans=account.plans)), SetClock()
    options = StripeOptions(secret_key=account.key, base_url=account.base_url, timeout_s=30, deadline_s=60)
    try:
        async with opened(options) as billing:
            sync = Sync(ledger=ledger, billing=billing, policy=policy, publish=publishing(ledger, []), clock=clock)
            made = Life(
                account=account,
                stripe=account.client(transport),
                billing=billing,
                ledger=ledger,
                sync=sync,
                worker=EventWorker(ledger=ledger, sync=sync, clock=clock),
                clock=clock,
            )
            try:
                yield made
            finally:
                await made.clear()
    finally:
        await transport.close_async()
        await ledger.aclose()
