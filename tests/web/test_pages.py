from __future__ import annotations

import html
import socket

import httpx
import pytest

from tests.web.page_steps import call, keys_in, paid_checkout, sign_in, signed_up, start_checkout

pytestmark = pytest.mark.slow

FORMS = (
    "pricing",
    "success/replace",
    "sign-in",
    "sign-out",
    "account/portal",
    "account/change",
    "account/change/keep",
    "account/keys",
    "account/keys/0123456789ab/rotate",
    "account/keys/0123456789ab/revoke",
)
PAGES = (
    "pricing",
    "sign-in",
    "account",
    "account/change?plan_id=enterprise-monthly",
    "success?session_id=cs_test_none",
    "errors",
    "errors/rate-limited",
)


@pytest.fixture
def customer(gateway):
    """A customer without a subscription: its key, and a browser that is signed in with it."""
    _, _, client = gateway.customer()
    key = client.headers["authorization"].removeprefix("Bearer ")
    return key, sign_in(gateway, key)


@pytest.fixture
def subscriber(gateway):
    """A customer with the pro plan: its key, and a browser that is signed in with it."""
    browser, key, _ = signed_up(gateway)
    return key, browser


def text_of(answer: httpx.Response) -> str:
    return html.unescape(answer.text)


def test_the_pages_start_with_the_prices(gateway):
    for path in ("/_tiergate", "/_tiergate/"):
        answer = gateway.browser().get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/_tiergate/pricing")
        assert (answer.headers["content-type"], "/_tiergate/pricing" in answer.text) == (
            "text/html; charset=utf-8",
            True,
        )


def test_the_pricing_page_tells_limits_in_words_and_amounts_of_stripe(gateway):
    page = gateway.browser().get("/_tiergate/pricing")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for words in (
        "1,000 requests per billing period",
        "10 requests per second, up to 20 at once",
        "Includes priority support",
        "29.00 USD",
        "per year",
        "No charge",
        "Get Pro, billed monthly",
    ):
        assert words in page.text, words


def test_without_stripe_the_pricing_page_says_so_and_still_works(start_gateway):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gateway = start_gateway(TIERGATE_STRIPE_URL=f"http://127.0.0.1:{unused.getsockname()[1]}")
        page = gateway.browser().get("/_tiergate/pricing")
        assert page.status_code == 200
        assert "cannot be shown right now" in page.text
        assert "1,000 requests per billing period" in page.text
        refused = gateway.browser().post("/_tiergate/pricing", data={"plan_id": "pro-monthly"})
        assert refused.status_code == 503
        assert refused.headers["content-type"].startswith("text/html")
        assert "retry-after" in refused.headers


def test_where_sign_up_is_closed_only_customers_can_buy(gateway, start_gateway):
    closed = start_gateway(TIERGATE_SIGNUP="closed")
    assert "<button" not in closed.browser().get("/_tiergate/pricing").text
    refused = closed.browser().post("/_tiergate/pricing", data={"plan_id": "pro-monthly"})
    assert (refused.status_code, refused.headers.get("set-cookie")) == (401, None)
    _, _, client = gateway.customer()
    start_checkout(sign_in(closed, client.headers["authorization"].removeprefix("Bearer ")))


def test_a_plan_that_is_not_sold_is_refused_with_a_page(gateway):
    refused = gateway.browser().post("/_tiergate/pricing", data={"plan_id": "<b>"})
    assert refused.status_code == 422
    assert "No such plan" in refused.text
    assert "<b>" not in refused.text


def test_a_customer_with_a_plan_is_led_to_change_it_and_not_to_a_second_one(subscriber):
    _, browser = subscriber
    assert "Your plan: Pro, billed monthly" in browser.get("/_tiergate/pricing").text
    answer = browser.post("/_tiergate/pricing", data={"plan_id": "enterprise-monthly"})
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/_tiergate/account/change?plan_id=enterprise-monthly",
    )


@pytest.mark.parametrize(
    "wrong",
    ["", "tg_test_wrong", "sk_test_not_ours_at_all", "tg_test_" + "A" * 12 + "_" + "B" * 32, "ü" * 60, "x" * 100_000],
)
def test_a_wrong_key_gets_one_sentence_and_is_not_repeated(gateway, wrong):
    answer = gateway.browser().post("/_tiergate/sign-in", data={"key": wrong})
    assert answer.status_code == 401
    assert "not a live API key" in answer.text
    assert not wrong or wrong not in answer.text
    assert "set-cookie" not in answer.headers


def test_no_key_is_ever_logged(gateway, subscriber):
    key, browser = subscriber
    sign_in(gateway, key)
    browser.post("/_tiergate/sign-in", data={"key": key + "x"})
    (made,) = keys_in(browser.post("/_tiergate/account/keys", data={"name": "more"}).text)
    log = gateway.log.read_text()
    assert key not in log
    assert made not in log


def test_the_session_is_a_cookie_that_scripts_and_other_sites_do_not_get_and_holds_no_key(gateway, customer):
    key, _ = customer
    cookie = gateway.browser().post("/_tiergate/sign-in", data={"key": f" {key}\n"}).headers["set-cookie"]
    assert key not in cookie
    for word in ("tiergate_session=", "HttpOnly", "SameSite=lax", "Path=/_tiergate", "Max-Age=28800"):
        assert word.lower() in cookie.lower()


def test_without_a_session_the_account_leads_to_sign_in(gateway):
    for cookies in ({}, {"tiergate_session": "8fK2mQ9xLpTa.0123456789ab.9999999999." + "0" * 64}):
        answer = httpx.get(f"{gateway.url}/_tiergate/account", cookies=cookies, timeout=60)
        assert (answer.status_code, answer.headers["location"]) == (303, "/_tiergate/sign-in")


@pytest.mark.parametrize("form", [form for form in FORMS if form.startswith("account")])
def test_without_a_session_no_form_of_the_account_does_anything(gateway, form):
    answer = gateway.browser().post(f"/_tiergate/{form}", data={"name": "x", "plan_id": "pro-monthly"})
    assert answer.status_code == 401
    assert "Sign in" in answer.text


def test_signing_out_ends_the_session_in_this_browser(customer):
    _, browser = customer
    assert browser.get("/_tiergate/account").status_code == 200
    assert browser.post("/_tiergate/sign-out").status_code == 303
    assert browser.get("/_tiergate/account").status_code == 303


def test_revoking_a_key_ends_its_sessions_everywhere(gateway, second_gateway, subscriber):
    key, browser = subscriber
    (second,) = keys_in(browser.post("/_tiergate/account/keys", data={"name": "second"}).text)
    other = sign_in(second_gateway, second)
    assert other.get("/_tiergate/account").status_code == 200
    (key_id,) = [row["key_id"] for row in _keys(gateway, key) if row["name"] == "second"]
    done = browser.post(f"/_tiergate/account/keys/{key_id}/revoke")
    assert (done.status_code, done.headers["location"]) == (303, "/_tiergate/account?done=revoked")
    assert other.get("/_tiergate/account").status_code == 303
    assert call(gateway, second) == 401
    assert "is revoked" in browser.get("/_tiergate/account?done=revoked").text


def test_revoking_the_key_that_is_signed_in_with_signs_out(gateway, subscriber):
    key, browser = subscriber
    (row,) = _keys(gateway, key)
    done = browser.post(f"/_tiergate/account/keys/{row['key_id']}/revoke")
    assert done.headers["location"] == "/_tiergate/sign-in?done=ended"
    assert browser.get("/_tiergate/account").status_code == 303


def test_a_new_key_is_shown_once_and_works(gateway, subscriber):
    _, browser = subscriber
    made = browser.post("/_tiergate/account/keys", data={"name": "<b>production</b>"})
    (key,) = keys_in(made.text)
    assert call(gateway, key) == 200
    account = browser.get("/_tiergate/account")
    assert not keys_in(account.text)
    assert f"...{key[-4:]}" in account.text
    assert "&lt;b&gt;production&lt;/b&gt;" in account.text
    assert "<b>production" not in account.text


def test_a_key_without_a_name_is_refused_with_a_page(subscriber):
    _, browser = subscriber
    refused = browser.post("/_tiergate/account/keys", data={"name": "  "})
    assert refused.status_code == 400
    assert "printable characters" in text_of(refused)


def test_rotating_shows_a_successor_once_while_the_old_key_still_works(gateway, subscriber):
    key, browser = subscriber
    (row,) = _keys(gateway, key)
    (new,) = keys_in(browser.post(f"/_tiergate/account/keys/{row['key_id']}/rotate").text)
    assert (call(gateway, key), call(gateway, new)) == (200, 200)
    page = browser.get("/_tiergate/account").text
    assert not keys_in(page)
    assert "replaced, expires" in page
    assert f"{row['key_id']}/rotate" not in page
    assert f"{row['key_id']}/revoke" in page


def test_keys_of_somebody_else_cannot_be_touched(gateway, customer, subscriber):
    _, thief = customer
    key, _ = subscriber
    (row,) = _keys(gateway, key)
    for verb in ("rotate", "revoke"):
        refused = thief.post(f"/_tiergate/account/keys/{row['key_id']}/{verb}")
        assert (refused.status_code, keys_in(refused.text)) == (404, set())
    assert call(gateway, key) == 200


@pytest.mark.parametrize(
    ("restriction", "words"),
    [({"scopes": ["GET /v1/**"]}, "only GET /v1/**"), ({"limits": ["5 per day"]}, "at most 5 requests per day")],
    ids=["scopes", "limits"],
)
def test_a_key_with_scopes_or_limits_of_its_own_may_look_and_do_nothing_else(gateway, restriction, words):
    _, _, client = gateway.customer(**restriction)
    browser = sign_in(gateway, client.headers["authorization"].removeprefix("Bearer "))
    account = browser.get("/_tiergate/account")
    assert account.status_code == 200
    assert "cannot manage keys or billing" in account.text
    assert words in account.text
    for form in ("pricing", "account/portal", "account/change", "account/keys", "account/keys/0123456789ab/revoke"):
        refused = browser.post(f"/_tiergate/{form}", data={"plan_id": "pro-monthly", "name": "x"})
        assert refused.status_code == 403, form
        assert not keys_in(refused.text)
    assert browser.get("/_tiergate/account/change?plan_id=pro-monthly").status_code == 403


def test_the_account_shows_plan_usage_and_dates(gateway, subscriber, until):
    key, browser = subscriber
    for _ in range(3):
        assert call(gateway, key) == 200
    page = browser.get("/_tiergate/account").text
    for words in (
        "Pro, billed monthly",
        "Active",
        "3 of 1,000 used",
        "997 left",
        "<meter",
        "<time datetime=",
        "Renews",
    ):
        assert words in page, words
    until(lambda: "never used" not in browser.get("/_tiergate/account").text)


def test_a_customer_without_a_plan_sees_the_free_tier_and_the_way_to_a_checkout(customer):
    _, browser = customer
    page = browser.get("/_tiergate/account").text
    for words in ("No paid subscription", "Free", "0 of 100 used", "Go to checkout"):
        assert words in page, words
    answer = browser.post("/_tiergate/account/portal")
    assert answer.status_code == 409


def test_the_portal_is_one_click_away(gateway, subscriber):
    _, browser = subscriber
    answer = browser.post("/_tiergate/account/portal")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(gateway.sandbox.stripe_url)


def test_a_plan_is_changed_after_its_price_was_shown(gateway, subscriber):
    key, browser = subscriber
    preview = browser.get("/_tiergate/account/change?plan_id=enterprise-monthly")
    assert "counts for the time that is left of it" in preview.text
    assert preview.status_code == 200
    assert "1,000,000 requests per billing period" in preview.text
    assert "USD" in preview.text
    done = browser.post("/_tiergate/account/change", data={"plan_id": "enterprise-monthly"})
    assert (done.status_code, done.headers["location"]) == (303, "/_tiergate/account?done=changed")
    assert gateway.bearer(key).get("/api/v1/subscription").json()["tier"] == "enterprise"
    assert "The plan is changed" in browser.get("/_tiergate/account?done=changed").text


def test_a_change_to_the_same_plan_or_to_none_is_none(subscriber):
    _, browser = subscriber
    same = browser.get("/_tiergate/account/change?plan_id=pro-monthly")
    assert same.headers["location"] == "/_tiergate/account?done=current"
    assert browser.get("/_tiergate/account/change?plan_id=nothing").status_code == 422


def test_without_a_subscription_there_is_no_plan_to_change(customer):
    _, browser = customer
    assert browser.get("/_tiergate/account/change?plan_id=pro-monthly").status_code == 409


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "foreign",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://127.0.0.1"},
    ],
    ids=["origin", "null-origin", "cross-site", "same-site"],
)
def test_no_form_follows_what_another_site_sent(customer, form, foreign):
    key, browser = customer
    refused = browser.post(f"/_tiergate/{form}", data={"plan_id": "pro-monthly", "key": key}, headers=foreign)
    assert refused.status_code == 403
    assert "another site" in refused.text
    assert "set-cookie" not in refused.headers


def test_a_form_of_our_own_pages_is_followed(gateway, customer):
    key, _ = customer
    for own in ({"origin": gateway.url}, {"origin": gateway.url, "sec-fetch-site": "same-origin"}):
        assert gateway.browser().post("/_tiergate/sign-in", data={"key": key}, headers=own).status_code == 303


@pytest.mark.parametrize("page", PAGES)
def test_every_page_forbids_scripts_frames_and_storing(customer, page):
    _, browser = customer
    answer = browser.get(f"/_tiergate/{page}", headers={"accept": "text/html"})
    headers = answer.headers
    policy = headers["content-security-policy"]
    for rule in ("default-src 'none'", "style-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"):
        assert rule in policy
    assert "form-action 'self'" in policy
    assert "script" not in policy
    assert headers.get_list("cache-control") == ["no-store"]
    assert headers.get_list("referrer-policy") == ["same-origin"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "<script" not in answer.text
    assert " style=" not in answer.text


@pytest.mark.parametrize("page", PAGES)
def test_no_page_holds_a_key(subscriber, page):
    _, browser = subscriber
    assert not keys_in(browser.get(f"/_tiergate/{page}", headers={"accept": "text/html"}).text)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_names_its_language_its_title_and_its_landmarks(gateway, page):
    answer = gateway.browser().get(f"/_tiergate/{page}", headers={"accept": "text/html"}, follow_redirects=True)
    for part in (
        '<html lang="en">',
        "<title>",
        "<main",
        "<header",
        "<nav aria-label",
        "<footer",
        "<h1>",
        'href="#main"',
    ):
        assert part in answer.text, part
    assert answer.text.count("<h1>") == 1


def test_the_style_sheet_may_be_kept_under_the_name_that_pages_give_it(gateway):
    browser = gateway.browser()
    address = browser.get("/_tiergate/pricing").text.partition('rel="stylesheet" href="')[2].partition('"')[0]
    sheet = browser.get(address)
    assert sheet.status_code == 200
    assert sheet.headers["content-type"].startswith("text/css")
    assert "immutable" in sheet.headers["cache-control"]
    unnamed = browser.get("/_tiergate/static/style.css")
    assert "immutable" not in unnamed.headers["cache-control"]
    same = browser.get("/_tiergate/static/style.css", headers={"if-none-match": unnamed.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"key=%ff%fe&key=%00"),
        ("application/x-www-form-urlencoded", b"&&&===%%%"),
        ("application/json", b'{"key": 1}'),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
        ("multipart/form-data", b"no boundary"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="key"; filename="f"\r\n\r\nx\r\n--x--\r\n',
        ),
        ("text/plain", b"key=1"),
    ],
)
@pytest.mark.parametrize("form", ["sign-in", "pricing", "success/replace"])
def test_a_form_that_nobody_can_read_is_refused_and_breaks_nothing(gateway, form, content_type, body):
    answer = gateway.browser().post(f"/_tiergate/{form}", content=body, headers={"content-type": content_type})
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("session_id", ["%00", "%ff", "a" * 5000, "%F0%9F%98%80", "'--"])
def test_a_session_id_that_cannot_be_one_leads_nowhere(gateway, session_id):
    answer = gateway.browser().get(f"/_tiergate/success?session_id={session_id}")
    assert 400 <= answer.status_code < 500


def test_prices_are_for_people_who_are_signed_in_too(subscriber, gateway):
    _, browser = subscriber
    page = browser.get("/_tiergate/pricing").text
    assert "Switch to Enterprise" in page
    assert paid_checkout(gateway, gateway.browser())


def _keys(gateway, key):
    told = gateway.bearer(key).get("/api/v1/api-keys").raise_for_status().json()
    return told["keys"] if isinstance(told, dict) else told
