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


def test_a_kept_file_is_whole_or_as_it_was(migrated: Run, environment: dict[str, str], tmp_path: Path) -> None:
    kept = tmp_path / "audit.csv"
    write = ("audit", "export", "--format", "csv", "--output", str(kept))
    migrated("customers", "create", *WHO)
    assert migrated(*write).exit_code == 0
    first = kept.read_text(encoding="utf-8")
    [entry] = entries(migrated)
    migrated("customers", "create", "--user-id", "grace")
    assert migrated(*write, "--after", str(entry["audit_id"])).exit_code == 0
    both = kept.read_text(encoding="utf-8")
    assert both.startswith(first)
    assert [row["action"] for row in csv.DictReader(both.splitlines())] == ["customer-created"] * 2
    assert migrated(*write).exit_code == 0
    assert kept.read_text(encoding="utf-8") == both

    environment["TIERGATE_LEDGER_URL"] = "postgresql://127.0.0.1:9/nothing"
    for more in ((), ("--after", "1")):
        refused = migrated(*write, *more)
        assert (refused.exit_code, "Traceback" in refused.output) == (1, False)
        assert kept.read_text(encoding="utf-8") == both
    assert [one.name for one in tmp_path.iterdir() if "audit" in one.name] == ["audit.csv"]


def test_a_file_that_cannot_be_written_is_told(migrated: Run, tmp_path: Path) -> None:
    refused = migrated("audit", "export", "--output", str(tmp_path / "nowhere" / "audit.jsonl"))
    assert (refused.exit_code, "cannot be written" in refused.output) == (1, True)


def test_one_customer_is_named_once(migrated: Run) -> None:
    migrated("customers", "create", *WHO)
    refused = migrated("audit", "list", *WHO, "--customer", "c1")
    assert (refused.exit_code, "Name one customer" in refused.output) == (2, True)
    assert migrated("audit", "list", "--user-id", "nobody").exit_code == 1
