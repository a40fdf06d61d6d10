"""A customer who takes more seats and an add-on on the account page, and gives them up again; without a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.house import House, temporary_house_directory
from tests.journeys.buyers import Street
from tests.journeys.shopping import sign_in
from tests.web.test_extras_page import POLICY
from tests.web.test_pages_in_a_browser import CONTRAST, SMALL, UNNAMED

pytestmark = [pytest.mark.journey, pytest.mark.slow]

FORM = "form:has(input[name='extras'])"


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    """A seller of seats and add-ons."""
    policies: Path = tmp_path_factory.mktemp("policies")
    (policies / "policy.yaml").write_text(POLICY)
    with temporary_house_directory() as directory:
        house = House(directory, policy_dir=policies, workers=2)
        house.start()
        street = Street(house)
        try:
            for name, amount in (("parcel", 500), ("sign", 900)):
                product = house.stripe("POST", "/v1/products", {"name": name.title()})
                price = {"product": product["id"], "currency": "usd", "unit_amount": amount}
                period = {"recurring[interval]": "month", "lookup_key": f"{name}_monthly"}
                house.stripe("POST", "/v1/prices", price | period)
            yield street
        finally:
            street.http.close()
            house.stop()


def looks_fine(browser):
    """What the eye and the hand need, on a desk and on a phone."""
    for size in ((1280, 900), (360, 780)):
        browser.resize(*size)
        assert [browser.run(script) for script in (CONTRAST, SMALL, UNNAMED)] == [[], [], []]
    assert browser.run("return document.documentElement.scrollWidth") <= 360
    browser.resize(1280, 900)


def test_seats_and_add_ons_are_taken_and_given_up_on_the_account_page(team, browser):
    buyer = team.subscriber("team")
    browser.forbid_scripts()
    sign_in(team, browser, buyer.key)
    browser.click("details:has(input[name='extras']) summary")
    looks_fine(browser)
    browser.fill("#seats", "12")
    browser.click(f"{FORM} button")
    assert browser.run("return document.querySelector('#seats').validity.rangeOverflow"), "the browser says so first"
    assert browser.title == "Account"
    browser.fill("#seats", "4")
    browser.click("input[name='add_on:sign']")
    browser.follow(f"{FORM} button")
    assert browser.text("h1") == "Change seats and add-ons"
    assert "4 seats, Signing in" in browser.text("main")
    looks_fine(browser)
    browser.follow("main form button")
    assert "Seats and add-ons are changed" in browser.text("[role=status]")
    assert "Signing in" in browser.text("dl.facts")

    browser.click("details:has(input[name='extras']) summary")
    browser.fill("#seats", "2")
    browser.click("input[name='add_on:sign']")
    browser.follow(f"{FORM} button")
    assert "until then everything stays as it is" in browser.text("main")
    browser.follow("main form button")
    assert "The change is planned" in browser.text("[role=status]")
    told = buyer.ask("GET", "/api/v1/subscription").json()
    assert (told["seats"], [one["add_on"] for one in told["add_ons"]]) == (4, ["sign"])
    team.advance_to(told["period_ends_at"] + 2 * 3600)
    sign_in(team, browser, buyer.key)  # a session does not last that long
    assert "Signing in" not in browser.text("dl.facts")
    told = buyer.ask("GET", "/api/v1/subscription").json()
    assert (told["seats"], told["add_ons"], told["scheduled_change"]) == (2, [], None)
    assert browser.console() == []
