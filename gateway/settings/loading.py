"""Reading the settings: all faults at once, each with the name of its variable and an example.

No fault repeats a value, which may be a secret.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError

from gateway.settings.examples import EXAMPLES
from gateway.settings.rules import variable
from gateway.settings.service_links import service_links
from gateway.settings.settings import Settings

_WEBHOOK_SECRET = "STRIPE_WEBHOOK_SECRET"  # noqa: S105 - a name
_OUR_NAMES = ("TIERGATE_", "STRIPE_")
_NEAR_FOR_SURE = 0.9


class SettingsInvalid(Exception):
    """The process must not start. `faults` are complete sentences, all of them, no secret in any."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def load_settings(env_file: Path | None = None, *, needs_webhook_secret: bool = True) -> Settings:
    """Read and check every setting at once.

    Args:
        env_file: Read instead of `.env` in the working directory. The environment wins over it.
        needs_webhook_secret: False: where there is none, or what can be none, one that nobody knows stands in for it.
            For the command that makes the endpoint whose secret it will be.

    Raises:
        SettingsInvalid: With every fault found, none of which echoes a value.
    """
    file = env_file if env_file is not None else Path(".env")
    if env_file is not None and not env_file.is_file():
        raise SettingsInvalid((f"{env_file}: no such settings file",))
    unknown = _unknown_names(file)
    try:
        settings = Settings(_env_file=file)  # type: ignore[call-arg]  # a keyword of pydantic-settings, for every model
    except ValidationError as error:
        if not needs_webhook_secret and all(_is_of_webhook_secret(detail) for detail in error.errors()):
            return Settings(_env_file=file, **{_WEBHOOK_SECRET: f"whsec_{token_hex(32)}"})  # type: ignore[arg-type, call-arg]  # as above
        faults = tuple(_sentence(detail) for detail in error.errors(include_input=False))
        raise SettingsInvalid((*faults, *unknown)) from None
    if unknown:
        raise SettingsInvalid(unknown)
    return settings


def _is_of_webhook_secret(detail: Mapping[str, Any]) -> bool:
    return _variable_of(str(detail["loc"][0])) == _WEBHOOK_SECRET


def find_policy_dir() -> Path:
    """The policy directory in the settings, whatever else is in them or missing: for a look at the files alone."""
    name, env_file = "TIERGATE_POLICY_DIR", Path(".env")
    value = os.environ.get(name) or (dotenv_values(env_file).get(name) if env_file.is_file() else None)
    return Path(value) if value else Path(Settings.model_fields["policy_dir"].default)


def _variable_of(name: str) -> str:
    field = Settings.model_fields.get(name)
    alias = field.validation_alias if field is not None else None
    if isinstance(alias, str):
        return alias
    return name if name.isupper() else variable(name)


def _sentence(detail: Mapping[str, Any]) -> str:
    """One fault as pydantic reports it, which is always about one setting."""
    name = _variable_of(str(detail["loc"][0]))
    what = "is not set" if detail["type"] == "missing" else str(detail["msg"]).removeprefix("Value error, ")
    return f"{name}: {what}. Example: {_example(name)}"


def _example(name: str) -> str:
    if name in EXAMPLES:
        return EXAMPLES[name]
    field = next(field for key, field in Settings.model_fields.items() if _variable_of(key) == name)
    return f"{name}={field.default}"


def _unknown_names(env_file: Path) -> tuple[str, ...]:
    known = {_variable_of(name) for name in Settings.model_fields}
    given = set(os.environ).difference(service_links())
    given |= set(dotenv_values(env_file)) if env_file.is_file() else set()
    faults = []
    for name in sorted(given - known):
        if name.startswith("TIERGATE_TEST_") or not name.startswith(_OUR_NAMES):
            continue
        is_ours = name.startswith("TIERGATE_")
        near = difflib.get_close_matches(name, known, 1, 0.6 if is_ours else _NEAR_FOR_SURE)
        if is_ours or (near and near[0] not in given):  # other programs have settings that begin with STRIPE_
            faults.append(f"{name}: there is no such setting." + (f" Did you mean {near[0]}?" if near else ""))
    return tuple(faults)
