"""What the documents name is there: pages and headings, files of the gateway, settings, metrics."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.billing import webhook
from gateway.settings import Settings
from gateway.telemetry import Metrics

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks" / "README.md", ROOT / ".env.example"]
)
NOT_SETTINGS = {"TIERGATE_SERVICE_HOST"}  # what Kubernetes makes of a service's name
LABELS = {value for name, value in vars(webhook).items() if name.startswith("METADATA_")}  # on what is at Stripe
_CODE = re.compile(r"```.*?```", re.DOTALL)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", _CODE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_that_is_named_is_one(page):
    known = {f"TIERGATE_{name.upper()}" for name in Settings.model_fields} | NOT_SETTINGS
    named = set(re.findall(r"\bTIERGATE_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))
    assert {name for name in named - known if not name.startswith("TIERGATE_TEST_")} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_is_there(page):
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|lua))`", text))
    assert [name for name in named if not (ROOT / name).exists() and not (ROOT / "gateway" / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_metric_that_is_named_is_kept(page):
    known = LABELS | {metric.name for metric in Metrics().registry.collect()}
    named = re.findall(r"`(tiergate_[a-z_]+)", page.read_text(encoding="utf-8"))
    assert {name.removesuffix("_total") for name in named if not name.endswith("_")} - known == set()
