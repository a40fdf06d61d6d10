"""Finding the first matching route without trying every line.

A tree of path segments; each node remembers which routes end there, by their line's number.
Following a path visits at most two children a segment (the literal and `*`), so the cost
grows with the path, not with the number of routes. The obvious loop over all routes is the
oracle in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.core.route import Route


@dataclass(slots=True)
class _Node:
    literals: dict[str, _Node] = field(default_factory=dict)
    any_one: _Node | None = None
    here: list[tuple[int, Route]] = field(default_factory=list)
    """Routes whose pattern ends exactly here."""
    below: list[tuple[int, Route]] = field(default_factory=list)
    """Routes whose pattern ends here in `**`."""


class RouteTable:
    """Routes in order; `find` gives the first that matches."""

    __slots__ = ("_root",)

    def __init__(self, routes: Sequence[Route]) -> None:
        self._root = _Node()
        for number, route in enumerate(routes):
            self._insert(number, route)

    def find(self, method: str, path: str) -> Route | None:
        """The first route for `method` and canonical `path` (starts with `/`), or None."""
        nodes = [self._root]
        candidates = list(self._root.below)
        for part in path.split("/")[1:]:
            following = []
            for node in nodes:
                literal = node.literals.get(part)
                if literal is not None:
                    following.append(literal)
                    candidates += literal.below
                if node.any_one is not None:
                    following.append(node.any_one)
                    candidates += node.any_one.below
            if not following:
                return _first(candidates, method)
            nodes = following
        for node in nodes:
            candidates += node.here
        return _first(candidates, method)

    def _insert(self, number: int, route: Route) -> None:
        is_open = route.segments[-1:] == ("**",)
        node = self._root
        for segment in route.segments[:-1] if is_open else route.segments:
            if segment == "*":
                node.any_one = node = node.any_one or _Node()
            else:
                node = node.literals.setdefault(segment, _Node())
        (node.below if is_open else node.here).append((number, route))


def _first(candidates: Iterable[tuple[int, Route]], method: str) -> Route | None:
    found = None
    lowest = -1
    for number, route in candidates:
        if found is not None and number > lowest:
            continue
        if route.methods is None or method in route.methods:
            found, lowest = route, number
    return found
