"""Which parameters an endpoint takes, and of what kind. What is not declared is refused, as Stripe does.

A declaration is a mapping of names to kinds; `read` turns a form into values: absent parameters stay
absent, and the empty string, where Stripe takes it as "unset", becomes None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from gateway.sandbox.wire.form import Tree
from gateway.sandbox.wire.problems import invalid, missing, unknown_param

_LONGEST_TEXT = 5000
_DECIMAL = re.compile(r"\d{1,15}(\.\d{1,12})?")
_MOST_LABELS = 50


class Kind(Protocol):
    """One kind of parameter."""

    @property
    def required(self) -> bool:
        """Whether a request without it is refused."""
        ...

    def read(self, param: str, raw: Any) -> Any:
        """The value, or StripeProblem."""
        ...


Spec = Mapping[str, Kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A string; one of `choices` if there are any; `clearable`: empty unsets."""

    required: bool = False
    clearable: bool = False
    choices: tuple[str, ...] = ()

    def read(self, param: str, raw: Any) -> str | None:
        """The string."""
        if not isinstance(raw, str):
            raise invalid("Invalid string", param)
        if raw == "":
            if self.clearable:
                return None
            message = (
                f"You passed an empty string for '{param}'. We assume empty values are an attempt to unset a "
                f"parameter; however '{param}' cannot be unset."
            )
            raise invalid(message, param, "parameter_invalid_empty")
        if self.choices and raw not in self.choices:
            raise invalid(f"Invalid {param}: must be one of {', '.join(self.choices)}", param)
        if len(raw) > _LONGEST_TEXT:
            raise invalid(f"Invalid string: must be at most {_LONGEST_TEXT} characters", param)
        return raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An integer of at least `least`; `words` are the strings that may stand for one."""

    required: bool = False
    clearable: bool = False
    least: int = 0
    most: int | None = None
    words: tuple[str, ...] = ()

    def read(self, param: str, raw: Any) -> int | str | None:
        """The number, or the word."""
        if raw == "" and self.clearable:
            return None
        if isinstance(raw, str) and raw in self.words:
            return raw
        try:
            number = int(raw)
        except (TypeError, ValueError):
            raise invalid(f"Invalid integer: {raw}", param, "parameter_invalid_integer") from None
        if number < self.least:
            raise invalid(f"Invalid value: must be greater than or equal to {self.least}", param)
        if self.most is not None and number > self.most:
            raise invalid(f"Invalid value: must be less than or equal to {self.most}", param)
        return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """A decimal of at least 0, with at most 12 places."""

    required: bool = False

    def read(self, param: str, raw: Any) -> Decimal:
        """The number, exactly."""
        if not isinstance(raw, str) or _DECIMAL.fullmatch(raw) is None:
            raise invalid(f"Invalid decimal: {raw}", param, "parameter_invalid_decimal")
        return Decimal(raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """`true` or `false`."""

    required: bool = False

    def read(self, param: str, raw: Any) -> bool:
        """The truth."""
        if raw not in ("true", "false"):
            raise invalid(f"Invalid boolean: {raw}", param)
        return bool(raw == "true")


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """A list of strings."""

    required: bool = False

    def read(self, param: str, raw: Any) -> list[str]:
        """The strings, in order."""
        values = _elements(param, raw)
        if not all(isinstance(value, str) and value for value in values):
            raise invalid("Invalid array", param)
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """`metadata`: strings by name; an empty value removes that name, the empty string removes all."""

    required: bool = False

    def read(self, param: str, raw: Any) -> dict[str, str] | None:
        """The changes, or None to remove everything."""
        if raw == "":
            return None
        if not isinstance(raw, dict) or not all(isinstance(value, str) for value in raw.values()):
            raise invalid("Invalid hash", param)
        if len(raw) > _MOST_LABELS:
            raise invalid(f"Metadata can have up to {_MOST_LABELS} keys", param)
        return raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """An object with whatever names, each with a string."""

    required: bool = False

    def read(self, param: str, raw: Any) -> dict[str, str]:
        """The strings by name."""
        if not isinstance(raw, dict) or not all(isinstance(value, str) for value in raw.values()):
            raise invalid("Invalid object", param)
        return raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """An object with parameters of its own."""

    fields: Spec = field(default_factory=dict)
    required: bool = False
    clearable: bool = False

    def read(self, param: str, raw: Any) -> dict[str, Any] | None:
        """The object's values."""
        if raw == "" and self.clearable:
            return None
        if not isinstance(raw, dict):
            raise invalid("Invalid object", param)
        return _read(self.fields, raw, param)


@dataclass(frozen=True, slots=True, kw_only=True)
class Each:
    """A list of objects."""

    fields: Spec
    required: bool = False

    def read(self, param: str, raw: Any) -> list[dict[str, Any]]:
        """The objects' values, in order."""
        values = _elements(param, raw)
        if not all(isinstance(value, dict) for value in values):
            raise invalid("Invalid array", param)
        return [_read(self.fields, value, f"{param}[{at}]") for at, value in enumerate(values)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instants:
    """One instant, or bounds: `created=1`, `created[gte]=1`."""

    required: bool = False

    def read(self, param: str, raw: Any) -> dict[str, int]:
        """Bounds by operator: gt, gte, lt, lte."""
        if isinstance(raw, str):
            at = Whole().read(param, raw)
            raw = {"gte": str(at), "lte": str(at)}
        if not isinstance(raw, dict):
            raise invalid("Invalid range", param)
        bounds = {name: Whole() for name in ("gt", "gte", "lt", "lte")}
        return _read(bounds, raw, param)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Bounds in the newer API's words: `created[gte]=2026-11-01T00:00:00.000Z`."""

    required: bool = False

    def read(self, param: str, raw: Any) -> dict[str, int]:
        """Bounds by operator: gt, gte, lt, lte; in Unix seconds."""
        if not isinstance(raw, dict):
            raise invalid("Invalid range", param)
        bounds = _read({name: Text() for name in ("gt", "gte", "lt", "lte")}, raw, param)
        return {name: _instant(f"{param}[{name}]", text) for name, text in bounds.items()}


def _instant(param: str, text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"Invalid timestamp: {text}", param) from None
    if at.tzinfo is None:
        raise invalid(f"Invalid timestamp without a time zone: {text}", param)
    return int(at.timestamp())


def _elements(param: str, raw: Any) -> list[Any]:
    if isinstance(raw, list):
        return raw
    if isinstance(raw, dict) and all(name.isdigit() for name in raw):
        return [raw[name] for name in sorted(raw, key=int)]
    raise invalid("Invalid array", param)


def _read(spec: Spec, raw: Tree, prefix: str) -> dict[str, Any]:
    def full(name: str) -> str:
        return f"{prefix}[{name}]" if prefix else name

    for name in raw:
        if name not in spec:
            raise unknown_param(full(name))
    for name, kind in spec.items():
        if kind.required and raw.get(name, "") == "":
            raise missing(full(name))
    return {name: spec[name].read(full(name), value) for name, value in raw.items()}


def read(spec: Spec, raw: Tree) -> dict[str, Any]:
    """The values of a request.

    Raises:
        StripeProblem: unknown, missing or malformed parameters; the first one found.
    """
    return _read(spec, raw, "")


def merge_labels(current: Mapping[str, str], params: Mapping[str, Any]) -> Mapping[str, str]:
    """`metadata` after an update: unnamed labels stay, empty ones go."""
    if "metadata" not in params:
        return current
    changes = params["metadata"]
    if changes is None:
        return {}
    return {name: value for name, value in {**current, **changes}.items() if value != ""}
