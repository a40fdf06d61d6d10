"""What people do on the pages, over plain HTTP; shared by the tests of the pages."""

from __future__ import annotations

import re
from typing import Any

import httpx

KEY = re.compile(r"tg_(?:test|live)_[0-9A-Za-z]{12}_[0-9A-Za-z]{32}")


def keys_in(text: str) -> set[str]:
    """The API keys that a text holds."""
    return set(KEY.findall(text))


def start_checkout(browser: httpx.Client, plan_id: str = "pro-monthly") -> tuple[str, str]:
    """Choose a plan on the pricing page. Returns the checkout's address and the session id."""
    answer = browser.post("/_tiergate/pricing", data={"plan_id": plan_id})
    assert answer.status_code == 303, answer.text
    url = answer.headers["location"]
    return url, url.rpartition("/")[2]


def paid_checkout(gateway: Any, browser: httpx.Client) -> str:
    """Choose a plan and pay. Returns the address, on the gateway, that Stripe sends the browser back to."""
    url, session_id = start_checkout(browser)
    answer = gateway.sandbox.pay(url)
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == f"{gateway.url}/_tiergate/success?session_id={session_id}"
    return f"/_tiergate/success?session_id={session_id}"


def signed_up(gateway: Any) -> tuple[httpx.Client, str, str]:
    """Somebody new who paid and was shown a key: browser, key and success address."""
    browser = gateway.browser()
    address = paid_checkout(gateway, browser)
    (key,) = keys_in(browser.get(address).text)
    return browser, key, address


def sign_in(gateway: Any, key: str) -> httpx.Client:
    """Another browser, signed in with a key."""
    browser = gateway.browser()
    answer = browser.post("/_tiergate/sign-in", data={"key": key})
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == "/_tiergate/account"
    return browser


def call(gateway: Any, key: str) -> int:
    """Status of one call of the API."""
    return httpx.get(f"{gateway.url}/v1/echo", headers={"x-api-key": key}, timeout=60).status_code
