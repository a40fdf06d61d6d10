"""The cases, the blind spots and docs/conformance.md tell the same."""

from __future__ import annotations

import pytest

from tests.conformance.all_cases import CASES
from tests.conformance.blind_spots import BLIND_SPOTS
from tests.conformance.case import ALL_SERVERS
from tests.conformance.document import parts, table


def test_no_two_cases_say_the_same():
    sentences = [case.says for case in CASES]
    assert sorted(set(sentences)) == sorted(sentences)


@pytest.mark.parametrize("spot", BLIND_SPOTS, ids=lambda spot: f"{spot.server} {spot.hides}"[:60])
def test_a_blind_spot_is_of_a_stock_server_and_of_cases_that_there_are(spot):
    assert spot.server in ALL_SERVERS[1:]
    assert spot.cases
    assert spot.cases.keys() <= {case.says for case in CASES}


def test_the_document_lists_the_blind_spots():
    assert parts()[1] == table()
