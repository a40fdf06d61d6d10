"""A statement for whoever asks for one here, as JSON or on a page: it takes turns at Stripe, then it is drawn up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.statements import draw_up
from gateway.web.statement_view import view_statement
from gateway.web.stripe_turns import take_turn

if TYPE_CHECKING:
    from gateway.core.account import Account
    from gateway.core.statement_period import Span
    from gateway.web.runtime import Runtime
    from gateway.web.statement_view import StatementView

_MONTH_S: Final = 30 * 86_400


async def state(account: Account, span: Span, runtime: Runtime, *, now: float, for_seller: bool) -> StatementView:
    """The statement of one customer.

    Args:
        account: Whose.
        span: The period.
        runtime: Asks the ledger and Stripe.
        now: Unix seconds.
        for_seller: It is told what to do as well, and its requests are not counted.

    Raises:
        TooManyBillingRequests: The customer had Stripe asked a moment ago, and often.
        TiergateError: Whatever `statements.draw_up` raises.
    """
    if not for_seller:
        await take_turn(runtime, account.customer_id, cost=_cost(span))
    statement = await draw_up(
        account.customer_id,
        span,
        ledger=runtime.ledger,
        billing=runtime.billing,
        check_account=runtime.sync.account.check,
        now=int(now),
    )
    return view_statement(statement, customer_id=account.customer_id, user_id=account.user_id, for_seller=for_seller)


def _cost(span: Span) -> int:
    """Stripe is asked for each invoice of the period, which may be one a month."""
    return 1 + int((span.until - span.since) / _MONTH_S)
