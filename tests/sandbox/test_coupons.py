"""Coupons, promotion codes and the sandbox's tax: on the page, on invoices, and on what comes next."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

pytestmark = pytest.mark.slow

PRO = 2_900
DAY_S = 86_400


async def coupon(sandbox: Any, coupon_id: str = "LAUNCH", **fields: Any) -> Any:
    return await sandbox.v1.coupons.create_async({"id": coupon_id, "percent_off": 20.0, "duration": "once", **fields})


async def code(sandbox: Any, text: str = "HELLO", coupon_id: str = "LAUNCH", **fields: Any) -> Any:
    promotion = {"type": "coupon", "coupon": coupon_id}
    return await sandbox.v1.promotion_codes.create_async({"promotion": promotion, "code": text, **fields})


async def bought(sandbox: Any, _fields: dict[str, str] | None = None, **session: Any) -> Any:
    customer = await sandbox.customer()
    opened = await sandbox.open_checkout(customer=customer.id, **session)
    data = {"card_number": "4242424242424242", **(_fields or {})}
    answer = await sandbox.http.post(opened.url, data=data)
    assert answer.status_code == 303, answer.text
    return await sandbox.v1.checkout.sessions.retrieve_async(opened.id, {"expand": ["subscription"]})


async def invoices(sandbox: Any, subscription_id: str) -> list[Any]:
    page = await sandbox.v1.invoices.list_async({"subscription": subscription_id})
    return page.data[::-1]


async def totals(sandbox: Any, subscription_id: str) -> list[int]:
    return [invoice.total for invoice in await invoices(sandbox, subscription_id)]


@pytest.mark.parametrize(
    ("terms", "paid"),
    [
        ({"duration": "once"}, [2_320, 2_900, 2_900, 2_900]),
        ({"duration": "repeating", "duration_in_months": 2}, [2_320, 2_320, 2_900, 2_900]),
        ({"duration": "forever"}, [2_320, 2_320, 2_320, 2_320]),
        ({"duration": "forever", "percent_off": 33.3}, [1_934, 1_934, 1_934, 1_934]),
    ],
)
async def test_a_coupon_counts_as_long_as_it_says(sandbox: Any, terms: dict[str, Any], paid: list[int]) -> None:
    await coupon(sandbox, **terms)
    done = await bought(sandbox, discounts=[{"coupon": "LAUNCH"}])
    await sandbox.advance(94 * DAY_S)
    assert await totals(sandbox, done.subscription.id) == paid


async def test_an_amount_off_takes_no_more_than_there_is(sandbox: Any) -> None:
    await sandbox.v1.coupons.create_async({"id": "BIG", "amount_off": 5_000, "currency": "usd", "duration": "once"})
    done = await bought(sandbox, discounts=[{"coupon": "BIG"}])
    [first] = await invoices(sandbox, done.subscription.id)
    assert (first.subtotal, first.total, first.amount_due, first.status) == (PRO, 0, 0, "paid")
    assert first.total_discount_amounts[0].amount == PRO


async def test_a_coupon_that_counts_once_waits_for_the_end_of_a_trial(sandbox: Any) -> None:
    await coupon(sandbox)
    done = await bought(sandbox, discounts=[{"coupon": "LAUNCH"}], subscription_data={"trial_period_days": 7})
    await sandbox.advance(40 * DAY_S)
    assert await totals(sandbox, done.subscription.id) == [0, 2_320, 2_900]


async def test_an_invoice_says_what_was_taken_off_and_its_lines_add_up(sandbox: Any) -> None:
    made = await coupon(sandbox, percent_off=12.5)
    lines = [{"price": "price_pro_monthly", "quantity": 3}, {"price": "price_enterprise_monthly", "quantity": 1}]
    done = await bought(sandbox, discounts=[{"coupon": made.id}], line_items=lines)
    [first] = await invoices(sandbox, done.subscription.id)
    off = first.total_discount_amounts[0].amount
    assert (first.subtotal, off, first.total) == (58_600, 7_325, 51_275)
    assert [first.discounts[0]] == [first.total_discount_amounts[0].discount]
    assert sum(line.discount_amounts[0].amount for line in first.lines.data) == off
    assert (done.amount_subtotal, done.amount_total, done.total_details.amount_discount) == (58_600, 51_275, off)
    assert done.discounts[0].coupon == made.id


async def test_a_preview_has_the_discount_and_a_proration_has_it_in_its_amount(sandbox: Any) -> None:
    await coupon(sandbox, duration="forever", percent_off=50)
    done = await bought(sandbox, discounts=[{"coupon": "LAUNCH"}])
    item = done.subscription["items"].data[0]
    preview = await sandbox.v1.invoices.create_preview_async(
        {
            "subscription": done.subscription.id,
            "subscription_details": {
                "items": [{"id": item.id, "price": "price_enterprise_monthly"}],
                "proration_date": item.current_period_start,
            },
        }
    )
    unused, remaining, following = preview.lines.data
    assert (unused.amount, remaining.amount) == (-PRO // 2, 49_900 // 2)
    assert (following.amount, following.discount_amounts[0].amount) == (49_900, 24_950)
    assert preview.total == 24_950 - 1_450 + 24_950


async def test_a_code_is_typed_on_the_page_where_the_seller_takes_codes(sandbox: Any) -> None:
    await coupon(sandbox)
    made = await code(sandbox)
    opened = await sandbox.open_checkout(allow_promotion_codes=True)
    updated = await sandbox.http.post(opened.url, data={"promotion_code": "hello", "act": "update"})
    assert "Discount: -$5.80" in updated.text
    assert "Due today: $23.20" in updated.text
    cleared = await sandbox.http.post(opened.url, data={"promotion_code": "", "act": "update"})
    assert "Due today: $29.00" in cleared.text
    done = await bought(sandbox, {"promotion_code": "HELLO"}, allow_promotion_codes=True)
    assert done.amount_total == 2_320
    assert (done.discounts[0].coupon, done.discounts[0].promotion_code) == ("LAUNCH", made.id)
    assert (await sandbox.v1.promotion_codes.retrieve_async(made.id)).times_redeemed == 1
    assert (await sandbox.v1.coupons.retrieve_async("LAUNCH")).times_redeemed == 1


@pytest.mark.parametrize(
    "fields",
    [{"active": False}, {"max_redemptions": 1}, {"customer": "another"}, {"expires_at": 1}],
    ids=["not active", "used up", "of somebody else", "over"],
)
async def test_a_code_that_cannot_be_redeemed_is_refused_on_the_page(sandbox: Any, fields: dict[str, Any]) -> None:
    await coupon(sandbox)
    if "customer" in fields:
        fields = {"customer": (await sandbox.customer()).id}
    await code(sandbox, **fields)
    if "max_redemptions" in fields:
        await bought(sandbox, {"promotion_code": "HELLO"}, allow_promotion_codes=True)
    opened = await sandbox.open_checkout(allow_promotion_codes=True)
    refused = await sandbox.http.post(opened.url, data={"promotion_code": "HELLO", "card_number": "4242424242424242"})
    assert refused.status_code == 402
    assert "This code is invalid." in refused.text


async def test_where_the_seller_takes_no_codes_none_counts(sandbox: Any) -> None:
    await coupon(sandbox)
    await code(sandbox)
    done = await bought(sandbox, {"promotion_code": "HELLO"})
    assert done.amount_total == PRO


async def test_codes_and_coupons_are_found(sandbox: Any) -> None:
    await coupon(sandbox)
    made = await code(sandbox)
    await coupon(sandbox, "OTHER")
    other = await code(sandbox, "LATER", "OTHER")
    await sandbox.v1.promotion_codes.update_async(other.id, {"active": False})
    for asked, found in (
        ({"code": "hello"}, [made.id]),
        ({"coupon": "OTHER"}, [other.id]),
        ({"active": True}, [made.id]),
        ({}, [other.id, made.id]),
    ):
        page = await sandbox.v1.promotion_codes.list_async(asked)
        assert [one.id for one in page.data] == found
    assert [one.id for one in (await sandbox.v1.coupons.list_async()).data] == ["OTHER", "LAUNCH"]
    with pytest.raises(stripe.InvalidRequestError):
        await code(sandbox, "Hello", "OTHER")
    await sandbox.v1.coupons.delete_async("OTHER")
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sandbox.v1.coupons.retrieve_async("OTHER")
    assert caught.value.code == "resource_missing"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"percent_off": 20.0, "amount_off": 100, "currency": "usd"},
        {"amount_off": 100},
        {"percent_off": 101.0},
        {"percent_off": 20.0, "duration": "repeating"},
        {"percent_off": 20.0, "duration": "forever", "duration_in_months": 2},
    ],
)
async def test_a_coupon_that_says_nothing_or_too_much_is_refused(sandbox: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        await sandbox.v1.coupons.create_async(fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"allow_promotion_codes": True, "discounts": [{"coupon": "LAUNCH"}]}, "only specify one"),
        ({"discounts": [{"coupon": "NONE"}]}, "No such coupon"),
        ({"discounts": [{"coupon": "OVER"}]}, "expired"),
        ({"discounts": [{"coupon": "LAUNCH"}, {"coupon": "LAUNCH"}]}, "at most one"),
        ({"automatic_tax": {"enabled": True}}, "requires a valid address"),
        ({"tax_id_collection": {"enabled": True}}, "updating business name"),
    ],
)
async def test_a_checkout_that_stripe_would_refuse_is_refused(
    sandbox: Any, fields: dict[str, Any], message: str
) -> None:
    await coupon(sandbox)
    await coupon(sandbox, "OVER", redeem_by=1)
    customer = await sandbox.customer()
    with pytest.raises(stripe.InvalidRequestError, match=message):
        await sandbox.open_checkout(customer=customer.id, **fields)


async def test_the_tax_is_a_fifth_on_top_of_what_is_left_after_the_discount(sandbox: Any) -> None:
    await coupon(sandbox, duration="forever")
    tax = {
        "automatic_tax": {"enabled": True},
        "tax_id_collection": {"enabled": True},
        "customer_update": {"address": "auto", "name": "auto"},
    }
    done = await bought(sandbox, discounts=[{"coupon": "LAUNCH"}], **tax)
    assert (done.amount_subtotal, done.amount_total) == (PRO, 2_784)
    assert (done.total_details.amount_discount, done.total_details.amount_tax) == (580, 464)
    assert (done.automatic_tax.enabled, done.automatic_tax.status) == (True, "complete")
    assert done.subscription.automatic_tax.enabled
    assert (await sandbox.v1.customers.retrieve_async(done.customer)).address.country == "US"
    await sandbox.advance(40 * DAY_S)
    for invoice in await invoices(sandbox, done.subscription.id):
        assert (invoice.subtotal, invoice.total_excluding_tax, invoice.total) == (PRO, 2_320, 2_784)
        assert [one.amount for one in invoice.total_taxes] == [464]
        assert sum(tax.amount for line in invoice.lines.data for tax in line.taxes) == 464
        assert invoice.amount_paid == 2_784


async def test_a_subscription_can_begin_with_a_coupon_or_a_code(sandbox: Any) -> None:
    await sandbox.v1.coupons.create_async({"id": "HALF", "percent_off": 50, "duration": "forever"})
    promotion = {"type": "coupon", "coupon": "HALF"}
    code = await sandbox.v1.promotion_codes.create_async({"promotion": promotion, "code": "HELLO"})
    for discount in ({"coupon": "HALF"}, {"promotion_code": code.id}):
        customer = await sandbox.customer()
        await sandbox.v1.payment_methods.attach_async("pm_card_visa", {"customer": customer.id})
        card = (await sandbox.v1.payment_methods.list_async({"customer": customer.id})).data[0].id
        made = await sandbox.v1.subscriptions.create_async(
            {
                "customer": customer.id,
                "items": [{"price": "price_pro_monthly"}],
                "default_payment_method": card,
                "discounts": [discount],
            }
        )
        invoice = await sandbox.v1.invoices.retrieve_async(made.latest_invoice)
        assert (invoice.subtotal, invoice.total, made.status) == (2_900, 1_450, "active")
    with pytest.raises(stripe.InvalidRequestError):
        await sandbox.v1.subscriptions.create_async(
            {"customer": customer.id, "items": [{"price": "price_pro_monthly"}], "discounts": [{"coupon": "NONE"}]}
        )


async def test_a_coupon_for_some_products_takes_nothing_off_others(sandbox: Any) -> None:
    pro = (await sandbox.v1.prices.retrieve_async("price_pro_monthly")).product
    made = await coupon(sandbox, duration="forever", applies_to={"products": [pro]})
    assert "applies_to" not in made
    read = await sandbox.v1.coupons.retrieve_async(made.id, {"expand": ["applies_to"]})
    assert read.applies_to.products == [pro]
    done = await bought(sandbox, discounts=[{"coupon": "LAUNCH"}])
    [item] = done.subscription["items"].data
    higher = [{"id": item.id, "price": "price_enterprise_monthly"}]
    at_once = {"items": higher, "proration_behavior": "always_invoice"}
    await sandbox.v1.subscriptions.update_async(done.subscription.id, at_once)
    await sandbox.advance(32 * DAY_S)
    first, change, second = await invoices(sandbox, done.subscription.id)
    assert first.total == PRO * 80 // 100
    assert [line.amount for line in change.lines.data] == [-PRO * 80 // 100, 49_900]
    assert (second.total, second.discounts) == (49_900, [])


async def test_a_coupon_for_a_product_that_is_not_there_is_refused(sandbox: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        await coupon(sandbox, applies_to={"products": ["prod_none"]})
