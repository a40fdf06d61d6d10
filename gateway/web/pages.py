"""The pages for people, under `/_tiergate`: pricing, success, sign-in and account.

They are forms and links; each shows what the use cases answer and decides nothing. A form that
another site sent is refused before anything else happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Response, Router, get
from litestar.di import Provide

from gateway.web.account_page import create_key, revoke_key, rotate_key, show_account
from gateway.web.callers import AnyRequest
from gateway.web.other_sites import refuse_other_sites
from gateway.web.page_errors import PAGE_EXCEPTION_HANDLERS
from gateway.web.page_frame import STYLE_SHEET, STYLE_VERSION, open_visit
from gateway.web.plan_change_page import change, keep, show_change
from gateway.web.portal_page import follow_portal, open_portal
from gateway.web.pricing_page import buy, show_pricing, show_start
from gateway.web.sign_in_page import show_sign_in, sign_in, sign_out
from gateway.web.spend_cap_page import set_cap
from gateway.web.statement_page import show_account_statement
from gateway.web.success_page import replace_key, show_success

if TYPE_CHECKING:
    from litestar.types import ControllerRouterHandler


@get("/static/style.css", include_in_schema=False)
async def style_sheet(request: AnyRequest) -> Response[bytes]:
    """The style sheet. Pages name its version, so that browsers may keep it and still get a new one at once."""
    tag = f'"{STYLE_VERSION}"'
    is_named = request.query_params.get("v") == STYLE_VERSION
    headers = {
        "etag": tag,
        "cache-control": "max-age=31536000, immutable" if is_named else "max-age=300",
        "x-content-type-options": "nosniff",
    }
    if request.headers.get("if-none-match") == tag:
        return Response(content=b"", status_code=304, headers=headers)
    return Response(content=STYLE_SHEET, headers=headers, media_type="text/css")


page_handlers: list[ControllerRouterHandler] = [
    style_sheet,
    Router(
        path="/",
        route_handlers=[
            show_start,
            show_pricing,
            buy,
            show_success,
            replace_key,
            show_sign_in,
            sign_in,
            sign_out,
            show_account,
            open_portal,
            follow_portal,
            create_key,
            rotate_key,
            revoke_key,
            show_change,
            change,
            keep,
            set_cap,
            show_account_statement,
        ],
        dependencies={"visit": Provide(open_visit)},
        guards=[refuse_other_sites],
        exception_handlers=PAGE_EXCEPTION_HANDLERS,
        include_in_schema=False,
    ),
]
"""Everything for people, relative to `/_tiergate`."""
