from __future__ import annotations

import pytest


@pytest.mark.slow
def test_under_any_server_the_app_does_not_start_on_a_ledger_of_another_pepper(gateway, start_gateway):
    """`tiergate serve` says it in a sentence before; inside an app or under uvicorn it is the start that fails."""
    assert gateway.admin.get("/_tiergate/ready").status_code == 200
    with pytest.raises(AssertionError, match="TIERGATE_KEY_PEPPER is not the one"):
        start_gateway(TIERGATE_KEY_PEPPER="another-pepper-that-is-long-enough-for-tests")
