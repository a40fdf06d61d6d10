"""The table of blind spots in docs/conformance.md. `python -m tests.conformance.document` writes it anew."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.blind_spots import BLIND_SPOTS

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "conformance.md"
BEGIN, END = "<!-- blind spots: begin -->\n", "<!-- blind spots: end -->\n"
_TITLES = {
    "uvicorn-httptools": "uvicorn with httptools",
    "uvicorn-h11": "uvicorn with h11",
    "granian": "Granian",
}


def table() -> str:
    """Markdown, one row a blind spot."""
    rows = ["| server | what it does | what that means | what closes it | cases |", "|---|---|---|---|---|"]
    rows += [
        f"| {_TITLES[spot.server]} | {spot.hides} | {spot.effect} | {spot.closed_by} | {len(spot.cases)} |"
        for spot in BLIND_SPOTS
    ]
    return "\n".join(rows) + "\n"


def parts() -> tuple[str, str, str]:
    """The document before, in and behind the table."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    inside, _, behind = rest.partition(END)
    return before, inside, behind


if __name__ == "__main__":
    before, _, behind = parts()
    DOCUMENT.write_text(before + BEGIN + table() + END + behind)
