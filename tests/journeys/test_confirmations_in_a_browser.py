"""A customer whose bank wants every payment confirmed (3-D Secure): at the checkout, on an upgrade, at the renewal."""

from __future__ import annotations

import pytest

from tests.journeys.buyers import DAY_S
from tests.journeys.shopping import ASKS_ALWAYS, answer_bank, call, choose, page, pay, sign_in

pytestmark = [pytest.mark.journey, pytest.mark.slow]


def test_what_a_bank_asks_is_answered_and_the_api_goes_on(shop, browser):
    key = buy_with_a_confirmation(shop, browser)
    upgrade_with_a_confirmation(shop, browser, key)
    let_the_renewal_wait(shop, browser, key)
    confirm_by_the_banner(shop, browser, key)
    refused = "the server responded with a status of 402"
    assert all(refused in line for line in browser.console()), "the payment that was not confirmed, and nothing else"


def buy_with_a_confirmation(shop, browser):
    choose(shop, browser)
    pay(browser, ASKS_ALWAYS)
    answer_bank(browser, "fail")
    assert "unable to authenticate your payment method" in browser.text("[role=alert]")
    pay(browser, ASKS_ALWAYS)
    answer_bank(browser)
    assert browser.title == "Your API key"
    key = browser.text("pre.key")
    assert call(shop, key).status_code == 200
    return key


def upgrade_with_a_confirmation(shop, browser, key):
    sign_in(shop, browser, key)
    browser.open(page(shop, "account/change?plan_id=pro-yearly"))
    browser.follow("main form button")
    assert "wants the payment confirmed" in browser.text("main"), "Stripe's page of the invoice"
    shop.deliver()
    browser.open(page(shop, "account"))
    assert "until then the old plan stays." in browser.text("[role=alert]")
    assert "Pro, billed monthly" in browser.text("main")
    browser.follow("[role=alert] button")
    browser.follow("form[action$='/confirm'] button")
    answer_bank(browser)
    assert "nothing more is due" in browser.text("main")
    shop.deliver()
    browser.open(page(shop, "account"))
    assert not browser.has("[role=alert]")
    assert "Pro, billed yearly" in browser.text("main")


def let_the_renewal_wait(shop, browser, key):
    shop.advance(367 * DAY_S)
    warned = call(shop, key)
    assert warned.status_code == 200
    assert "The last payment waits to be confirmed with its bank." in warned.headers["tiergate-warning"]
    browser.open(page(shop, "account/portal/payment_confirmation"))
    assert browser.title == "Sign in", "the way that the warning names"
    browser.fill("#key", key)
    browser.follow("form button")
    assert "wants the payment confirmed" in browser.text("main")


def confirm_by_the_banner(shop, browser, key):
    browser.open(page(shop, "account"))
    banner = browser.text("[role=alert]")
    assert banner.startswith("The last payment waits to be confirmed with its bank. Access at this level ends on ")
    assert "UTC unless it is paid." in banner
    assert browser.text("[role=alert] button") == "Confirm the payment"
    browser.follow("[role=alert] button")
    browser.follow("form[action$='/confirm'] button")
    answer_bank(browser)
    shop.deliver()
    browser.open(page(shop, "account"))
    assert not browser.has("[role=alert]")
    assert "tiergate-warning" not in call(shop, key).headers
