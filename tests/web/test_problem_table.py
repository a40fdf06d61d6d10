"""The table from errors to HTTP is complete, and every code has one page."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateway
from gateway.core.errors import TiergateError
from gateway.web.problem_table import TABLE
from gateway.web.reserved import BILLING_ROUTES

pytestmark = pytest.mark.slow

SECTIONS = dict(
    re.findall(
        r"^## (\S+)\n\n(.*?)(?=\n+## |\s*\Z)",
        (Path(__file__).parents[2] / "docs" / "errors.md").read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
)


def every_error() -> Iterator[type[TiergateError]]:
    for module in pkgutil.walk_packages(gateway.__path__, "gateway."):
        if not module.name.startswith(("gateway.sandbox", "gateway.cli.__main__", "gateway.ledger.migrations")):
            importlib.import_module(module.name)
    found = [TiergateError]
    for error in found:
        found += [subclass for subclass in error.__subclasses__() if subclass not in found]
    return iter(found)


def test_every_code_that_is_raised_has_a_row():
    codes = {error.code for error in every_error() if "code" in vars(error)}
    assert codes - TABLE.keys() == set()


def test_every_row_can_be_raised():
    codes = {error.code for error in every_error() if hasattr(error, "code")}
    assert TABLE.keys() - codes == set()


@pytest.mark.parametrize("code", TABLE)
def test_a_row_reads_well(code):
    kind = TABLE[code]
    assert 400 <= kind.status <= 505
    assert not kind.title.endswith(".")
    assert kind.advice.endswith(".")


def test_the_document_has_a_section_for_each_code_and_no_other():
    assert SECTIONS.keys() == TABLE.keys()


@pytest.mark.parametrize("code", TABLE)
def test_the_document_says_what_the_table_says(code):
    kind, waits = TABLE[code], ""
    if kind.retry_after_s is not None:
        waits = f" Retry-After: {kind.retry_after_s} s unless the answer says otherwise."
    said = f"HTTP {kind.status}. {kind.title}.\n\n{kind.advice}{waits}"
    assert (SECTIONS.get(code, "") + "\n\n").startswith(said + "\n\n")


def test_every_billing_route_is_reserved_and_served(gateway):
    schema = gateway.browser().get("/_tiergate/docs/openapi.json").json()
    served = {path.removeprefix("/api/v1/") for path in schema["paths"] if path.startswith("/api/v1/")}
    assert {path for path in served if not path.startswith("api-keys/")} == set(BILLING_ROUTES)


def test_nothing_is_served_outside_the_reserved_paths(gateway):
    schema = gateway.browser().get("/_tiergate/docs/openapi.json").json()
    assert [path for path in schema["paths"] if not path.startswith(("/api/v1/", "/_tiergate/"))] == []


def test_every_documented_error_is_a_problem_document(gateway):
    schema = gateway.browser().get("/_tiergate/docs/openapi.json").json()
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            for status, answer in operation["responses"].items():
                is_told_as_readiness = (path, status) == ("/_tiergate/ready", "503")
                if int(status) >= 400 and not is_told_as_readiness:
                    assert "application/json" not in answer.get("content", {}), (path, method, status)
