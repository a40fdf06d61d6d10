"""Options and values that several commands take."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from gateway.core.account import LAST_INSTANT
from gateway.core.limit_text import LimitInvalid, parse_duration_s

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_DURATION_S = 3660 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """One customer as the command line names it. Exactly one of the two is set."""

    customer_id: str | None
    user_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """When something ends: after a while, or at an instant. Exactly one of the two is set."""

    after_s: int | None = None
    at: int | None = None

    def instant(self, now: float) -> int:
        """Unix seconds."""
        return self.at if self.at is not None else int(now) + (self.after_s or 0)


class DurationType(click.ParamType[int]):
    """`7d`, `24h`, `30m`, `90s`: whole seconds, at most `longest_s`."""

    name = "duration"

    def __init__(self, longest_s: int = LONGEST_DURATION_S) -> None:
        self.longest_s = longest_s

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Seconds; fails with an example."""
        if isinstance(value, int):
            return value
        try:
            seconds = parse_duration_s(value)
        except LimitInvalid as error:
            self.fail(f"{error}.", param, ctx)
        if seconds > self.longest_s:
            self.fail(f"{value!r} is more than {self.longest_s // 86_400} days.", param, ctx)
        return seconds


class EndingType(click.ParamType[Ending]):
    """`30d`, `2027-01-31` (its first moment, UTC) or `2027-01-31T12:00:00+01:00`."""

    name = "duration|date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Ending:
        """The ending; fails with an example."""
        if isinstance(value, Ending):
            return value
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            if "-" in value:
                self.fail(f"{value!r} is not a date: write it like 2027-01-31 or 30d.", param, ctx)
            return Ending(after_s=DURATION.convert(value, param, ctx))
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        at = int(instant.timestamp())
        if at > LAST_INSTANT:
            self.fail(f"{value!r} lies beyond the year 9999 in UTC.", param, ctx)
        return Ending(at=at)


DURATION = DurationType()
ENDING = EndingType()


def examples(*lines: str) -> str:
    """The end of a command's help: lines to copy."""
    return "\n".join(["\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--json`, given to the command as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")(command)


def who_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--customer` and `--user-id`, of which exactly one must be given; the command gets `who`."""

    @click.option("--customer", "customer_id", metavar="ID", help="Tiergate's own id of the customer.")
    @click.option("--user-id", metavar="USER", help="The id that your application gave the customer.")
    @functools.wraps(command)
    def checked(*args: Any, customer_id: str | None, user_id: str | None, **kwargs: Any) -> Any:
        return command(*args, who=name_one(customer_id, user_id), **kwargs)

    return checked


def name_one(customer_id: str | None, user_id: str | None) -> Who:
    """The customer that was named.

    Raises:
        click.UsageError: None was named, or two.
    """
    if (customer_id is None) == (user_id is None):
        raise click.UsageError("Name one customer: either --customer ID or --user-id USER.")
    return Who(customer_id=customer_id, user_id=user_id)
