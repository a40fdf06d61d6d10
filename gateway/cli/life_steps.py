"""The steps of a customer's life, under the shipped example policies."""

from __future__ import annotations

import concurrent.futures
import time
from typing import Any

import httpx

from gateway.cli.life import (
    DAY_S,
    DECLINES,
    FAILS_AT_RENEWAL,
    GOOD_CARD,
    PATIENCE_S,
    POLL_S,
    Different,
    Step,
    World,
    expect,
    find_key,
)

_OK = httpx.codes.OK
_UNAUTHORIZED = httpx.codes.UNAUTHORIZED
_TOO_MANY = httpx.codes.TOO_MANY_REQUESTS
_PRO, _ENTERPRISE = "pro-monthly", "enterprise-monthly"


def see_prices(world: World) -> str:
    page = world.patient(lambda: world.browser.get(f"{world.house.url}/_tiergate/pricing"))
    plans = world.patient(lambda: httpx.get(f"{world.house.url}/api/v1/plans")).json()["plans"]
    names = [plan["plan_id"] for plan in plans]
    expect(page.status_code == _OK and {_PRO, _ENTERPRISE} <= set(names), (page.status_code, names))
    return f"{page.status_code}, plans {', '.join(names)}"


def start_checkout(world: World) -> str:
    answer = world.patient(
        lambda: world.browser.post(
            f"{world.house.url}/api/v1/create-checkout", json={"plan_id": _PRO, "user_id": "ada@example.com"}
        )
    )
    expect(answer.is_success, (answer.status_code, answer.text))
    told = answer.json()
    world.checkout_url, world.session_id = told["checkout_url"], told["session_id"]
    injected = world.patient(
        lambda: httpx.post(
            f"{world.house.url}/api/v1/create-checkout",
            json={"plan_id": _PRO, "user_id": "mallory", "price": "price_1", "amount": 1},
        )
    )
    expect(injected.status_code == httpx.codes.BAD_REQUEST, (injected.status_code, injected.text))
    return f"{answer.status_code} with a checkout; a request that brings its own price: {injected.status_code}"


def pay(world: World) -> str:
    declined = world.fill_in(world.checkout_url, card_number=DECLINES)
    expect("declined" in declined.text.lower(), declined.text[:300])
    success = world.fill_in(world.checkout_url, card_number=GOOD_CARD)
    expect("/_tiergate/success" in str(success.url), success.url)
    world.until("the key is shown", lambda: _collect_key(world, success))
    return "declined card told so, good card accepted, back at the success page with a key"


def _collect_key(world: World, first: httpx.Response) -> bool:
    key = find_key(first.text) if not world.key else world.key
    if key is None:
        key = find_key(world.browser.get(_success_url(world)).text)
    world.key = key or ""
    return bool(world.key)


def _success_url(world: World) -> str:
    return f"{world.house.url}/_tiergate/success?session_id={world.session_id}"


def claim_once(world: World) -> str:
    again = world.patient(lambda: world.browser.get(_success_url(world)))
    stranger = world.patient(lambda: httpx.get(_success_url(world)))
    expect(find_key(again.text) is None, "the key was shown a second time")
    expect(find_key(stranger.text) is None, "another browser was shown a key")
    return "no key on reload, none in another browser"


def call(world: World) -> str:
    answer = world.call("GET", "/v1/echo?a=%20b")
    expect(answer.status_code == _OK, (answer.status_code, answer.text))
    world.spent += 1
    seen = answer.json()
    names = {name.lower() for name, _ in _pairs(seen["headers"])}
    expect("x-api-key" not in names and world.key not in answer.text, "the API key reached the upstream")
    expect("x-tiergate-customer" in names and "x-tiergate-tier" in names, sorted(names))
    expect("ratelimit" in answer.headers and "ratelimit-policy" in answer.headers, dict(answer.headers))
    return f"200, RateLimit: {answer.headers['ratelimit']}"


def _pairs(headers: Any) -> list[tuple[str, str]]:
    return list(headers.items()) if isinstance(headers, dict) else [(str(name), str(value)) for name, value in headers]


def burst(world: World) -> str:
    """Several times, if it takes that: on a busy machine calls can be slower than the tier allows, for a while."""
    answers: list[httpx.Response] = []
    for _ in range(4):
        answers += _many(world, 160)
        if any(a.status_code == _TOO_MANY for a in answers):
            break
    admitted = [a for a in answers if a.status_code == _OK]
    refused = [a for a in answers if a.status_code == _TOO_MANY]
    world.spent += len(admitted)
    expect(refused and len(admitted) + len(refused) == len(answers), [a.status_code for a in answers])
    problem = refused[0].json()
    expect(problem["code"] == "rate-limited" and int(refused[0].headers["retry-after"]) >= 1, problem)
    why = world.patient(
        lambda: httpx.get(f"{world.house.url}/_tiergate/why/{problem['decision_id']}", headers={"x-api-key": world.key})
    )
    expect(why.json().get("verdict") == "rate-limited", why.text)
    wait_s = refused[0].headers["retry-after"]
    return f"{len(admitted)} admitted, {len(refused)} refused with Retry-After {wait_s}, why explains it"


def _many(world: World, count: int) -> list[httpx.Response]:
    with concurrent.futures.ThreadPoolExecutor(16) as pool, httpx.Client(timeout=30) as client:
        url, headers = f"{world.house.url}/v1/echo", {"x-api-key": world.key}
        return list(pool.map(lambda _: world.patient(lambda: client.get(url, headers=headers)), range(count)))


def failures_are_free(world: World) -> str:
    world.advance(10)
    before, _ = world.quota()
    answer = world.call("GET", "/v1/error?status=500")
    expect(answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR, answer.status_code)
    after, _ = world.quota()
    expect(after == before, f"used {before} before and {after} after a 500")
    return f"500 from the API; used {before} before and {after} after"


def exhaust(world: World) -> str:
    _, limit = world.quota()
    for _ in range(60):
        world.advance(10)
        refused = [a for a in _many(world, 100) if a.status_code == _TOO_MANY]
        quota = [a for a in refused if a.json()["code"] == "quota-exceeded"]
        if quota:
            problem = quota[0].json()
            used, _ = world.quota()
            expect(used == limit, f"used {used} of {limit} at the first refusal")
            expect(problem["links"].get("upgrade") and quota[0].headers.get("retry-after"), problem)
            world.spent = used
            return f"exactly {used} of {limit} used, then quota-exceeded with {problem['links']['upgrade']}"
    raise Different("the quota was never reached")


def preview_upgrade(world: World) -> str:
    answer = world.api("POST", "subscription/change", json={"plan_id": _ENTERPRISE, "preview": True})
    expect(answer.is_success, (answer.status_code, answer.text))
    told = answer.json()
    expect(told["amount_due"] > 0 and told["lines"], told)
    return f"{told['amount_due'] / 100:.2f} {told['currency']} to pay now, in {len(told['lines'])} lines"


def upgrade(world: World) -> str:
    answer = world.api("POST", "subscription/change", json={"plan_id": _ENTERPRISE, "preview": False})
    expect(answer.is_success, (answer.status_code, answer.text))
    next_call = world.call()
    expect(next_call.status_code == _OK, (next_call.status_code, next_call.text))
    world.spent += 1
    used, limit = world.quota()
    expect(used == world.spent and limit > used, f"used {used} of {limit}, expected {world.spent} used")
    return f"the very next call passes; {used} of {limit} used"


def fail_renewal(world: World) -> str:
    _portal(world, "/card", card_number=FAILS_AT_RENEWAL)
    world.advance(32 * DAY_S)
    world.until("the failed payment is known", lambda: world.subscription()["standing"] == "grace")
    answer = world.call()
    expect(
        answer.status_code == _OK and "tiergate-warning" in answer.headers, (answer.status_code, dict(answer.headers))
    )
    return f"200 with Tiergate-Warning: {answer.headers['tiergate-warning']}"


def outlast_grace(world: World) -> str:
    world.advance(8 * DAY_S)
    told = world.subscription()
    expect(told["standing"] == "lapsed" and told["tier"] == "free", told)
    answer = world.call()
    expect(answer.status_code in {_OK, _TOO_MANY}, (answer.status_code, answer.text))
    _, limit = world.quota()
    return f"standing {told['standing']}, tier {told['tier']}, {limit} per period"


def mend_card(world: World) -> str:
    _portal(world, "/card", card_number=GOOD_CARD)
    world.until("the payment is known", lambda: world.subscription()["standing"] == "good")
    told = world.subscription()
    answer = world.call()
    expect(told["tier"] == "enterprise" and answer.status_code == _OK, (told, answer.status_code))
    return f"standing {told['standing']}, tier {told['tier']}, call {answer.status_code}"


def cancel(world: World) -> str:
    _portal(world, "/cancel")
    world.until("the cancellation is known", lambda: world.subscription().get("cancel_at") is not None)
    told = world.subscription()
    answer = world.call()
    expect(told["standing"] == "good" and answer.status_code == _OK, (told, answer.status_code))
    return f"still {told['tier']} until {told['cancel_at']}"


def lapse(world: World) -> str:
    world.advance(33 * DAY_S)
    world.until("the end is known", lambda: world.subscription()["standing"] == "lapsed")
    told = world.subscription()
    answer = world.call()
    expect(told["tier"] == "free" and answer.status_code == _OK, (told, answer.status_code, answer.text))
    return f"standing {told['standing']}, tier {told['tier']}, call {answer.status_code}"


def shuffle_events(world: World) -> str:
    world.until("every event was worked on", world.house.inbox_is_worked_off)
    before = world.subscription()
    count = world.house.resend_events_reversed_twice()
    world.until("every event was worked on again", world.house.inbox_is_worked_off)
    after = world.subscription()
    expect(after == before, f"{before} became {after}")
    return f"{count} events, each sent twice more and in reverse order: nothing changed"


def revoke_everywhere(world: World) -> str:
    second = world.api("POST", "api-keys", json={"name": "second"}).json()
    clients = _one_client_per_worker(world, second["key"])
    try:
        gone = world.api("DELETE", f"api-keys/{second['key_id']}")
        expect(gone.is_success, (gone.status_code, gone.text))
        codes = {worker: _call(client, world, second["key"]).status_code for worker, client in clients.items()}
        expect(set(codes.values()) == {_UNAUTHORIZED}, codes)
    finally:
        for client in clients.values():
            client.close()
    return f"401 on the next request of each of {len(codes)} workers"


def _one_client_per_worker(world: World, key: str) -> dict[str, httpx.Client]:
    """Keep-alive connections, one to each worker; a decision id starts with its worker's mark."""
    clients: dict[str, httpx.Client] = {}
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        client = httpx.Client(timeout=30)
        answer = _call(client, world, key)
        expect(answer.status_code in {_OK, _TOO_MANY}, (answer.status_code, answer.text))
        worker = answer.headers["tiergate-decision"][4:12]
        if worker in clients:
            client.close()
            time.sleep(POLL_S)  # the other worker may be starting still
        else:
            clients[worker] = client
        if len(clients) == world.house.workers:
            return clients
    raise Different(f"only {len(clients)} of {world.house.workers} workers answered within {PATIENCE_S:.0f} s")


def _call(client: httpx.Client, world: World, key: str) -> httpx.Response:
    return world.patient(lambda: client.get(f"{world.house.url}/v1/echo", headers={"x-api-key": key}))


def _portal(world: World, form: str, **values: str) -> None:
    told = world.api("POST", "portal-session", json={}).json()
    done = world.fill_in(told["portal_url"], form, **values)
    expect(done.is_success, (done.status_code, done.text[:300]))


LIFE = (
    Step("Look at the prices", "a pricing page and a plan list with pro and enterprise", see_prices),
    Step("Start a checkout as nobody in particular", "a checkout URL; own prices are refused", start_checkout),
    Step("Pay on the hosted page", "a declined card may try again; then the API key is shown", pay),
    Step("Open the success page again", "the key is shown once, to this browser only", claim_once),
    Step("Call the API", "200, limits in the response, the key stays here, identity goes upstream", call),
    Step("Call faster than the tier allows", "429 rate-limited with Retry-After", burst),
    Step("Call something that fails upstream", "the failure is passed on and costs nothing", failures_are_free),
    Step("Use up the quota", "429 quota-exceeded at exactly the limit, with the upgrade link", exhaust),
    Step("Ask what an upgrade costs", "the proration that Stripe computes", preview_upgrade),
    Step("Upgrade", "more quota at once, and the count is kept", upgrade),
    Step("Let the card fail at renewal", "grace: the tier is kept, with a warning", fail_renewal),
    Step("Do nothing for eight days", "grace ends by itself: the free tier", outlast_grace),
    Step("Mend the card in the portal", "the paid tier is back", mend_card),
    Step("Revoke a key", "refused by the next request of every worker", revoke_everywhere),
    Step("Cancel at the period's end", "the tier is kept until then", cancel),
    Step("Let the period end", "lapsed: the free tier", lapse),
    Step("Receive every event again", "twice, in reverse order: the same end state", shuffle_events),
)
"""The whole life, in order."""
