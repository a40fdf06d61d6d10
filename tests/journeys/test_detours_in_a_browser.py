"""Customers who do not go straight on: two tabs, the back button, second thoughts, a declined card, no mouse."""

from __future__ import annotations

import pytest

from tests.journeys.buyers import DAY_S
from tests.journeys.shopping import BACK, DECLINES, GOOD_CARD, buy, call, choose, page, pay, sign_in

pytestmark = [pytest.mark.journey, pytest.mark.slow]


def subscriptions(shop):
    return shop.house.stripe("GET", "/_sandbox/state")["subscriptions"]


def test_whoever_signs_up_in_two_tabs_pays_once(shop, browser):
    had = len(subscriptions(shop))
    first = choose(shop, browser)
    tab = browser.new_tab()
    choose(shop, browser)
    browser.look_at(tab)
    browser.reload()
    assert browser.url == first
    assert "has expired. Nothing was charged." in browser.text("main")
    browser.follow(BACK)
    assert browser.title == "Pricing"
    browser.follow("input[value='pro-monthly'] + button")
    pay(browser)
    key = browser.text("pre.key")
    assert len(subscriptions(shop)) == had + 1
    assert call(shop, key).status_code == 200
    browser.open(page(shop, "pricing"))
    browser.follow("input[value='enterprise-monthly'] + button")
    assert browser.text("h1") == "Change to Enterprise", "and no second checkout"


def test_the_back_button_after_paying_leads_to_no_second_bill_and_to_no_lost_key(shop, browser):
    had = len(subscriptions(shop))
    checkout = choose(shop, browser)
    pay(browser)
    assert browser.title == "Your API key"
    browser.back()
    assert browser.url == checkout
    browser.reload()
    assert "complete: nothing more will be charged" in browser.text("main")
    browser.follow(BACK)
    assert browser.text("h1") == "The key was already shown"
    browser.follow("main form button")
    assert call(shop, browser.text("pre.key")).status_code == 200
    assert len(subscriptions(shop)) == had + 1


def test_whoever_signed_out_leaves_no_key_behind_the_back_button(shop, browser):
    key = buy(shop, browser)
    browser.follow("main a[href$='/account']")
    browser.follow("form[action$='sign-out'] button")
    for _ in range(3):
        browser.back()
        assert key not in browser.html
        assert browser.title != "Account"


def test_a_checkout_that_is_left_costs_nothing_and_can_be_gone_back_to_or_begun_again(shop, browser):
    checkout = choose(shop, browser)
    browser.follow(BACK)
    assert browser.title == "Pricing"
    browser.open(page(shop, f"success?session_id={checkout.rpartition('/')[2]}"))
    assert browser.text("h1") == "Waiting for the payment"
    assert "Not paid yet? Back to the plans" in browser.text("main")
    shop.advance(1.1 * DAY_S)
    browser.reload()
    assert browser.text("h1") == "This checkout has expired"
    browser.follow("main a.button")
    assert call(shop, buy(shop, browser)).status_code == 200


def test_a_declined_card_is_told_so_and_another_one_pays(shop, browser):
    choose(shop, browser)
    pay(browser, DECLINES)
    assert "insufficient funds" in browser.text("[role=alert]")
    pay(browser)
    assert browser.title == "Your API key"


def test_everything_works_without_a_script(shop, browser):
    browser.forbid_scripts()
    key = buy(shop, browser)
    sign_in(shop, browser, key)
    browser.fill("#name", "laptop")
    browser.follow("form[action$='account/keys'] button")
    assert call(shop, browser.text("pre.key")).status_code == 200
    browser.click("summary")
    browser.click("#plan option[value='enterprise-monthly']")
    browser.follow("form[action$='account/change'] button")
    browser.follow("main form button")
    assert "The plan is changed" in browser.text("[role=status]")
    browser.follow("form[action$='sign-out'] button")
    assert browser.title == "Pricing"


def test_from_the_prices_to_the_key_without_a_mouse(shop, browser):
    browser.open(page(shop, "pricing"))
    tab_to(browser, "button Get Pro, billed monthly")
    browser.press_enter()
    assert browser.url.startswith(shop.house.stripe_url)
    focused = "document.activeElement.id"
    for _ in range(10):
        browser.press_tab()
        if browser.run(f"return {focused}") == "card_number":
            break
    browser.press(GOOD_CARD.replace(" ", ""))
    browser.press_enter()
    assert browser.title == "Your API key"
    tab_to(browser, "pre tg_test_")
    tab_to(browser, "a your account page")
    browser.press_enter()
    assert browser.title == "Account"


def tab_to(browser, what):
    """Press Tab until the focus is there; wherever it is on the way, it is to be seen."""
    for _ in range(15):
        reached = browser.press_tab()
        outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", reached
        if reached.startswith(what):
            return
    raise AssertionError(f"the keyboard does not reach {what!r}")


MISTAKES = {
    "account/change?plan_id=gold": ("No such plan", "There is no plan 'gold'. The plans are: pro-monthly,"),
    "account/change": ("No such plan", "No plan was chosen. The plans are: pro-monthly,"),
    "acount": ("There is nothing here", "There is nothing at this address."),
    "errors/no-such-code": ("There is nothing here", "There is no such problem code."),
    "success?session_id=cs_test_of_somebody_else": ("Nothing to show in this browser", "Open this address there"),
}


def test_a_mistake_is_answered_in_words_and_with_a_way_on(shop, browser):
    sign_in(shop, browser, buy(shop, browser))
    for path, (title, words) in MISTAKES.items():
        browser.open(page(shop, path))
        assert (browser.title, browser.text("h1")) == (title, title)
        assert words in browser.text("main")
        assert browser.has("main a")
        assert "{" not in browser.text("main")


def test_while_stripe_is_away_pages_say_so_and_the_rest_of_them_works(shop, browser):
    key = buy(shop, browser)
    away = [{"path": f"/v1/{path}", "status": 500, "times": 0} for path in ("billing_portal", "checkout", "customers")]
    shop.house.stripe("POST", "/_sandbox/faults", {"api": away})
    try:
        browser.open(page(shop, "account"))
        browser.follow("form[action$='portal'] button")
        assert "The payment provider does not answer; try again shortly." in browser.text("[role=alert]")
        browser.follow("main a.button")
        assert call(shop, key).status_code == 200
        browser.reload()
        assert "1 of 1,000 used" in browser.text("main")
        browser.follow("form[action$='sign-out'] button")
        browser.follow("input[value='pro-monthly'] + button")
        assert browser.title == "Billing is not available right now"
    finally:
        shop.house.stripe("POST", "/_sandbox/faults", {})
    assert call(shop, buy(shop, browser)).status_code == 200
