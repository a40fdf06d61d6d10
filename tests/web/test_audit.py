"""The audit log over HTTP: who changed what, what that did to access, and all of it as a file."""

from __future__ import annotations

import csv
import io
import json

ADMIN = "/_tiergate/admin"


def audit(gateway, **wanted):
    return gateway.admin.get(f"{ADMIN}/audit", params=wanted).raise_for_status().json()["entries"]


def test_a_subscription_that_was_bought_is_audited_with_access_and_event(gateway):
    customer_id, _, _ = gateway.subscribed()
    rows = audit(gateway, customer_id=customer_id, action="subscription-changed")
    assert (rows[-1]["access_before"]["tier"], rows[0]["access_after"]["tier"]) == ("free", "pro")
    assert rows[0]["access_after"]["standing"] == "good"
    for row in rows:
        assert row["event_id"] is None or row["because"].endswith(row["event_id"])


def test_entries_are_found_by_who_did_what_and_when(gateway):
    customer_id, _, _ = gateway.customer()
    gateway.admin.post(f"{ADMIN}/customers/{customer_id}/block", json={"because": "abuse"}).raise_for_status()
    [blocked] = audit(gateway, customer_id=customer_id, actor="admin", action="customer-blocked")
    assert (blocked["access_before"]["tier"], blocked["access_after"]["tier"]) == ("free", None)
    assert blocked["access_after"]["refusal"] == "account-suspended"
    assert audit(gateway, customer_id=customer_id, until=blocked["at"] - 3600) == []
    assert audit(gateway, customer_id=customer_id, since=blocked["at"] + 3600) == []
    refused = gateway.admin.get(f"{ADMIN}/audit", params={"since": "yesterday"})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid-request")


def test_the_policy_in_force_is_noted(gateway, until):
    until(lambda: audit(gateway, action="policy-changed"))
    noted = audit(gateway, action="policy-changed")[0]["after"]
    assert noted["plans"]["pro-monthly"] == "pro"
    assert noted["default_tier"] == "free"


def test_the_log_is_exported_as_json_lines_and_goes_on_where_it_ended(gateway):
    gateway.customer()
    first = gateway.admin.get(f"{ADMIN}/audit/export").raise_for_status()
    assert first.headers["content-type"].startswith("application/jsonl")
    rows = [json.loads(line) for line in first.text.splitlines()]
    upto = int(first.headers["tiergate-audit-upto"])
    assert [row["audit_id"] for row in rows] == sorted(row["audit_id"] for row in rows)
    assert rows[-1]["audit_id"] == upto
    customer_id, _, _ = gateway.customer()
    wanted = {"after": upto, "customer_id": customer_id}
    later = gateway.admin.get(f"{ADMIN}/audit/export", params=wanted).raise_for_status()
    actions = [json.loads(line)["action"] for line in later.text.splitlines()]
    assert actions == ["customer-created", "key-issued"]


def test_the_log_is_exported_as_csv_that_no_spreadsheet_runs(gateway):
    customer_id, _, _ = gateway.customer()
    order = {"because": "=HYPERLINK(1)"}
    gateway.admin.post(f"{ADMIN}/customers/{customer_id}/block", json=order).raise_for_status()
    wanted = {"format": "csv", "customer_id": customer_id}
    answer = gateway.admin.get(f"{ADMIN}/audit/export", params=wanted).raise_for_status()
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [row["action"] for row in rows] == ["customer-created", "key-issued", "customer-blocked"]
    assert (rows[-1]["because"], rows[-1]["tier_before"], rows[-1]["standing_after"]) == (
        "'=HYPERLINK(1)",
        "free",
        "suspended",
    )


def test_only_the_seller_reads_the_log(gateway):
    _, _, client = gateway.customer()
    for path in (f"{ADMIN}/audit", f"{ADMIN}/audit/export"):
        assert client.get(path).status_code == 403
        assert gateway.browser().get(path).status_code == 401
