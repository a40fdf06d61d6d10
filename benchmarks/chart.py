"""A bar chart as SVG: CPU per request, gateway and cache end to end. Readable on light and on dark. Pure text."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

_WIDTH = 860
_NAMES = 250
_VALUES = 150
_ROW = 30
_BAR = 18
_TOP = 66
_STYLE = """\
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 15px }
  .peer { fill: #8c959f } .ours { fill: #1f7a5c } .cache { fill: #c4772a }
  @media (prefers-color-scheme: dark) {
    text { fill: #d5dae0 }
    .peer { fill: #7d8590 } .ours { fill: #3fb58b } .cache { fill: #e0a05a }
  }"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One candidate. Values in microseconds."""

    name: str
    gateway_us: float
    cache_us: float
    is_ours: bool


def draw_chart(title: str, bars: list[Bar]) -> str:
    """The picture, bars in the order given."""
    longest = max((bar.gateway_us + bar.cache_us for bar in bars), default=0.0) or 1.0
    scale = (_WIDTH - _NAMES - _VALUES) / longest
    height = _TOP + _ROW * len(bars) + 12
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"',
        f' role="img" aria-label="{escape(title)}">',
        f"<style>\n{_STYLE}\n</style>",
        f'<text class="title" x="10" y="24">{escape(title)}</text>',
        *_legend(),
    ]
    for number, bar in enumerate(bars):
        lines += _draw_bar(bar, _TOP + number * _ROW, scale)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _legend() -> list[str]:
    lines, x = [], _NAMES
    for kind, words in (("ours", "Tiergate"), ("peer", "peers"), ("cache", "cache server")):
        lines.append(f'<rect class="{kind}" x="{x}" y="38" width="12" height="12" rx="2"/>')
        lines.append(f'<text x="{x + 18}" y="49">{words}</text>')
        x += 110
    return lines


def _draw_bar(bar: Bar, y: int, scale: float) -> list[str]:
    gateway, cache = bar.gateway_us * scale, bar.cache_us * scale
    kind = "ours" if bar.is_ours else "peer"
    words = f"{bar.gateway_us:.1f} us" + (f" + {bar.cache_us:.1f}" if bar.cache_us else "")
    text_y = y + _BAR - 4
    lines = [
        f'<text x="{_NAMES - 10}" y="{text_y}" text-anchor="end">{escape(bar.name)}</text>',
        f'<rect class="{kind}" x="{_NAMES}" y="{y}" width="{gateway:.1f}" height="{_BAR}" rx="2"/>',
    ]
    if bar.cache_us:
        left = _NAMES + gateway
        lines.append(f'<rect class="cache" x="{left:.1f}" y="{y}" width="{cache:.1f}" height="{_BAR}" rx="2"/>')
    lines.append(f'<text x="{_NAMES + gateway + cache + 8:.1f}" y="{text_y}">{words}</text>')
    return lines
