from __future__ import annotations

import json
from collections.abc import Callable
from time import time
from typing import Any

import pytest
from click.testing import Result

from gateway.crediting import CreditsInvalid, GrantNotFound

Run = Callable[..., Result]
WHO = ("--user-id", "ada")


@pytest.fixture
def ada(migrated: Run) -> Run:
    """Runs commands where there is a customer `ada`."""
    assert migrated("customers", "create", *WHO).exit_code == 0
    return migrated


def listed(run: Run, *arguments: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(run("credits", "list", *WHO, "--json", *arguments).stdout)["credits"]
    return rows


def test_credits_are_granted_listed_and_revoked(ada: Run) -> None:
    granted = ada("credits", "grant", "5000", *WHO, "--because", "an apology")
    assert granted.exit_code == 0, granted.output
    assert "5,000 requests; they never expire." in granted.stdout
    (row,) = listed(ada)
    assert (row["units"], row["used"], row["reason"], row["ended"]) == (5000, 0, "an apology", None)
    assert row["grant_id"] in ada("credits", "list", *WHO).stdout
    assert "5,000" in ada("customers", "show", *WHO).stdout
    assert ada("credits", "revoke", row["grant_id"], *WHO).exit_code == 0
    assert listed(ada) == []
    assert [one["ended"] for one in listed(ada, "--all")] == ["revoked"]
    again = ada("credits", "revoke", row["grant_id"], *WHO)
    assert isinstance(again.exception, GrantNotFound)


def test_a_grant_with_a_reference_that_is_asked_for_again_is_the_same(ada: Run) -> None:
    order = ("credits", "grant", "5", *WHO, "--reference", "ticket 118")
    first, again = ada(*order), ada(*order)
    assert first.stdout == again.stdout
    assert "nothing was added" in again.stderr
    assert len(listed(ada)) == 1


def test_credits_end_when_it_is_said(ada: Run) -> None:
    before = int(time())
    assert ada("credits", "grant", "5", *WHO, "--expires", "90d").exit_code == 0
    (row,) = listed(ada)
    assert before <= row["expires_at"] - 90 * 86_400 <= int(time()), "a second may begin before it is granted"
    both = ada("credits", "grant", "5", *WHO, "--expires", "90d", "--never-expires")
    assert isinstance(both.exception, CreditsInvalid)
