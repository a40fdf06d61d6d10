"""Every rule of the proxy, over raw sockets, under our own server protocol and under stock servers.

`-k ours` plays one server's cases. Those of stock servers are `slow`: `make test-all` plays them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.all_cases import CASES
from tests.conformance.blind_spots import expected_under
from tests.conformance.case import ALL_SERVERS, Case, Expected

pytestmark = pytest.mark.asyncio(loop_scope="session")


def played() -> Iterator[object]:
    for server in ALL_SERVERS:
        for case in CASES:
            if alternatives := expected_under(server, case):
                marks = () if server == "ours" else pytest.mark.slow
                yield pytest.param(server, case, alternatives, id=f"{server} - {case.says}", marks=marks)


@pytest.mark.parametrize(("server", "case", "alternatives"), list(played()))
async def test_what_is_right_happens(rig_of, server: str, case: Case, alternatives: tuple[Expected, ...]):
    await rig_of(server, impatient=case.impatient).check(case, alternatives)
