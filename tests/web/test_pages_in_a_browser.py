"""The pages in Chromium: what the headers forbid, what the eye sees and what the keyboard reaches."""

from __future__ import annotations

import pytest

from tests.web.browser import Browser, open_browser
from tests.web.page_steps import call, keys_in, sign_in, signed_up

pytestmark = pytest.mark.slow

CONTRAST = """
const parse = (color) => color.match(/[0-9.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const paper = parse(getComputedStyle(at).backgroundColor);
    if (paper.length < 4 || paper[3] === 1) return paper;
  }
  return [255, 255, 255];
};
const poor = [];
for (const node of document.querySelectorAll('main *, header *, footer *')) {
  const hasText = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  if (!hasText || !node.checkVisibility()) continue;
  const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) poor.push(`${node.tagName} ${node.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
}
return poor;
"""
UNNAMED = """
const named = (node) => (node.labels && node.labels.length) || node.getAttribute('aria-label') || node.innerText.trim();
return [...document.querySelectorAll('input:not([type=hidden]), select, button, meter, a[href], summary')]
  .filter((node) => !named(node)).map((node) => node.outerHTML);
"""
SMALL = """
return [...document.querySelectorAll('button, .button, input:not([type=hidden]), select, summary, nav a')]
  .filter((node) => node.checkVisibility() && node.getBoundingClientRect().height < 44)
  .map((node) => `${node.outerHTML.slice(0, 60)} ${node.getBoundingClientRect().height}`);
"""


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


def test_from_the_prices_to_the_account_without_a_complaint_of_the_browser(gateway, browser: Browser):
    browser.open(f"{gateway.url}/_tiergate/pricing")
    browser.follow("input[value='pro-monthly'] + button")
    assert browser.url.startswith(gateway.sandbox.stripe_url)
    browser.fill("#card_number", "4242 4242 4242 4242")
    browser.follow("form button")
    assert browser.title == "Your API key"
    key = browser.text("pre.key")
    assert call(gateway, key) == 200

    browser.reload()
    assert browser.text("h1") == "The key was already shown"
    assert not keys_in(browser.html)
    browser.follow("main a[href$='/account']")
    assert "1 of 1,000 used" in browser.text("main")

    browser.fill("#name", "laptop")
    browser.follow("form[action$='account/keys'] button")
    assert call(gateway, browser.text("pre.key")) == 200

    browser.open(f"{gateway.url}/_tiergate/account")
    browser.click("#plan option[value='enterprise-monthly']")
    browser.follow("form[action$='account/change'] button")
    assert browser.text("h1") == "Change to Enterprise"
    browser.follow("main form button")
    assert "The plan is changed" in browser.text("main")

    browser.follow("form[action$='portal'] button")
    assert browser.url.startswith(gateway.sandbox.stripe_url)
    browser.open(f"{gateway.url}/_tiergate/account")
    browser.follow("form[action$='sign-out'] button")
    assert browser.has("a[href$='/sign-in']")
    browser.open(f"{gateway.url}/_tiergate/sign-in")
    browser.fill("#key", key)
    browser.follow("form button")
    assert browser.text("h1") == "Account"
    assert browser.console() == []


@pytest.fixture(scope="module")
def looks(gateway, browser):
    """Addresses of pages to look at, as a customer with some keys and some usage."""
    _, key, _ = signed_up(gateway)
    gateway.bearer(key).post("/api/v1/api-keys", json={"name": "a rather long name " * 4}).raise_for_status()
    sign_in(gateway, key)
    browser.open(f"{gateway.url}/_tiergate/sign-in")
    browser.fill("#key", key)
    browser.follow("form button")
    return {
        name: f"{gateway.url}/_tiergate/{path}"
        for name, path in {
            "pricing": "pricing",
            "account": "account?done=changed",
            "change": "account/change?plan_id=enterprise-monthly",
            "statement": "account/statement?period=current",
            "sign-in": "sign-in?done=ended",
            "other-browser": "success?session_id=cs_test_none",
            "errors": "errors",
            "problem": "account/change?plan_id=none",
        }.items()
    }


@pytest.mark.parametrize(
    "page", ["pricing", "account", "change", "statement", "sign-in", "other-browser", "errors", "problem"]
)
def test_a_page_is_readable_on_desk_and_phone_by_day_and_by_night(looks, browser: Browser, page):
    browser.open(looks[page])
    for is_dark in (False, True):
        browser.resize(1280, 900, is_dark=is_dark)
        assert browser.run(CONTRAST) == []
    browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    browser.resize(360, 780)
    assert browser.run("return document.documentElement.scrollWidth") <= 360
    widest = browser.run(
        "return [...document.querySelectorAll('main *')].filter((one) => !one.closest('.scroll'))"
        ".filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > 361).map((one) => one.outerHTML)"
    )
    assert widest == []
    assert browser.run(SMALL) == []
    assert browser.run(UNNAMED) == []


def test_the_keyboard_reaches_the_content_first_and_everything_in_order(looks, browser: Browser):
    browser.resize(1280, 900)
    browser.open(looks["pricing"])
    reached = [browser.press_tab() for _ in range(5)]
    assert reached[0] == "a Skip to content"
    assert reached[1:3] == ["a Pricing", "a Account"]
    assert reached[3].startswith("button Switch to")


def test_without_a_script_a_page_that_waits_asks_again_by_itself(gateway, browser: Browser):
    browser.open(f"{gateway.url}/_tiergate/pricing")
    if browser.has("a[href$='/account']"):
        browser.open(f"{gateway.url}/_tiergate/account")
        browser.follow("form[action$='sign-out'] button")
        browser.open(f"{gateway.url}/_tiergate/pricing")
    browser.follow("input[value='pro-monthly'] + button")
    checkout = browser.url
    browser.open(f"{gateway.url}/_tiergate/success?session_id={checkout.rpartition('/')[2]}")
    assert browser.text("h1") == "Waiting for the payment"
    gateway.sandbox.pay(checkout)
    browser.wait_for("pre.key")
    assert call(gateway, browser.text("pre.key")) == 200
