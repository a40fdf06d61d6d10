from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

Run = Callable[..., Result]
WHO = ("--user-id", "ada")


def entries(run: Run, *arguments: str) -> list[dict[str, Any]]:
    listed = run("audit", "list", "--json", *arguments)
    assert listed.exit_code == 0, listed.output
    found: list[dict[str, Any]] = json.loads(listed.stdout)["entries"]
    return found


def test_the_log_tells_who_changed_access_from_what_to_what(migrated: Run) -> None:
    migrated("customers", "create", *WHO)
    migrated("customers", "grant", *WHO, "--tier", "pro", "--for", "30d", "--because", "a present")
    migrated("customers", "block", *WHO, "--because", "abuse")
    blocked, granted, created = entries(migrated, *WHO)
    assert (granted["actor"], granted["because"], granted["access_before"]["tier"]) == ("operator", "a present", "free")
    assert (granted["access_after"]["tier"], granted["access_after"]["standing"]) == ("pro", "good")
    assert (blocked["access_before"]["tier"], blocked["access_after"]["refusal"]) == ("pro", "account-suspended")
    assert (created["access_before"], created["access_after"]) == (None, None)
    text = " ".join(migrated("audit", "list", *WHO, "--action", "tier-granted").stdout.split())
    assert "a present" in text
    assert [row["action"] for row in entries(migrated, "--since", "1d", "--limit", "1")] == ["customer-blocked"]
    assert entries(migrated, "--until", "1d") == []


def test_the_log_is_changed_by_a_command_also_while_the_policy_is_not_valid(migrated: Run, policies: Path) -> None:
    migrated("customers", "create", *WHO)
    (policies / "broken.yaml").write_text("tiers: 5\n")
    assert migrated("customers", "block", *WHO, "--because", "abuse").exit_code == 0
    [blocked] = entries(migrated, *WHO, "--action", "customer-blocked")
    assert (blocked["access_before"], blocked["access_after"]) == (None, None)


def test_an_export_goes_on_where_the_one_before_ended(migrated: Run, tmp_path: Path) -> None:
    migrated("customers", "create", *WHO)
    first = migrated("audit", "export")
    assert first.exit_code == 0, first.output
    [row] = [json.loads(line) for line in first.stdout.splitlines()]
    assert row["action"] == "customer-created"
    assert f"--after {row['audit_id']}" in first.stderr
    migrated("customers", "create", "--user-id", "grace")
    kept = tmp_path / "audit.csv"
    after = str(row["audit_id"])
    assert migrated("audit", "export", "--format", "csv", "--after", after, "--output", str(kept)).exit_code == 0
    with kept.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [json.loads(one["after"])["user_id"] for one in rows] == ["grace"]
    assert f"--after {rows[0]['audit_id']}" in migrated("audit", "export", "--after", rows[0]["audit_id"]).stderr


def test_one_customer_is_named_once(migrated: Run) -> None:
    migrated("customers", "create", *WHO)
    refused = migrated("audit", "list", *WHO, "--customer", "c1")
    assert (refused.exit_code, "Name one customer" in refused.output) == (2, True)
    assert migrated("audit", "list", "--user-id", "nobody").exit_code == 1
