"""What a customer sees and does from the first look at the prices to the end of the subscription, in Chromium.

Everything is real: two workers of the gateway, the sandbox's hosted pages, the sample API, Valkey. Only
the months between are jumped over, by Stripe's test clock.
"""

from __future__ import annotations

import re

import pytest

from tests.journeys.buyers import DAY_S
from tests.journeys.shopping import BACK, FAILS_AT_RENEWAL, GOOD_CARD, buy, call, page, sign_in

pytestmark = [pytest.mark.journey, pytest.mark.slow]


def test_a_whole_life(shop, browser):
    key = buy_and_call(shop, browser)
    upgrade_in_the_portal(shop, browser, key)
    let_the_card_fail(shop, browser, key)
    mend_it_by_the_banner(shop, browser, key)
    ends = cancel_in_the_portal(shop, browser, key)
    let_it_end(shop, browser, key, ends)
    assert browser.console() == []


def buy_and_call(shop, browser):
    key = buy(shop, browser)
    first = call(shop, key)
    assert (first.status_code, '"period";r=999;' in first.headers["ratelimit"]) == (200, True)
    browser.follow("main a[href$='/account']")
    assert "1 of 1,000 used" in browser.text("main")
    assert not browser.has(".note")
    return key


def upgrade_in_the_portal(shop, browser, key):
    browser.follow("form[action$='portal'] button")
    browser.click("select[name=price] option[value='price_enterprise_monthly']")
    browser.follow("form[action$='/plan'] button")
    assert "Enterprise" in browser.text("main section")
    shop.deliver()
    left = re.search(r'"period";r=(\d+);', call(shop, key).headers["ratelimit"])
    assert left is not None
    assert 999_000 < int(left[1]) <= 999_998, (
        "the next call, not a later one; of the period that is left, seconds after"
    )


def let_the_card_fail(shop, browser, key):
    save_card(browser, FAILS_AT_RENEWAL)
    browser.follow(BACK)
    assert re.search(r"2 of (1,000,000|999,\d{3}) used", browser.text("main"))
    shop.advance(32 * DAY_S)
    warned = call(shop, key)
    assert warned.status_code == 200
    assert "The last payment failed." in warned.headers["tiergate-warning"]


def mend_it_by_the_banner(shop, browser, key):
    browser.open(page(shop, "account"))
    assert browser.title == "Sign in", "a session lasts for hours, and a month has passed"
    sign_in(shop, browser, key)
    banner = browser.text("[role=alert]")
    assert banner.startswith("The last payment failed. Access at this level ends on ")
    assert "UTC unless it is paid." in banner, "a date for people"
    browser.follow("[role=alert] button")
    assert "is unpaid" in browser.text("main")
    assert not browser.has("form[action$='/cancel']"), "the card form, and nothing to lose one's way in"
    save_card(browser, GOOD_CARD)
    assert browser.title == "Account", "and straight back"
    assert "The payment method is changed." in browser.text("[role=status]")
    shop.deliver()
    browser.open(page(shop, "account"))
    assert "Active" in browser.text("main")
    assert not browser.has("[role=alert]")
    assert "tiergate-warning" not in call(shop, key).headers


def cancel_in_the_portal(shop, browser, key):
    browser.follow("form[action$='portal'] button")
    browser.follow("form[action$='/cancel'] button")
    shop.deliver()
    browser.follow(BACK)
    ends = browser.text(".facts time")
    assert f"cancelled: it ends on {ends}. After that, the account has the Free tier." in browser.text(".note")
    assert browser.text(".note button") == "Keep the subscription"
    assert call(shop, key).status_code == 200
    return ends


def let_it_end(shop, browser, key, ends):
    shop.advance(33 * DAY_S)
    ended = call(shop, key)
    assert (ended.status_code, '"period";r=99;' in ended.headers["ratelimit"]) == (200, True)
    sign_in(shop, browser, key)
    assert browser.text(".note") == f"The subscription ended on {ends}. The account has the Free tier now."
    assert "no paid plan" in browser.text("main")
    assert "1 of 100 used" in browser.text("main")
    assert browser.text("label[for=plan]") == "Subscribe"


def save_card(browser, number):
    browser.fill("#card_number", number)
    browser.follow("form[action$='/card'] button")
