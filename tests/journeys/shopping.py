"""What a customer does in a browser, in front of a shop."""

from __future__ import annotations

import httpx

from tests.journeys.buyers import Street
from tests.web.browser import Browser

GOOD_CARD = "4242 4242 4242 4242"
FAILS_AT_RENEWAL = "4000 0000 0000 0341"
DECLINES = "4000 0000 0000 9995"
ASKS_ALWAYS = "4000 0027 6000 3184"
"""Its bank wants every payment confirmed (3-D Secure)."""
BACK = "main > p:last-child a"
"""On the hosted pages: to where the customer came from."""


def page(shop: Street, path: str) -> str:
    return f"{shop.house.url}/_tiergate/{path}"


def call(shop: Street, key: str) -> httpx.Response:
    return shop.http.get(f"{shop.house.url}/v1/echo", headers={"x-api-key": key})


def choose(shop: Street, browser: Browser, plan_id: str = "pro-monthly") -> str:
    """From the prices to the checkout; returns its address."""
    browser.open(page(shop, "pricing"))
    browser.follow(f"input[value='{plan_id}'] + button")
    assert browser.url.startswith(f"{shop.house.stripe_url}/c/pay/")
    return browser.url


def pay(browser: Browser, card: str = GOOD_CARD) -> None:
    browser.fill("#card_number", card)
    browser.follow("form button")


def answer_bank(browser: Browser, how: str = "complete") -> None:
    """On the page of the card's bank."""
    assert browser.title == "Confirm the payment (sandbox)"
    browser.follow(f"button[value='{how}']")


def buy(shop: Street, browser: Browser) -> str:
    """Returns the key that was shown."""
    choose(shop, browser)
    pay(browser)
    assert browser.title == "Your API key"
    return browser.text("pre.key")


def sign_in(shop: Street, browser: Browser, key: str) -> None:
    browser.open(page(shop, "sign-in"))
    browser.fill("#key", key)
    browser.follow("form button")
    assert browser.title == "Account"
