"""Making a case that fails as small as it gets while it fails in the same way."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

_MOST_TRIES = 1500


def kind_of(wrong: str) -> str:
    """What findings have in common when only numbers and bytes differ."""
    return re.sub(r"b['\"].*|[0-9]+", "", wrong)[:40]


async def shrink(case: Any, wrong: str, check: Callable[[Any], Awaitable[str | None]]) -> tuple[Any, str]:
    """A smaller case, and what is wrong with it. The case itself if it does not fail again."""
    kind, tries = kind_of(wrong), 0
    goes_on = True
    while goes_on:
        goes_on = False
        for smaller in _smaller(case):
            tries += 1
            if tries > _MOST_TRIES:
                return case, wrong
            found = await check(smaller)
            if found is not None and kind_of(found) == kind:
                case, wrong, goes_on = smaller, found, True
                break
    return case, wrong


def _smaller(case: Any) -> Iterator[Any]:
    """Simpler cases, the simplest first."""
    if isinstance(case, bytes):
        yield from _shorter(case)
        return
    for field in dataclasses.fields(case):
        value = getattr(case, field.name)
        for simpler in _simpler(field, value):
            yield dataclasses.replace(case, **{field.name: simpler})


def _simpler(field: Any, value: Any) -> Iterator[Any]:
    if field.name == "pieces":
        data = b"".join(value)
        if len(value) > 1:
            yield (data,)
        if len(value) <= 1:
            yield from ((shorter,) for shorter in _shorter(data))
        else:
            yield from ((*value[:at], value[at] + value[at + 1], *value[at + 2 :]) for at in range(len(value) - 1))
            for at, piece in enumerate(value):
                yield from ((*value[:at], shorter, *value[at + 1 :]) for shorter in _shorter(piece))
    elif isinstance(value, tuple):
        yield from (value[:at] + value[at + 1 :] for at in range(len(value)) if len(value) > 1)
        for at, one in enumerate(value):
            yield from ((*value[:at], smaller, *value[at + 1 :]) for smaller in _smaller(one))
    elif dataclasses.is_dataclass(value):
        yield from _smaller(value)
    elif value is True:
        yield False


def _shorter(data: bytes) -> Iterator[bytes]:
    """The same bytes without some of them: large pieces first."""
    step = len(data) // 2
    while step:
        yield from (data[:at] + data[at + step :] for at in range(0, len(data), step))
        step //= 2
