"""Each test here is run against the sandbox, and with `-m live` against a real Stripe account in test mode."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.billing import StripeOptions
from gateway.billing.transport import Transport
from gateway.ledger import Ledger
from gateway.policyfiles import load_policy
from gateway.sync import EventWorker, Sync
from tests.billing.conftest import HeldPolicy, SetClock, opened, publishing
from tests.conftest import PATIENT_S
from tests.live.account import StripeAccount, real_account, sandbox_account
from tests.live.life import Life
from tests.stripe_sdk.wire import Wire

PER_SECOND = 15.0
"""Requests, all in all: Stripe takes 25 in test mode, and other keys of the account have some of them."""


@pytest.fixture(scope="session", params=["sandbox", pytest.param("stripe", marks=pytest.mark.live)])
def account(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StripeAccount]:
    """With all that this run sells, which is taken away at the end."""
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


@pytest.fixture(autouse=True)
def wire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever is sent must be known to the pinned SDK, and so must what the sandbox answers. Stripe may say more."""
    if "account" not in request.fixturenames:
        yield
        return
    judge = Wire(checks_refused=True, judges_answers=not request.getfixturevalue("account").is_stripe)
    monkeypatch.setattr(Transport, "request_async", judge.noting(Transport.request_async))
    yield
    assert judge.faults == []


class Unhurried(Transport):
    """Waits for a turn before each request, in the same row as the gateway's own."""

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        async with self._pace.turn():
            return await super().request_async(method, url, headers, post_data)


@pytest.fixture
async def life(account: StripeAccount, migrated_sqlite: Path, tmp_path: Path) -> AsyncIterator[Life]:
    file = shutil.copy(migrated_sqlite, tmp_path / "ledger.sqlite3")
    ledger = await Ledger.open(f"sqlite:///{file}", deadline_s=PATIENT_S)
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "policy.yaml").write_text(account.names.policy())
    policy, clock = HeldPolicy(current=load_policy(policies)), SetClock()
    options = StripeOptions(
        secret_key=account.key,
        base_url=account.base_url,
        timeout_s=30,
        deadline_s=60,
        background_per_s=PER_SECOND if account.is_stripe else 1_000.0,
        portal_configuration=account.portal_configuration,
    )
    try:
        async with opened(options) as billing:
            transport = Unhurried(timeout_s=60, through_proxy=account.is_stripe, pace=billing.pace)
            sync = Sync(ledger=ledger, billing=billing, policy=policy, publish=publishing(ledger, []), clock=clock)
            made = Life(
                account=account,
                stripe=account.client(transport),
                billing=billing,
                ledger=ledger,
                sync=sync,
                policy=policy,
                worker=EventWorker(ledger=ledger, sync=sync, clock=clock),
                clock=clock,
            )
            try:
                yield made
            finally:
                await made.clear()
                await transport.close_async()
    finally:
        await ledger.aclose()
