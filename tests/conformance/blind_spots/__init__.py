"""What stock servers do not show to the gateway, and what comes of the cases there instead.

Our own server protocol has no entry here. Each entry is a row of the table in docs/conformance.md; a
test keeps the two alike. An entry without an expectation cannot be played: there is nothing to see.
"""

from __future__ import annotations

from tests.conformance.blind_spots import granian, h11, httptools
from tests.conformance.case import Case, Expected

BLIND_SPOTS = (*httptools.BLIND_SPOTS, *h11.BLIND_SPOTS, *granian.BLIND_SPOTS)


def expected_under(server: str, case: Case) -> tuple[Expected, ...]:
    """What may come of a case under a server; empty: it is not played there."""
    for spot in BLIND_SPOTS:
        if spot.server == server and case.says in spot.cases:
            return spot.cases[case.says]
    return case.expects
