from __future__ import annotations

import contextlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from gateway.clock import write_clock_offset
from tests.web.page_steps import call, keys_in, paid_checkout, sign_in, signed_up, start_checkout

pytestmark = pytest.mark.slow


def test_whoever_pays_is_shown_a_key_that_works(gateway):
    browser = gateway.browser()
    shown = browser.get(paid_checkout(gateway, browser))
    assert shown.status_code == 200
    (key,) = keys_in(shown.text)
    assert call(gateway, key) == 200
    told = gateway.bearer(key).get("/api/v1/subscription").json()
    assert (told["tier"], told["standing"]) == ("pro", "good")


def test_whoever_has_paid_while_the_ledger_is_busy_is_told_to_wait_and_has_the_key_then(start_gateway, apart):
    gateway = start_gateway(**apart)
    browser = gateway.browser()
    address = paid_checkout(gateway, browser)
    file = apart["TIERGATE_LEDGER_URL"].removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        busy = browser.get(address)
        other.execute("ROLLBACK")
    assert (busy.status_code, keys_in(busy.text)) == (503, set())
    assert "Nothing is lost" in busy.text
    assert busy.headers["refresh"] == "4"
    assert len(keys_in(browser.get(address).text)) == 1


def test_the_key_is_not_shown_again(gateway):
    browser, _, address = signed_up(gateway)
    again = browser.get(address)
    assert again.status_code == 200
    assert "already shown" in again.text
    assert not keys_in(again.text)


def test_another_browser_is_shown_no_key_before_or_after(gateway):
    browser = gateway.browser()
    address = paid_checkout(gateway, browser)
    before = gateway.browser().get(address)
    assert (before.status_code, keys_in(before.text)) == (403, set())
    assert len(keys_in(browser.get(address).text)) == 1
    after = gateway.browser().get(address)
    assert (after.status_code, keys_in(after.text)) == (403, set())


def test_a_claim_to_one_checkout_is_none_to_another(gateway):
    victim, thief = gateway.browser(), gateway.browser()
    address = paid_checkout(gateway, victim)
    start_checkout(thief)
    assert not keys_in(thief.get(address).text)
    assert len(keys_in(victim.get(address).text)) == 1


def test_a_checkout_of_somebody_else_looks_like_none_at_all(gateway):
    stranger = gateway.browser()
    theirs = stranger.get(paid_checkout(gateway, gateway.browser()))
    none = stranger.get("/_tiergate/success?session_id=cs_test_none")
    assert (theirs.status_code, theirs.text) == (none.status_code, none.text)
    assert stranger.get("/_tiergate/success").status_code == 403


def test_many_loads_at_once_on_two_workers_show_one_key_in_total(gateway, second_gateway):
    browser = gateway.browser()
    address = paid_checkout(gateway, browser)
    cookies = dict(browser.cookies)

    def load(number):
        worker = (gateway, second_gateway)[number % 2]
        return httpx.get(worker.url + address, cookies=cookies, timeout=30)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(load, range(8)))
    assert {answer.status_code for answer in answers} == {200}
    shown = [keys_in(answer.text) for answer in answers]
    assert sorted(len(keys) for keys in shown) == [0] * 7 + [1]
    (key,) = set.union(*shown)
    live = gateway.bearer(key).get("/api/v1/api-keys").json()
    assert key[-4:] in str(live)
    assert str(live).count("last4") == 1


def test_before_the_payment_the_page_waits_and_asks_again_by_itself(gateway):
    browser = gateway.browser()
    url, session_id = start_checkout(browser)
    address = f"/_tiergate/success?session_id={session_id}"
    waiting = browser.get(address)
    assert waiting.status_code == 200
    assert int(waiting.headers["refresh"]) > 0
    assert "not confirmed yet" in waiting.text
    assert "within 30 days" in waiting.text
    assert not keys_in(waiting.text)
    gateway.sandbox.pay(url)
    assert len(keys_in(browser.get(address).text)) == 1


def test_two_tabs_of_one_browser_are_one_customer_and_only_the_later_page_can_be_paid(gateway):
    browser = gateway.browser()
    first, second = start_checkout(browser), start_checkout(browser, "enterprise-monthly")
    assert gateway.sandbox.pay(first[0]).status_code == 410
    gateway.sandbox.pay(second[0])
    (key,) = keys_in(browser.get(f"/_tiergate/success?session_id={second[1]}").text)
    assert gateway.bearer(key).get("/api/v1/subscription").json()["plan_id"] == "enterprise-monthly"
    sessions = [gateway.sandbox.ask("GET", f"/v1/checkout/sessions/{session}") for _, session in (first, second)]
    assert sessions[0]["customer"] == sessions[1]["customer"]


def test_whoever_paid_and_begins_again_is_shown_the_key_instead_of_a_second_bill(gateway):
    browser = gateway.browser()
    begun, paid = start_checkout(browser), start_checkout(browser)
    gateway.sandbox.pay(paid[0])
    again = browser.post("/_tiergate/pricing", data={"plan_id": "pro-monthly"})
    assert (again.status_code, again.headers["location"]) == (303, f"/_tiergate/success?session_id={paid[1]}")
    assert len(keys_in(browser.get(again.headers["location"]).text)) == 1
    assert begun[1] != paid[1]


def test_a_browser_without_its_session_buys_as_somebody_new_when_the_first_key_was_shown(gateway):
    browser, key, _ = signed_up(gateway)
    browser.cookies.delete("tiergate_session")
    (other,) = keys_in(browser.get(paid_checkout(gateway, browser)).text)
    ids = {gateway.bearer(one).get("/api/v1/usage").json()["customer_id"] for one in (key, other)}
    assert len(ids) == 2


def test_a_claim_with_a_wrong_secret_makes_nobody_the_customer_of_that_checkout(gateway):
    victim, thief = gateway.browser(), gateway.browser()
    _, session_id = start_checkout(victim)
    (name,) = (cookie for cookie in victim.cookies if cookie.startswith("tiergate_claim_"))
    thief.cookies.set(name, f"{'A' * 43}.{session_id}")
    _, theirs = start_checkout(thief)
    customers = [gateway.sandbox.ask("GET", f"/v1/checkout/sessions/{one}")["customer"] for one in (session_id, theirs)]
    assert customers[0] != customers[1]
    assert gateway.sandbox.ask("GET", f"/v1/checkout/sessions/{session_id}")["status"] == "open"


@pytest.mark.parametrize("path", ["/_tiergate/pricing", "/api/v1/create-checkout"])
def test_a_checkout_begun_without_the_first_ones_cookie_takes_nothing_away(gateway, path):
    browser = gateway.browser()
    address = paid_checkout(gateway, browser)
    order = {"plan_id": "pro-monthly"}
    told = {"json": order} if path.startswith("/api") else {"data": order}
    begun = gateway.browser().post(path, **told)
    assert begun.status_code < 400, begun.text
    for cookie in begun.cookies.jar:
        browser.cookies.jar.set_cookie(cookie)
    assert len(keys_in(browser.get(address).text)) == 1


@pytest.mark.parametrize("page", ["pricing", "success"])
def test_a_browser_keeps_its_last_eight_claims(gateway, page):
    names = [f"tiergate_claim_{number:012}" for number in range(10)]
    sent = {"cookie": "other=1; " + "; ".join(f"{name}={'A' * 43}" for name in names)}
    if page == "pricing":
        answer = gateway.browser().post("/_tiergate/pricing", data={"plan_id": "pro-monthly"}, headers=sent)
    else:
        answer = gateway.browser().get("/_tiergate/success?session_id=cs_test_none", headers=sent)
    ended = [cookie for cookie in answer.headers.get_list("set-cookie") if "max-age=0" in cookie.lower()]
    oldest = names[:3] if page == "pricing" else names[:2]
    assert [cookie.partition("=")[0] for cookie in ended] == oldest
    assert all("path=/_tiergate;" in cookie.lower() for cookie in ended)


def test_the_claim_is_a_cookie_that_scripts_and_other_sites_do_not_get(gateway):
    answer = gateway.browser().post("/_tiergate/pricing", data={"plan_id": "pro-monthly"})
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("tiergate_claim_")
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


def test_a_key_that_was_not_copied_is_replaced_and_ends(gateway):
    browser, old, address = signed_up(gateway)
    session_id = address.rpartition("=")[2]
    replaced = browser.post("/_tiergate/success/replace", data={"session_id": session_id})
    assert replaced.status_code == 200
    (new,) = keys_in(replaced.text)
    assert (call(gateway, old), call(gateway, new)) == (401, 200)
    assert not keys_in(browser.get(address).text)
    assert browser.get("/_tiergate/account").status_code == 200


def test_only_the_browser_that_was_shown_a_key_may_replace_it(gateway):
    _, key, address = signed_up(gateway)
    session_id = address.rpartition("=")[2]
    for other in (gateway.browser(), sign_in(gateway, key)):
        refused = other.post("/_tiergate/success/replace", data={"session_id": session_id})
        assert (refused.status_code, keys_in(refused.text)) == (403, set())
    assert call(gateway, key) == 200


def test_a_key_is_replaced_three_times_at_most(gateway):
    browser, key, address = signed_up(gateway)
    form = {"session_id": address.rpartition("=")[2]}
    for _ in range(3):
        (key,) = keys_in(browser.post("/_tiergate/success/replace", data=form).text)
    refused = browser.post("/_tiergate/success/replace", data=form)
    assert (refused.status_code, keys_in(refused.text)) == (403, set())
    assert "3 times" in refused.text
    assert call(gateway, key) == 200


def test_replacing_many_times_at_once_gives_one_key(gateway, second_gateway):
    browser, _, address = signed_up(gateway)
    form, cookies = {"session_id": address.rpartition("=")[2]}, dict(browser.cookies)

    def replace(number):
        url = (gateway, second_gateway)[number % 2].url + "/_tiergate/success/replace"
        return httpx.post(url, data=form, cookies=cookies, timeout=30)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(replace, range(4)))
    keys = [keys_in(answer.text) for answer in answers]
    working = [key for found in keys for key in found if call(gateway, key) == 200]
    assert len(working) == 1, [answer.status_code for answer in answers]


def test_an_account_that_manages_its_keys_is_left_alone(gateway):
    browser, key, address = signed_up(gateway)
    gateway.bearer(key).post("/api/v1/api-keys", json={"name": "second"}).raise_for_status()
    refused = browser.post("/_tiergate/success/replace", data={"session_id": address.rpartition("=")[2]})
    assert (refused.status_code, keys_in(refused.text)) == (403, set())
    assert "several keys" in refused.text
    assert call(gateway, key) == 200


def test_a_key_that_the_seller_replaced_by_another_is_left_alone(gateway):
    browser, key, address = signed_up(gateway)
    customer_id = gateway.bearer(key).get("/api/v1/usage").json()["customer_id"]
    keys = f"/_tiergate/admin/customers/{customer_id}/keys"
    (row,) = gateway.admin.get(keys).json()["keys"]
    gateway.admin.delete(f"{keys}/{row['key_id']}").raise_for_status()
    theirs = gateway.admin.post(keys, json={"name": "from support"}).json()["key"]
    refused = browser.post("/_tiergate/success/replace", data={"session_id": address.rpartition("=")[2]})
    assert (refused.status_code, keys_in(refused.text)) == (403, set())
    assert "not live any more" in refused.text
    assert (call(gateway, key), call(gateway, theirs)) == (401, 200)


@pytest.fixture
def ahead(start_gateway, tmp_path):
    """Starts a gateway whose clock is some seconds ahead."""

    def start(seconds):
        clock = tmp_path / "clock"
        write_clock_offset(clock, seconds)
        return start_gateway(TIERGATE_SIMULATED_CLOCK=str(clock))

    return start


@pytest.mark.slow
def test_a_key_that_was_revoked_never_comes_back_from_the_success_page(gateway, ahead):
    browser, key, address = signed_up(gateway)
    (row,) = gateway.bearer(key).get("/api/v1/api-keys").json()["keys"]
    gateway.bearer(key).delete(f"/api/v1/api-keys/{row['key_id']}").raise_for_status()
    form, cookies = {"session_id": address.rpartition("=")[2]}, dict(browser.cookies)
    for now in (gateway, ahead(60.0)):
        refused = httpx.post(f"{now.url}/_tiergate/success/replace", data=form, cookies=cookies, timeout=30)
        assert (refused.status_code, keys_in(refused.text)) == (403, set())
        assert "not live any more" in refused.text


@pytest.mark.slow
def test_after_an_hour_a_key_is_not_replaced_any_more(gateway, ahead):
    hours_later = ahead(7200.0)
    browser, key, address = signed_up(gateway)
    cookies, form = dict(browser.cookies), {"session_id": address.rpartition("=")[2]}
    page = httpx.get(hours_later.url + address, cookies=cookies, timeout=30)
    assert "no longer be replaced" in page.text
    refused = httpx.post(f"{hours_later.url}/_tiergate/success/replace", data=form, cookies=cookies, timeout=30)
    assert (refused.status_code, keys_in(refused.text)) == (403, set())
    assert call(gateway, key) == 200


def test_a_checkout_that_the_sellers_server_started_shows_thanks_and_no_key(gateway, new_user):
    user_id = new_user()
    told = gateway.server.post("/api/v1/create-checkout", json={"plan_id": "pro-monthly", "user_id": user_id}).json()
    gateway.sandbox.pay(told["checkout_url"])
    page = gateway.browser().get(f"/_tiergate/success?session_id={told['session_id']}")
    assert page.status_code == 200
    assert "Thank you" in page.text
    assert not keys_in(page.text)
    assert gateway.server.get("/api/v1/subscription", params={"user_id": user_id}).json()["tier"] == "pro"


def test_a_customer_who_is_signed_in_buys_for_itself(gateway):
    customer_id, _, client = gateway.customer()
    key = client.headers["authorization"].removeprefix("Bearer ")
    browser = sign_in(gateway, key)
    page = browser.get(paid_checkout(gateway, browser))
    assert "Thank you" in page.text
    assert not keys_in(page.text)
    told = client.get("/api/v1/subscription").json()
    assert (told["customer_id"], told["tier"]) == (customer_id, "pro")
