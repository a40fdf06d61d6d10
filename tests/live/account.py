"""A Stripe account to play in: a real one in test mode if a key is given, or the sandbox; the tests do not know which.

What a run makes carries the run's name, and is taken away at its end: test clocks with their customers, other
customers, products and prices (which Stripe does not delete: they are archived, and give their lookup keys back).
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import stripe

from gateway.billing.client import API_VERSION
from gateway.clock import SimulatedClock
from gateway.core.policy import Plan

VARIABLE = "TIERGATE_TEST_STRIPE_KEY"
NOT_RUN = f"not run: {VARIABLE} is not set to a key of a Stripe account in test mode"
_TEST_KEYS = ("sk_test_", "rk_test_")
PRICES = {
    "pro-monthly": ("pro", 2900, "month"),
    "pro-yearly": ("pro", 29000, "year"),
    "enterprise-monthly": ("enterprise", 49900, "month"),
}
"""By plan: tier, amount in cents, interval."""


@dataclass(kw_only=True)
class StripeAccount:
    """One account and what this run made in it."""

    key: str = field(repr=False)
    base_url: str | None
    """None: Stripe itself."""
    patience_s: float
    now: Callable[[], float]
    """Unix seconds there: nothing can be put on a clock that stands before."""
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    products: list[str] = field(default_factory=list)
    prices: list[str] = field(default_factory=list)

    @property
    def plans(self) -> dict[str, Plan]:
        """What policy sells: by lookup keys of this run's own."""
        return {
            name: Plan(plan_id=name, tier=tier, title=name, price_id=None, lookup_key=self.lookup_key(name))
            for name, (tier, _, _) in PRICES.items()
        }

    def lookup_key(self, plan_id: str) -> str:
        return f"tiergate_test_{self.run}_{plan_id}"

    def client(self, http_client: stripe.HTTPClient) -> stripe.StripeClient:
        addresses: stripe.BaseAddresses = {} if self.base_url is None else {"api": self.base_url}
        return stripe.StripeClient(
            self.key, stripe_version=API_VERSION, base_addresses=addresses, http_client=http_client
        )

    def stock(self) -> None:
        """Products and prices, before anything else."""
        for name, (tier, amount, interval) in PRICES.items():
            product = self._post("products", {"name": f"Tiergate test {self.run} {tier}"})
            self.products.append(product)
            sold = {"product": product, "currency": "usd", "unit_amount": amount, "recurring[interval]": interval}
            self.prices.append(self._post("prices", {**sold, "lookup_key": self.lookup_key(name)}))

    def clear(self) -> None:
        """Archive what cannot be deleted; what fails keeps nothing else from it."""
        failed = []
        archived = {f"prices/{one}": {"active": "false", "lookup_key": ""} for one in self.prices}
        archived |= {f"products/{one}": {"active": "false"} for one in self.products}
        for path, form in archived.items():
            try:
                self._post(path, form)
            except httpx.HTTPError as error:
                failed.append(f"{path}: {type(error).__name__}")
        assert failed == [], "left behind in the account"

    def _post(self, path: str, form: Mapping[str, object]) -> str:
        """Returns the object's id."""
        answer = httpx.post(
            f"{self.base_url or 'https://api.stripe.com'}/v1/{path}",
            data=dict(form),
            headers={"authorization": f"Bearer {self.key}", "stripe-version": API_VERSION},
            timeout=60,
        )
        return str(answer.raise_for_status().json()["id"])


def real_account() -> StripeAccount:
    """The account of the key in the environment.

    The test is skipped if there is none, and fails if it is no key of test mode.
    """
    key = os.environ.get(VARIABLE, "").strip()
    if not key:
        pytest.skip(NOT_RUN)
    if not key.startswith(_TEST_KEYS):
        pytest.fail(f"{VARIABLE} holds no key of test mode ({' or '.join(_TEST_KEYS)}...): nothing was sent")
    return StripeAccount(key=key, base_url=None, patience_s=120.0, now=time.time)


@contextmanager
def sandbox_account(folder: Path) -> Iterator[StripeAccount]:
    """A sandbox of its own, which has nothing on sale yet."""
    with subprocess.Popen(
        [sys.executable, "-m", "gateway.sandbox", "--clock-file", folder / "clock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        clock = SimulatedClock(folder / "clock")
        try:
            yield StripeAccount(key=told["key"], base_url=told["stripe_url"], patience_s=30.0, now=clock.now)
        finally:
            process.terminate()
            process.communicate(timeout=20)
