"""What a customer sees and does from the first look at the prices to the end of the subscription, in Chromium.

Everything is real: two workers of the gateway, the sandbox's hosted pages, the sample API, Valkey. Only
the months between are jumped over, by Stripe's test clock.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from gateway.cli.house import House, example_policies, temporary_house_directory
from tests.journeys.buyers import DAY_S, Street
from tests.web.browser import Browser, open_browser

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(300)]

GOOD_CARD = "4242 4242 4242 4242"
FAILS_AT_RENEWAL = "4000 0000 0000 0341"
BACK = "main > p:last-child a"
"""On the portal's page: to where the customer came from."""


@pytest.fixture(scope="module")
def street() -> Iterator[Street]:
    with temporary_house_directory() as directory:
        house = House(directory, policy_dir=example_policies(), workers=2)
        house.start()
        made = Street(house)
        try:
            yield made
        finally:
            made.http.close()
            house.stop()


@pytest.fixture
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


def page(street: Street, path: str) -> str:
    return f"{street.house.url}/_tiergate/{path}"


def call(street: Street, key: str) -> httpx.Response:
    return street.http.get(f"{street.house.url}/v1/echo", headers={"x-api-key": key})


def sign_in(street: Street, browser: Browser, key: str) -> None:
    """A session lasts for hours, and months have passed."""
    browser.open(page(street, "account"))
    assert browser.title == "Sign in"
    browser.fill("#key", key)
    browser.follow("form button")
    assert browser.title == "Account"


def test_a_whole_life(street, browser):
    key = buy_and_call(street, browser)
    upgrade_in_the_portal(street, browser, key)
    let_the_card_fail(street, browser, key)
    mend_it_by_the_banner(street, browser, key)
    ends = cancel_in_the_portal(street, browser, key)
    let_it_end(street, browser, key, ends)
    assert browser.console() == []


def buy_and_call(street, browser):
    browser.open(page(street, "pricing"))
    browser.follow("input[value='pro-monthly'] + button")
    assert browser.url.startswith(street.house.stripe_url)
    assert "Pro" in browser.text("main")
    browser.fill("#card_number", GOOD_CARD)
    browser.follow("form button")
    assert browser.title == "Your API key"
    key = browser.text("pre.key")
    first = call(street, key)
    assert (first.status_code, '"period";r=999;' in first.headers["ratelimit"]) == (200, True)
    browser.follow("main a[href$='/account']")
    assert "1 of 1,000 used" in browser.text("main")
    assert not browser.has(".note")
    return key


def upgrade_in_the_portal(street, browser, key):
    browser.follow("form[action$='portal'] button")
    browser.click("select[name=price] option[value='price_enterprise_monthly']")
    browser.follow("form[action$='/plan'] button")
    assert "Enterprise" in browser.text("main section")
    street.deliver()
    assert '"period";r=999998;' in call(street, key).headers["ratelimit"], "the next call, not a later one"


def let_the_card_fail(street, browser, key):
    browser.fill("#card_number", FAILS_AT_RENEWAL)
    browser.follow("form[action$='/card'] button")
    browser.follow(BACK)
    assert "2 of 1,000,000 used" in browser.text("main")
    street.advance(32 * DAY_S)
    warned = call(street, key)
    assert warned.status_code == 200
    assert "The last payment failed." in warned.headers["tiergate-warning"]


def mend_it_by_the_banner(street, browser, key):
    sign_in(street, browser, key)
    banner = browser.text("[role=alert]")
    assert banner.startswith("The last payment failed. Access at this level ends on ")
    assert "UTC unless it is paid." in banner, "a date for people"
    browser.follow("[role=alert] button")
    assert "is unpaid" in browser.text("main")
    browser.fill("#card_number", GOOD_CARD)
    browser.follow("form[action$='/card'] button")
    assert "is unpaid" not in browser.text("main")
    street.deliver()
    browser.follow(BACK)
    assert "Active" in browser.text("main")
    assert not browser.has("[role=alert]")
    assert "tiergate-warning" not in call(street, key).headers


def cancel_in_the_portal(street, browser, key):
    browser.follow("form[action$='portal'] button")
    browser.follow("form[action$='/cancel'] button")
    street.deliver()
    browser.follow(BACK)
    ends = browser.text(".facts time")
    assert f"cancelled: it ends on {ends}. After that, the account has the Free tier." in browser.text(".note")
    assert browser.text(".note button") == "Keep the subscription"
    assert call(street, key).status_code == 200
    return ends


def let_it_end(street, browser, key, ends):
    street.advance(33 * DAY_S)
    ended = call(street, key)
    assert (ended.status_code, '"period";r=99;' in ended.headers["ratelimit"]) == (200, True)
    sign_in(street, browser, key)
    assert browser.text(".note") == f"The subscription ended on {ends}. The account has the Free tier now."
    assert "no paid plan" in browser.text("main")
    assert "1 of 100 used" in browser.text("main")
    assert browser.text("label[for=plan]") == "Subscribe"
