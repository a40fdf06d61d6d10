"""YAML as a tree of text, lists and mappings, every node with its place.

Only the part of YAML that reads alike to everyone: no anchors or aliases (so a small file
stays small), no tags, no implicit types (`no` and `1e3` are text until a section says
otherwise), no duplicate keys, no tabs for indentation, bounded depth.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import yaml

from gateway.policyfiles.faults import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.policyfiles.faults import FaultLog
    from gateway.policyfiles.sources import SourceFile

MAX_DEPTH = 16

_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_TAB_INDENT = re.compile("^ *\t", re.MULTILINE)
_UNPRINTABLE = yaml.reader.Reader.NON_PRINTABLE
_EMPTY_WORDS = frozenset({"", "~", "null"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A scalar, as written."""

    value: str
    place: Place
    is_empty: bool = False
    """Nothing was written (`requests:`), or `~`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A sequence."""

    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """Keys in the order written; each key once."""

    entries: tuple[tuple[Text, Node], ...]
    place: Place


Node: TypeAlias = Text | Listing | Mapping


class _Mark(Protocol):
    """Where PyYAML says that something stands, counted from 0."""

    line: int
    column: int


class _Unreadable(Exception):
    """Reading this file cannot go on."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


def read_document(source: SourceFile, faults: FaultLog) -> Mapping | None:
    """Parse one file; None if it cannot be read at all, with the fault in `faults`."""
    reader = _Reader(source.name, faults)
    try:
        return reader.read(source.content)
    except _Unreadable as stop:
        faults.is_partial = True
        faults.add(stop.place, stop.message)
        return None


class _Reader:
    """Turns the events of one file into nodes."""

    def __init__(self, name: str, faults: FaultLog) -> None:
        self._name = name
        self._faults = faults
        self._lines: list[str] = []

    def read(self, content: bytes) -> Mapping | None:
        text = self._decode(content)
        events = self._events(text)
        next(events)  # the start of the stream
        if isinstance(next(events), yaml.StreamEndEvent):
            raise _Unreadable(Place(file=self._name), "is empty: it should begin with 'version: 1'")
        node = self._node(next(events), events, depth=0)
        next(events)  # the end of the document
        following = next(events)
        if not isinstance(following, yaml.StreamEndEvent):
            raise _Unreadable(self._place(following.start_mark), "a second YAML document: a file holds one")
        if isinstance(node, Mapping):
            return node
        if isinstance(node, Text) and node.is_empty:
            raise _Unreadable(Place(file=self._name), "is empty: it should begin with 'version: 1'")
        raise _Unreadable(node.place, "a policy file is a mapping that begins with 'version: 1'")

    def _decode(self, content: bytes) -> str:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self._lines = _LINE_END.split(content.decode("utf-8", "replace"))
            place = self._at(content[: error.start].decode("utf-8", "replace"))
            raise _Unreadable(place, f"byte 0x{content[error.start]:02x} is not UTF-8") from None
        self._lines = _LINE_END.split(text)
        for pattern, message in (
            (_UNPRINTABLE, "a control character, which YAML does not allow"),
            (_TAB_INDENT, "a tab in the indentation: YAML is indented with spaces"),
        ):
            found = pattern.search(text)
            if found is not None:
                raise _Unreadable(self._at(text[: found.end() - 1]), message)
        return text

    def _events(self, text: str) -> Iterator[yaml.Event]:
        reached = Place(file=self._name)
        try:
            for event in yaml.parse(text, Loader=yaml.SafeLoader):
                reached = self._place(event.end_mark)
                yield event
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise _Unreadable(self._place(mark), _explain(error)) from None
        except yaml.YAMLError as error:
            raise _Unreadable(reached, f"not valid YAML after this: {error}") from None
        except (ValueError, OverflowError):  # PyYAML does not check the numbers of escapes and directives
            raise _Unreadable(reached, "not valid YAML after this: an escape or directive out of range") from None

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        place = self._place(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            raise _Unreadable(place, "aliases are not read here; text that starts with '*' must be in quotes")
        if not isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            raise _Unreadable(place, "not valid YAML: a value was expected here")
        if event.anchor is not None:
            raise _Unreadable(place, "anchors are not read here; text that starts with '&' must be in quotes")
        if event.tag is not None:
            raise _Unreadable(place, "tags are not read here; text that starts with '!' must be in quotes")
        if depth > MAX_DEPTH:
            raise _Unreadable(place, f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.ScalarEvent):
            if _UNPRINTABLE.search(event.value) is not None:
                raise _Unreadable(place, "an escape that stands for a control character or half a character")
            is_empty = event.style is None and event.value.casefold() in _EMPTY_WORDS
            return Text(value=event.value, place=place, is_empty=is_empty)
        if isinstance(event, yaml.SequenceStartEvent):
            return Listing(items=tuple(self._items(events, depth)), place=place)
        return Mapping(entries=tuple(self._entries(events, depth)), place=place)

    def _items(self, events: Iterator[yaml.Event], depth: int) -> Iterator[Node]:
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                return
            yield self._node(event, events, depth + 1)

    def _entries(self, events: Iterator[yaml.Event], depth: int) -> Iterator[tuple[Text, Node]]:
        seen: dict[str, Place] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                return
            key = self._node(event, events, depth + 1)
            value = self._node(next(events), events, depth + 1)
            if not isinstance(key, Text):
                raise _Unreadable(key.place, "a key must be plain text")
            if key.value in seen:
                message = f"{key.value!r} is defined twice: first at {seen[key.value]}"
                self._faults.add(key.place, message)
                continue
            seen[key.value] = key.place
            yield key, value

    def _place(self, mark: _Mark | None) -> Place:
        if mark is None:
            return Place(file=self._name)
        line = self._lines[mark.line] if mark.line < len(self._lines) else ""
        return Place(file=self._name, line=mark.line + 1, column=mark.column + 1, source_line=line[:500])

    def _at(self, before: str) -> Place:
        lines = _LINE_END.split(before)
        index = len(lines) - 1
        line = self._lines[index] if index < len(self._lines) else ""
        return Place(file=self._name, line=index + 1, column=len(lines[-1]) + 1, source_line=line[:500])


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or str(error)
    if error.context == "while scanning an alias":
        return "text that starts with '*' must be in quotes"
    if problem == "mapping values are not allowed here":
        return "a key is not expected here: check the indentation, and put text that holds ': ' in quotes"
    if "could not find expected ':'" in problem:
        return "a ':' is missing after a key"
    if error.context in {"while parsing a flow mapping", "while parsing a flow sequence"}:
        return f"not valid YAML: {problem} ({error.context}): is a bracket, comma or quote missing?"
    return f"not valid YAML: {problem}"
