"""A Stripe account to play in: a real one in test mode if a key is given, or the sandbox; the tests do not know which.

What a run makes carries the run's name, and is taken away at its end, the last first: what Stripe deletes is deleted,
the rest is archived: products, prices, features, portal configurations and meters.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import stripe

from gateway.billing.client import API_VERSION
from gateway.clock import SimulatedClock
from gateway.sandbox.wire.form import parse_form
from tests.live.catalog import (
    CURRENCY,
    EXPORTS,
    EXPORTS_AMOUNT,
    OVERAGE,
    OVERAGE_AMOUNT,
    PERCENT_OFF,
    PRICES,
    Names,
)
from tests.stripe_sdk.params import faults_of_request

VARIABLE = "TIERGATE_TEST_STRIPE_KEY"
NOT_RUN = f"not run: {VARIABLE} is not set to a key of a Stripe account in test mode"
_TEST_KEYS = ("sk_test_", "rk_test_")
_GONE = 404
_SHOWN_IN_PORTAL = ("pro-monthly", "enterprise-monthly")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """How one thing is taken away."""

    method: str
    path: str
    form: dict[str, str]


@dataclass(kw_only=True)
class StripeAccount:
    """One account and what this run made in it."""

    key: str = field(repr=False)
    base_url: str | None
    """None: Stripe itself."""
    patience_s: float
    """How long what Stripe does by and by may take."""
    now: Callable[[], float]
    """Unix seconds there: nothing can be put on a clock that stands before."""
    nowhere: str = "https://tiergate-{run}.example.com"
    """Address of a gateway that nobody reaches, and that webhook endpoints may lead to."""
    names: Names = field(default_factory=lambda: Names(run=secrets.token_hex(4)))
    prices: dict[str, str] = field(default_factory=dict)
    """Ids by plan, add-on, and for overage."""
    portal_configuration: str = ""
    meter_id: str = ""
    removals: list[Removal] = field(default_factory=list)

    @property
    def is_stripe(self) -> bool:
        """Whether it is a real one."""
        return self.base_url is None

    @property
    def pause_s(self) -> float:
        """How long to wait before Stripe is asked again."""
        return 2.0 if self.is_stripe else 0.05

    @cached_property
    def http(self) -> httpx.Client:
        """For what is made and taken away outside of the tests. Proxies are for Stripe itself."""
        return httpx.Client(
            base_url=self.base_url or "https://api.stripe.com",
            headers={"authorization": f"Bearer {self.key}", "stripe-version": API_VERSION},
            timeout=60,
            trust_env=self.is_stripe,
        )

    @property
    def public_url(self) -> str:
        return self.nowhere.format(run=self.names.run)

    def client(self, http_client: stripe.HTTPClient) -> stripe.StripeClient:
        addresses: stripe.BaseAddresses = {} if self.base_url is None else {"api": self.base_url}
        return stripe.StripeClient(
            self.key, stripe_version=API_VERSION, base_addresses=addresses, http_client=http_client
        )

    def stock(self) -> None:
        """Everything that is on sale, before anything else."""
        names = self.names
        coupon = self.ask("POST", "coupons", {"id": names.coupon, "percent_off": PERCENT_OFF, "duration": "forever"})
        self.remove_later("DELETE", f"coupons/{coupon['id']}")
        meter = self.ask(
            "POST",
            "billing/meters",
            {
                "display_name": names.title("units"),
                "event_name": names.meter,
                "default_aggregation[formula]": "sum",
            },
        )
        self.meter_id = meter["id"]
        self.remove_later("POST", f"billing/meters/{self.meter_id}/deactivate")
        products = {
            name: self._sell(name, {"unit_amount": amount, "recurring[interval]": interval})
            for name, (_, amount, interval) in PRICES.items()
        }
        self._sell(EXPORTS, {"unit_amount": EXPORTS_AMOUNT, "recurring[interval]": "month"})
        metered = {"recurring[usage_type]": "metered", "recurring[meter]": self.meter_id}
        self._sell(OVERAGE, {"unit_amount": OVERAGE_AMOUNT, "recurring[interval]": "month", **metered})
        self._entitle(products["pro-monthly"])
        self._configure_portal({name: products[name] for name in _SHOWN_IN_PORTAL})

    def _sell(self, what: str, price: dict[str, object]) -> str:
        """A product with one price. Returns the product's id."""
        product: str = self.ask("POST", "products", {"name": self.names.title(what)})["id"]
        self.remove_later("POST", f"products/{product}", active="false")
        sold = {"product": product, "currency": CURRENCY, "lookup_key": self.names.lookup_key(what), **price}
        self.prices[what] = self.ask("POST", "prices", sold)["id"]
        self.remove_later("POST", f"prices/{self.prices[what]}", active="false")
        return product

    def _entitle(self, product: str) -> None:
        names = self.names
        feature = self.ask("POST", "entitlements/features", {"name": names.title("sso"), "lookup_key": names.feature})
        self.remove_later("POST", f"entitlements/features/{feature['id']}", active="false")
        given = self.ask("POST", f"products/{product}/features", {"entitlement_feature": feature["id"]})
        self.remove_later("DELETE", f"products/{product}/features/{given['id']}")

    def _configure_portal(self, products: dict[str, str]) -> None:
        """One of this run's own: an account whose portal was never saved has no default."""
        sold: dict[str, object] = {}
        for at, (name, product) in enumerate(products.items()):
            where = f"features[subscription_update][products][{at}]"
            sold |= {f"{where}[product]": product, f"{where}[prices][0]": self.prices[name]}
        made = self.ask(
            "POST",
            "billing_portal/configurations",
            {
                "business_profile[headline]": self.names.title("portal"),
                "features[payment_method_update][enabled]": "true",
                "features[invoice_history][enabled]": "true",
                "features[subscription_cancel][enabled]": "true",
                "features[subscription_cancel][mode]": "at_period_end",
                "features[subscription_update][enabled]": "true",
                "features[subscription_update][default_allowed_updates][0]": "price",
                **sold,
            },
        )
        self.portal_configuration = made["id"]
        self.remove_later("POST", f"billing_portal/configurations/{made['id']}", active="false")

    def remove_later(self, method: str, path: str, **form: str) -> None:
        """Have it taken away at the end."""
        self.removals.append(Removal(method=method, path=path, form=form))

    def clear(self) -> None:
        """Take everything away; what fails keeps nothing else from it, and what is gone already is no failure."""
        failed = []
        while self.removals:
            one = self.removals.pop()
            try:
                self.ask(one.method, one.path, one.form)
            except httpx.HTTPStatusError as error:
                if error.response.status_code != _GONE:
                    failed.append(f"{one.path}: {error.response.json()['error'].get('message')}")
            except httpx.HTTPError as error:
                failed.append(f"{one.path}: {type(error).__name__}")
        self.http.close()
        assert failed == [], "left behind in the account"

    def ask(self, method: str, path: str, form: dict[str, Any]) -> Any:
        """One request, which the pinned SDK knows; the answer's JSON. A path is of /v1 unless it says otherwise."""
        path = path if path.startswith("/") else f"/v1/{path}"
        faults = faults_of_request(method, path, parse_form(urlencode(form)))
        assert faults == []
        answer = self.http.request(
            method,
            path,
            data=form if method == "POST" else None,
            params=form if method == "GET" else None,
        )
        return answer.raise_for_status().json()


def real_account() -> StripeAccount:
    """The account of the key in the environment.

    The test is skipped if there is none, and fails if it is no key of test mode.
    """
    key = os.environ.get(VARIABLE, "").strip()
    if not key:
        pytest.skip(NOT_RUN)
    if not key.startswith(_TEST_KEYS):
        pytest.fail(f"{VARIABLE} holds no key of test mode ({' or '.join(_TEST_KEYS)}...): nothing was sent")
    return StripeAccount(key=key, base_url=None, patience_s=180.0, now=time.time)


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
            yield StripeAccount(
                key=told["key"],
                base_url=told["stripe_url"],
                patience_s=60.0,
                now=clock.now,
                nowhere="http://127.0.0.1:9",
            )
        finally:
            process.terminate()
            process.communicate(timeout=20)
