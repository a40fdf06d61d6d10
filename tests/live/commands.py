"""The command line, as a seller runs it, with the account's key in the environment and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import ROOT, SECRETS
from tests.live.account import StripeAccount

_LONGEST_S = 300


class CommandLine:
    """`tiergate`, in a directory of its own.

    Args:
        account: Whose key it has.
        folder: Where its data and its policy are.
    """

    def __init__(self, account: StripeAccount, folder: Path) -> None:
        policies = folder / "policies of the command line"
        policies.mkdir()
        (policies / "policy.yaml").write_text(account.names.policy())
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TIERGATE_", "STRIPE_"))}
        settings = {
            **SECRETS,
            "STRIPE_SECRET_KEY": account.key,
            "PYTHONPATH": str(ROOT),
            "TIERGATE_PUBLIC_URL": account.public_url,
            "TIERGATE_UPSTREAM_URL": "http://127.0.0.1:9",
            "TIERGATE_DATA_DIR": str(folder / "data"),
            "TIERGATE_POLICY_DIR": str(policies),
        }
        if account.base_url is not None:
            settings["TIERGATE_STRIPE_URL"] = account.base_url
        self._environment = inherited | settings
        self._folder = folder

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gateway.cli", *arguments],
            env=self._environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )
