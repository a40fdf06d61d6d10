from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
Run = Callable[..., Result]
IMPORT = ("customers", "import", "--from-stripe", "--per-second", "80")


@pytest.fixture
def stripe(sandbox: Any) -> Callable[..., str]:
    """Makes a customer at Stripe, with a paid subscription if a price is named."""

    def make(user_id: str | None = None, price: str | None = None, **form: str) -> str:
        if user_id is not None:
            form["metadata[user_id]"] = user_id
        if price is not None:
            form |= {"payment_method": "pm_card_visa", "invoice_settings[default_payment_method]": "pm_card_visa"}
        customer: str = sandbox.post("/v1/customers", **form)["id"]
        if price is not None:
            sandbox.post("/v1/subscriptions", customer=customer, **{"items[0][price]": price})
        return customer

    return make


def imported(run: Run, *arguments: str) -> tuple[int, dict[str, Any]]:
    result = run(*IMPORT, "--json", *arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    report: dict[str, Any] = json.loads(result.stdout)
    return result.exit_code, report


def customers(run: Run) -> dict[str, Any]:
    rows = json.loads(run("customers", "list", "--json").stdout)["customers"]
    return {row["user_id"]: row["stripe_customer_id"] for row in rows}


def tier_of(run: Run, user_id: str) -> Any:
    return json.loads(run("customers", "show", "--user-id", user_id, "--json").stdout)["tier"]


def test_stripe_customers_become_customers_with_what_they_pay_for_and_only_once(
    migrated: Run, stripe: Callable[..., str]
) -> None:
    ada, bob = stripe("ada", "price_pro_monthly"), stripe("bob")
    migrated("customers", "create", "--user-id", "bob")
    exit_code, dry = imported(migrated, "--dry-run")
    assert (exit_code, dry["created"], dry["bound"], dry["conflicts"]) == (0, 1, 1, [])
    assert customers(migrated) == {"bob": None}
    exit_code, report = imported(migrated)
    assert (exit_code, report["listed"], report["created"], report["bound"], report["known"]) == (0, 2, 1, 1, 0)
    assert customers(migrated) == {"ada": ada, "bob": bob}
    assert (tier_of(migrated, "ada"), tier_of(migrated, "bob")) == ("pro", "free")
    exit_code, again = imported(migrated)
    assert (exit_code, again["created"], again["bound"], again["known"], again["granted"]) == (0, 0, 0, 2, 0)
    [row] = [row for row in audit(migrated, "bob") if row["action"] == "stripe-customer-bound"]
    assert row["after"] == {"stripe_customer_id": bob}


def audit(run: Run, user_id: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(run("audit", "list", "--user-id", user_id, "--json").stdout)["entries"]
    return rows


def test_what_cannot_be_decided_is_listed_with_what_to_do_and_bound_to_nobody(
    migrated: Run, stripe: Callable[..., str]
) -> None:
    one, two = stripe("twice", "price_pro_monthly"), stripe("twice")
    nobody, strange = stripe(), stripe("x", **{"metadata[tiergate_customer_id]": "customer9999"})
    taken = stripe("grace")
    assert imported(migrated, "--user-id-from", "metadata:user_id")[0] == 1
    second = stripe("grace")
    result = migrated(*IMPORT)
    assert result.exit_code == 1
    found = {
        cus: line for line in result.stderr.splitlines() for cus in (one, two, nobody, strange, second) if cus in line
    }
    assert "same-user-id" in found[one]
    assert "same-user-id" in found[two]
    assert "no-user-id" in found[nobody]
    assert "another-ledger" in found[strange]
    assert "bound-elsewhere" in found[second]
    assert "Leave the user id with the one that is to be used" in result.stderr
    assert customers(migrated) == {"grace": taken}


def test_of_two_with_one_user_id_the_one_that_names_our_customer_has_it(
    migrated: Run, stripe: Callable[..., str]
) -> None:
    migrated("customers", "create", "--user-id", "ada")
    ours = json.loads(migrated("customers", "list", "--json").stdout)["customers"][0]["customer_id"]
    named = stripe("ada", "price_pro_monthly", **{"metadata[tiergate_customer_id]": ours})
    other = stripe("ada")  # Stripe lists it first
    for options in (("--dry-run",), ()):
        exit_code, report = imported(migrated, *options)
        assert (exit_code, report["bound"], report["created"]) == (1, 1, 0)
        assert [(one["stripe_customer_id"], one["code"]) for one in report["conflicts"]] == [(other, "same-user-id")]
    assert customers(migrated) == {"ada": named}
    assert tier_of(migrated, "ada") == "pro"


def test_user_ids_come_from_the_email_or_are_the_ids_of_stripe(migrated: Run, stripe: Callable[..., str]) -> None:
    cus = stripe(email="ada@example.com")
    imported(migrated, "--user-id-from", "email")
    assert customers(migrated) == {"ada@example.com": cus}
    exit_code, report = imported(migrated, "--user-id-from", "id")
    assert (exit_code, report["known"]) == (0, 1)
    assert migrated(*IMPORT, "--user-id-from", "phone").exit_code == 2


def test_one_that_was_broken_off_goes_on_behind_the_last_that_was_done(
    migrated: Run, stripe: Callable[..., str]
) -> None:
    made = [stripe(f"user{number}") for number in range(3)]
    exit_code, report = imported(migrated, "--after", made[1])
    assert (exit_code, report["listed"], report["cursor"]) == (0, 1, made[0])
    assert customers(migrated) == {"user0": made[0]}
    unknown = migrated(*IMPORT, "--after", "cus_nobody")
    assert (unknown.exit_code, "no customer 'cus_nobody' to go on behind" in unknown.output) == (1, True)


def test_two_with_one_user_id_are_told_also_where_one_of_them_lies_before_the_cursor(
    migrated: Run, stripe: Callable[..., str]
) -> None:
    first, _, last = stripe("ada"), stripe("bob"), stripe("ada")
    exit_code, report = imported(migrated, "--after", last)
    assert exit_code == 1
    assert [one["stripe_customer_id"] for one in report["conflicts"]] == [first]
    assert list(customers(migrated)) == ["bob"]


def test_our_ids_are_written_to_stripe_only_if_that_is_asked(
    migrated: Run, sandbox: Any, stripe: Callable[..., str]
) -> None:
    cus = stripe("ada")

    def metadata() -> Any:
        headers = {"authorization": f"Bearer {sandbox.key}"}
        return httpx.get(f"{sandbox.url}/v1/customers/{cus}", headers=headers, timeout=30).json()["metadata"]

    imported(migrated)
    assert metadata() == {"user_id": "ada"}
    imported(migrated, "--write-metadata")
    ours = json.loads(migrated("customers", "list", "--json").stdout)["customers"][0]["customer_id"]
    written = metadata()
    assert len(written.pop("tiergate_ledger_id")) == 32
    assert written == {"user_id": "ada", "tiergate_customer_id": ours, "tiergate_user_id": "ada"}
    exit_code, report = imported(migrated, "--write-metadata")
    assert (exit_code, report["known"]) == (0, 1)


def test_customers_of_a_ledger_that_is_lost_are_made_again_where_the_operator_names_it(
    migrated: Run, stripe: Callable[..., str]
) -> None:
    labels = {"metadata[tiergate_customer_id]": "customer9999", "metadata[tiergate_user_id]": "ada"}
    cus = stripe(None, "price_pro_monthly", **labels, **{"metadata[tiergate_ledger_id]": "gone"})
    exit_code, report = imported(migrated, "--of-ledger", "unnamed")
    assert (exit_code, [one["code"] for one in report["conflicts"]]) == (1, ["another-ledger"])
    exit_code, report = imported(migrated, "--of-ledger", "gone")
    assert (exit_code, report["restored"], report["created"]) == (0, 1, 0)
    [row] = json.loads(migrated("customers", "list", "--json").stdout)["customers"]
    assert (row["customer_id"], row["user_id"], row["stripe_customer_id"]) == ("customer9999", "ada", cus)
    assert tier_of(migrated, "ada") == "pro"


def test_pages_are_followed(migrated: Run, stripe: Callable[..., str]) -> None:
    expected = {f"user{number}": stripe(f"user{number}") for number in range(101)}
    assert imported(migrated)[0] == 0
    rows = json.loads(migrated("customers", "list", "--limit", "1000", "--json").stdout)["customers"]
    assert {row["user_id"]: row["stripe_customer_id"] for row in rows} == expected


@pytest.mark.slow
def test_imports_at_once_make_nobody_twice(
    migrated: Run, stripe: Callable[..., str], environment: dict[str, str], tmp_path: Path
) -> None:
    expected = {f"user{number}": stripe(f"user{number}") for number in range(20)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", *IMPORT, "--json"],
            env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    reports = [json.loads(process.communicate()[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(report["created"] for report in reports) == 20
    assert all(report["created"] + report["known"] == 20 for report in reports)
    assert customers(migrated) == expected
