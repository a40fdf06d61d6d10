"""Send every raw case of the conformance suite to nginx, Caddy and this gateway, and write down where they differ.

`python -m tests.fuzz.differential` writes docs/differences.md. It ends with 1 if a difference has
no reason in `tests.fuzz.groups`. Cases that need pauses, short time-outs or an upstream that
answers early are left out.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.all_cases import THEMES
from tests.conformance.case import KEY, Case
from tests.fakes.gateway_process import running_gateway
from tests.fuzz.calls import Canary
from tests.fuzz.groups import GROUPS, group_of
from tests.fuzz.oracle import Request
from tests.fuzz.peers import Missing, listens, running_caddy, running_nginx
from tests.fuzz.recorder import Recorder
from tests.fuzz.side_by_side import Seen, Sent, play

OURS = "Tiergate"
PAGE = Path(__file__).parent.parent.parent / "docs" / "differences.md"
_LARGEST = 300_000
_HEAD = (
    "# Where nginx and Caddy do otherwise\n\n"
    "The raw requests of the conformance suite (`tests/conformance`), sent to this gateway, to nginx and to Caddy in"
    " front of the same upstream. All three forward everything to it; this gateway also asks for a key. Left out are"
    " cases that need pauses or short time-outs. `make differential` plays them again and writes this page; it fails"
    " if a difference has no reason here.\n\n"
    "Cases are named as the suite names them, by what Tiergate does. An outcome is the status of each answer, whether"
    " the connection took another request then (`open`), was `closed`, or the proxy still `waits`, and what the"
    " upstream got if that is not what Tiergate sends it.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One case, and what each proxy did."""

    case: str
    seen: dict[str, Seen]

    def words(self, proxy: str) -> str:
        """What a proxy did."""
        ours, seen = self.seen[OURS], self.seen[proxy]
        words = seen.outcome
        if proxy != OURS and (told := _forwarded_words(ours, seen)):
            words += f", {told}"
        return words

    def differs(self, proxy: str) -> bool:
        """Whether it did otherwise than this gateway."""
        ours, seen = self.seen[OURS], self.seen[proxy]
        bodies = ours.bodies == seen.bodies or any(status[:1] != "2" for status in ours.answers)
        return self.words(proxy) != self.words(OURS) or not bodies


def _forwarded_words(ours: Seen, seen: Seen) -> str:
    """What is forwarded otherwise; empty if nothing is."""
    if seen.forwarded == ours.forwarded:
        return ""
    if len(seen.forwarded) != len(ours.forwarded):
        return "forwarded" if seen.forwarded else "not forwarded"
    told: list[str] = []
    for mine, theirs in zip(ours.forwarded, seen.forwarded, strict=True):
        told += _changes(mine, theirs)
    return "; ".join(dict.fromkeys(told)) or "forwards its fields in another order"


def _changes(mine: Sent, theirs: Sent) -> list[str]:
    told = []
    if mine.line != theirs.line:
        told.append(f"forwards `{theirs.line.decode('latin-1')}`")
    if mine.body != theirs.body:
        told.append("forwards another body")
    more = {name for name, value in theirs.fields if (name, value) not in mine.fields}
    less = {name for name, value in mine.fields if (name, value) not in theirs.fields}
    for words, names in (
        ("forwards", more - less),
        ("does not forward", less - more),
        ("forwards another value of", more & less),
    ):
        if names:
            told.append(f"{words} " + ", ".join(f"`{name.decode('latin-1')}`" for name in sorted(names)))
    return told


def cases() -> Iterator[tuple[str, Case]]:
    """What is played: the name, theme first, and the case."""
    for theme in THEMES:
        for case in theme.CASES:
            plain = (
                not case.impatient and not case.upstream.early and all(isinstance(step, bytes) for step in case.sends)
            )
            if plain and sum(map(len, case.sends)) <= _LARGEST:
                yield f"{theme.__name__.rpartition('.')[2]}: {case.says}", case


class _Run:
    def __init__(self, recorder: Recorder, key: bytes) -> None:
        self._recorder = recorder
        self._key = key
        self._number = 0

    async def row(self, name: str, case: Case, ports: dict[str, int]) -> Row:
        """Play one case against each."""
        data = b"".join(step for step in case.sends if isinstance(step, bytes)).replace(KEY, self._key)
        self._recorder.script = lambda transport, request: _answers(case, transport, request)
        seen = {}
        for proxy, port in ports.items():
            self._number += 1
            seen[proxy] = await play(port, self._recorder, data, Canary(self._number, self._key))
        return Row(case=name, seen=seen)


def _answers(case: Case, transport: asyncio.Transport, request: Request) -> bool:
    if request.target.startswith(b"/v1/canary") or case.upstream.sends is None:
        return False
    transport.write(case.upstream.sends + b"x" * case.upstream.pads_to)
    if case.upstream.then == "reset":
        transport.abort()
    elif case.upstream.then != "keep":
        transport.close()
    return True


async def play_all(folder: Path) -> tuple[list[Row], dict[str, str]]:
    """All rows, and the version of each peer that is here."""
    async with AsyncExitStack() as stack:
        recorder = await stack.enter_async_context(Recorder())
        starting = running_gateway(recorder.port, ("* /**",))
        gateway = await asyncio.to_thread(starting.__enter__)
        stack.push_async_callback(asyncio.to_thread, starting.__exit__, None, None, None)
        ports, versions = {OURS: gateway.port}, {}
        for name, running in (("nginx", running_nginx), ("Caddy", running_caddy)):
            try:
                versions[name], ports[name] = stack.enter_context(running(folder, recorder.port))
            except Missing as missing:
                sys.stderr.write(f"WITHOUT {name}: {missing}\n")
        for port in ports.values():
            await listens(port)
        run = _Run(recorder, gateway.key)
        return [await run.row(name, case, ports) for name, case in cases()], versions


def page(rows: list[Row], versions: dict[str, str]) -> tuple[str, list[str]]:
    """The page, and the differences without a reason."""
    unexplained: list[str] = []
    found: dict[str, dict[tuple[str, ...], list[str]]] = {}
    same = 0
    for row in rows:
        if not any(row.differs(proxy) for proxy in versions):
            same += 1
            continue
        group = group_of(row.case)
        words = tuple(row.words(proxy) for proxy in (OURS, *versions))
        if group is None:
            unexplained.append(f"{row.case}: {words}")
        else:
            found.setdefault(group.title, {}).setdefault(words, []).append(row.case.partition(": ")[2])
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    parts = [_HEAD, f"Played: {len(rows)} cases with {named}. In {same} all do the same.\n"]
    parts += [
        f"## {group.title}\n\n{group.why}\n\n{_table(found[group.title], tuple(versions))}"
        for group in GROUPS
        if group.title in found
    ]
    return "\n".join(parts), unexplained


def _table(rows: dict[tuple[str, ...], list[str]], proxies: tuple[str, ...]) -> str:
    lines = [f"| case | {' | '.join((OURS, *proxies))} |", "|---" * (2 + len(proxies)) + "|"]
    for words, names in rows.items():
        shown = [word.replace("|", "\\|") for word in words]
        shown[1:] = ["the same" if word == shown[0] else word for word in shown[1:]]
        lines.append(f"| {'; '.join(names)} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        rows, versions = runner.run(play_all(Path(folder)))
    if not versions:
        sys.stderr.write("There is nothing to compare with.\n")
        return 1
    text, unexplained = page(rows, versions)
    if len(versions) == 2:
        PAGE.write_text(text)
    for one in unexplained:
        sys.stderr.write(f"NO REASON: {one}\n")
    sys.stdout.write(f"{len(rows)} cases, {len(unexplained)} without a reason\n")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
