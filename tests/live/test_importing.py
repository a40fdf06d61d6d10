"""Customers that were at Stripe before the gateway: `tiergate customers import`."""

from __future__ import annotations

import json

import pytest

from tests.live.commands import CommandLine
from tests.live.life import GOOD_CARD

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


async def test_a_customer_of_before_is_bound_once_and_has_what_its_subscription_grants(life, tmp_path):
    tiergate, user_id = CommandLine(life.account, tmp_path), f"user-of-{life.account.names.run}"
    label = life.account.names.user_label
    customer = await life.stripe.v1.customers.create_async({"metadata": {label: user_id}})
    life.cus = customer.id
    life.made.add(customer.id)
    await life.new_card(GOOD_CARD)
    price = life.account.prices["pro-monthly"]
    await life.stripe.v1.subscriptions.create_async({"customer": life.cus, "items": [{"price": price}]})
    assert tiergate("migrate").returncode == 0

    def run(*more):
        done = tiergate("customers", "import", "--from-stripe", "--user-id-from", f"metadata:{label}", "--json", *more)
        assert done.returncode in {0, 1}, done.stderr  # 1: the account has customers that are not this run's
        return json.loads(done.stdout)

    async def listed():
        found = run("--dry-run")
        return found if found["created"] else None

    tried = await life.eventually(listed)
    assert (tried["created"], tried["dry_run"]) == (1, True)
    made = run("--write-metadata")
    assert (made["created"], made["granted"], made["stopped_because"]) == (1, 1, None)
    again = run()
    assert (again["created"], again["known"]) == (0, 1)
    shown = tiergate("customers", "show", "--user-id", user_id, "--json")
    assert shown.returncode == 0, shown.stderr
    facts = json.loads(shown.stdout)
    assert facts["stripe_customer_id"] == customer.id
    labelled = await life.stripe.v1.customers.retrieve_async(customer.id)
    assert labelled.metadata.to_dict()["tiergate_customer_id"] == facts["customer_id"]
