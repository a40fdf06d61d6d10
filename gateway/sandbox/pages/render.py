"""Templates, money and dates, and what every page's answer carries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import MediaType, Response

from gateway.sandbox.records import Price
from gateway.sandbox.world import World

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_YEAR_DIGITS = 2


def money(cents: int, currency: str) -> str:
    """`$29.00`; other currencies by their code."""
    amount = f"{abs(cents) / 100:,.2f}"
    sign = "-" if cents < 0 else ""
    return f"{sign}${amount}" if currency == "usd" else f"{sign}{amount} {currency.upper()}"


def day(at: int) -> str:
    """`24 November 2026`, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%d %B %Y")


def price_text(price: Price) -> str:
    """`$29.00 per month`."""
    each = price.interval if price.interval_count == 1 else f"{price.interval_count} {price.interval}s"
    if price.meter_id is None:
        return f"{money(price.unit_amount, price.currency)} per {each}"
    rates = price.rates
    return f"{'by tiers of usage' if rates.tiers else 'by usage'}, each {each}"


def product_name(world: World, price: Price) -> str:
    """What is sold."""
    return world.product(price.product_id).name


_TEMPLATES = Environment(
    loader=PackageLoader("gateway.sandbox.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["day"] = day
_TEMPLATES.filters["price_text"] = price_text


def render(template: str, *, status: int = 200, **values: Any) -> Response[str]:
    """A page."""
    text = _TEMPLATES.get_template(template).render(**values)
    return Response(text, status_code=status, media_type=MediaType.HTML, headers=_HEADERS)


def message_page(title: str, text: str, *, status: int, link: str | None = None) -> Response[str]:
    """A page that only says something; `link` is the way on."""
    return render("message.html", status=status, title=title, text=text, link=link)
