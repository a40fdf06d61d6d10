from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest
import stripe

pytestmark = pytest.mark.slow


async def _refused(awaitable: Any) -> stripe.StripeError:
    with pytest.raises(stripe.StripeError) as refused:
        await awaitable
    return refused.value


async def test_an_unknown_parameter_is_refused_by_name(sandbox: Any) -> None:
    error = await _refused(sandbox.v1.customers.create_async({"emial": "x@example.com"}))
    assert isinstance(error, stripe.InvalidRequestError)
    assert (error.code, error.param, error.http_status) == ("parameter_unknown", "emial", 400)
    assert error.request_id.startswith("req_")
    nested = await _refused(sandbox.open_checkout(subscription_data={"metdata": {"a": "b"}}))
    assert nested.param == "subscription_data[metdata]"


async def test_a_missing_parameter_is_refused_by_name(sandbox: Any) -> None:
    error = await _refused(sandbox.v1.checkout.sessions.create_async({"mode": "subscription"}))
    assert (error.code, error.param) == ("parameter_missing", "success_url")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"limit": "many"}, "parameter_invalid_integer"),
        ({"limit": 0}, None),
        ({"limit": 101}, None),
        ({"starting_after": "cus_none"}, "resource_missing"),
        ({"email": ""}, "parameter_invalid_empty"),
        ({"created": {"around": 1}}, "parameter_unknown"),
    ],
    ids=str,
)
async def test_a_malformed_parameter_is_refused(sandbox: Any, params: Any, code: str | None) -> None:
    error = await _refused(sandbox.v1.customers.list_async(params))
    assert (error.http_status, error.code) == (400, code)


async def test_a_missing_object_is_404_and_a_wrong_reference_400(sandbox: Any) -> None:
    missing = await _refused(sandbox.v1.customers.retrieve_async("cus_none"))
    assert (missing.http_status, missing.code, missing.param) == (404, "resource_missing", "id")
    assert str(missing.user_message) == "No such customer: 'cus_none'"
    wrong = await _refused(sandbox.open_checkout(customer="cus_none"))
    assert (wrong.http_status, wrong.code, wrong.param) == (400, "resource_missing", "customer")


@pytest.mark.parametrize(
    "list_name",
    [
        "charges",
        "checkout/sessions",
        "invoices",
        "payment_methods",
        "promotion_codes",
        "subscription_schedules",
        "subscriptions",
    ],
)
async def test_what_a_customer_has_who_never_was_cannot_be_listed(sandbox: Any, list_name: str) -> None:
    path, params = f"/v1/{list_name}", {"customer": "cus_none"}
    error = await _refused(sandbox.client.raw_request_async("get", path, **params))
    assert (error.http_status, error.code, error.param) == (400, "resource_missing", "customer")
    assert str(error.user_message) == "No such customer: 'cus_none'"


async def test_what_a_deleted_customer_had_is_listed(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    await sandbox.v1.customers.delete_async(subscription.customer)
    params = {"customer": subscription.customer, "status": "all"}
    assert [one.id for one in (await sandbox.v1.subscriptions.list_async(params)).data] == [subscription.id]


async def test_an_unknown_path_is_404_in_stripes_shape(sandbox: Any) -> None:
    error = await _refused(sandbox.v1.payouts.list_async())
    assert error.http_status == 404
    assert str(error.user_message).startswith("Unrecognized request URL (GET: /v1/payouts)")


@pytest.mark.parametrize("key", ["sk_test_other", "sk_live_abc", ""], ids=["wrong", "live", "none"])
async def test_a_wrong_key_is_401(sandbox: Any, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer = await sandbox.http.get(f"{sandbox.running.stripe_url}/v1/customers", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert key == "" or key not in answer.text


async def test_basic_authentication_is_taken_too(sandbox: Any) -> None:
    credentials = base64.b64encode(f"{sandbox.running.key}:".encode()).decode()
    url = f"{sandbox.running.stripe_url}/v1/account"
    answer = await sandbox.http.get(url, headers={"Authorization": f"Basic {credentials}"})
    assert answer.json()["object"] == "account"


async def test_another_api_version_is_refused(sandbox: Any) -> None:
    error = await _refused(sandbox.v1.customers.list_async({}, {"stripe_version": "2020-08-27"}))
    assert error.http_status == 400


async def test_a_name_that_is_not_loopback_gets_no_answer(sandbox: Any) -> None:
    url = f"{sandbox.running.stripe_url}/_sandbox/state"
    answer = await sandbox.http.get(url, headers={"Host": "attacker.example"})
    assert answer.status_code == 421


async def test_an_idempotency_key_gives_the_first_answer_again(sandbox: Any) -> None:
    options = {"idempotency_key": "create-u-1"}
    first = await sandbox.v1.customers.create_async({"email": "a@example.com"}, options)
    again = await sandbox.v1.customers.create_async({"email": "a@example.com"}, options)
    assert again.to_dict() == first.to_dict()
    assert again.last_response.headers["idempotent-replayed"] == "true"
    assert len((await sandbox.v1.customers.list_async()).data) == 1
    assert len(await sandbox.events(type="customer.created")) == 1


async def test_an_idempotency_key_is_for_one_request_only(sandbox: Any) -> None:
    options = {"idempotency_key": "once"}
    await sandbox.v1.customers.create_async({"email": "a@example.com"}, options)
    error = await _refused(sandbox.v1.customers.create_async({"email": "b@example.com"}, options))
    assert isinstance(error, stripe.IdempotencyError)
    assert error.http_status == 400
    other_path = await _refused(sandbox.v1.products.create_async({"name": "x"}, options))
    assert isinstance(other_path, stripe.IdempotencyError)


async def test_an_idempotency_key_is_free_again_after_a_refused_parameter_and_after_a_day(
    sandbox: Any,
) -> None:
    options = {"idempotency_key": "again"}
    await _refused(sandbox.v1.customers.create_async({"nope": "x"}, options))
    first = await sandbox.v1.customers.create_async({"name": "x"}, options)
    await sandbox.advance(24 * 3_600 + 2)
    later = await sandbox.v1.customers.create_async({"name": "x"}, options)
    assert later.id != first.id


async def test_lists_are_paged_newest_first_in_both_directions(sandbox: Any) -> None:
    made = [(await sandbox.customer(name=str(number))).id for number in range(7)]
    first = await sandbox.v1.customers.list_async({"limit": 3})
    assert ([one.id for one in first.data], first.has_more) == (made[:3:-1], True)
    second = await sandbox.v1.customers.list_async({"limit": 3, "starting_after": first.data[-1].id})
    both = {"starting_after": second.data[0].id, "ending_before": second.data[0].id}
    with pytest.raises(stripe.InvalidRequestError):
        await sandbox.v1.customers.list_async(both)
    back = await sandbox.v1.customers.list_async({"limit": 3, "ending_before": second.data[0].id})
    assert [one.id for one in back.data] == [one.id for one in first.data]
    found = [one.id async for one in first.auto_paging_iter()]
    assert found == made[::-1]


async def test_ids_are_expanded_along_a_path(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    page = await sandbox.v1.subscriptions.list_async(
        {"customer": subscription.customer, "expand": ["data.items.data.price.product", "data.latest_invoice"]}
    )
    assert page.data[0]["items"].data[0].price.product.metadata["tier"] == "pro"
    assert page.data[0].latest_invoice.object == "invoice"


@pytest.mark.parametrize("path", ["status", "metadata", "nope", "items.data.subscription", "a.b.c.d.e"])
async def test_what_cannot_be_expanded_is_refused(sandbox: Any, path: str) -> None:
    subscription = await sandbox.subscribe()
    error = await _refused(sandbox.v1.subscriptions.retrieve_async(subscription.id, {"expand": [path]}))
    assert error.http_status == 400


async def test_metadata_is_merged_emptied_and_removed(sandbox: Any) -> None:
    customer = await sandbox.customer(metadata={"a": "1", "b": "2"})
    merged = await sandbox.v1.customers.update_async(customer.id, {"metadata": {"b": "", "c": "3"}})
    assert merged.metadata.to_dict() == {"a": "1", "c": "3"}
    emptied = await sandbox.v1.customers.update_async(customer.id, {"metadata": ""})
    assert emptied.metadata.to_dict() == {}


async def test_a_lookup_key_is_unique_and_can_be_transferred(sandbox: Any) -> None:
    new = {"currency": "usd", "product": "prod_pro", "unit_amount": 3900, "recurring": {"interval": "month"}}
    taken = await _refused(sandbox.v1.prices.create_async({**new, "lookup_key": "pro_monthly"}))
    assert taken.param == "lookup_key"
    price = await sandbox.v1.prices.create_async({**new, "lookup_key": "pro_monthly", "transfer_lookup_key": True})
    found = await sandbox.v1.prices.list_async({"lookup_keys": ["pro_monthly", "pro_yearly"]})
    assert [one.id for one in found.data] == [price.id, "price_pro_yearly"]
    assert (await sandbox.v1.prices.retrieve_async("price_pro_monthly")).lookup_key is None


async def test_subscriptions_are_listed_by_status(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    await sandbox.v1.subscriptions.cancel_async(subscription.id)

    async def count(**filters: Any) -> int:
        return len((await sandbox.v1.subscriptions.list_async({"customer": subscription.customer, **filters})).data)

    assert (await count(), await count(status="all"), await count(status="ended")) == (0, 1, 1)
    assert (await count(status="canceled"), await count(status="active")) == (1, 0)


@pytest.mark.parametrize("name", ["a[", "a]b", "[a]", "a[b]c"])
async def test_a_malformed_form_is_refused(sandbox: Any, name: str) -> None:
    answer = await sandbox.http.post(
        f"{sandbox.running.stripe_url}/v1/customers",
        headers={"Authorization": f"Bearer {sandbox.running.key}"},
        content=httpx.QueryParams({name: "x"}).__str__().encode(),
    )
    assert answer.status_code == 400
    assert "Invalid parameter name" in answer.text


async def test_injected_api_faults_hit_the_next_requests_and_then_stop(sandbox: Any) -> None:
    await sandbox.control("faults", api=[{"path": "/v1/customers", "status": 429, "times": 1}])
    assert isinstance(await _refused(sandbox.v1.customers.list_async()), stripe.RateLimitError)
    assert (await sandbox.v1.customers.list_async()).data == []
    await sandbox.control("faults", api=[{"status": 500}])
    assert isinstance(await _refused(sandbox.v1.products.list_async()), stripe.APIError)


async def test_a_lost_answer_is_found_again_by_its_idempotency_key(sandbox: Any) -> None:
    await sandbox.control("faults", api=[{"method": "POST", "status": 503, "after": True}])
    await _refused(sandbox.v1.customers.create_async({"name": "x"}, {"idempotency_key": "k"}))
    found = await sandbox.v1.customers.create_async({"name": "x"}, {"idempotency_key": "k"})
    assert [one.id for one in (await sandbox.v1.customers.list_async()).data] == [found.id]
