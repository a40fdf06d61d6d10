"""Finding the first matching route without trying every line.

Routes stand in a tree of their segments (`core.segment_tree`), each with its line's number;
of those that match a path, the lowest number decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.segment_tree import SegmentTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.core.route import Route


_REMEMBERED = 4096
_REMEMBERED_LENGTH = 128


class RouteTable:
    """Routes in order; `find` gives the first that matches. Answers are remembered, up to a bound."""

    __slots__ = ("_found", "_tree")

    def __init__(self, routes: Sequence[Route]) -> None:
        self._tree: SegmentTree[tuple[int, Route]] = SegmentTree()
        for number, route in enumerate(routes):
            self._tree.insert(route.segments, (number, route))
        self._found: dict[tuple[str, str], Route | None] = {}

    def find(self, method: str, path: str) -> Route | None:
        """The first route for `method` and canonical `path` (starts with `/`), or None."""
        asked = (method, path)
        found = self._found
        if asked in found:
            return found[asked]
        route = _first(self._tree.covering(path.split("/")[1:]), method)
        if len(path) <= _REMEMBERED_LENGTH:
            if len(found) >= _REMEMBERED:
                found.clear()
            found[asked] = route
        return route


def _first(candidates: Iterable[tuple[int, Route]], method: str) -> Route | None:
    found = None
    lowest = -1
    for number, route in candidates:
        if found is not None and number > lowest:
            continue
        if route.methods is None or method in route.methods:
            found, lowest = route, number
    return found
