"""`tiergate customers spend-cap`: how much a customer's overage may cost in a billing period."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gateway.capping import ANY_CURRENCY, CapOrder, Capping, CapState, NoOverage, SpendCapInvalid, find_state
from gateway.cli.opening import ACTOR, open_parts, run, say_if_unpublished
from gateway.cli.options import Who, examples, json_option, who_options
from gateway.cli.printing import note, print_columns, print_json
from gateway.core.money import MoneyInvalid, parse_amount
from gateway.ledger import CustomerUnknown
from gateway.policyfiles import load_policy
from gateway.settings import load_settings

if TYPE_CHECKING:
    from gateway.cli.opening import Parts
    from gateway.core.account import Account
    from gateway.settings import Settings


@click.command(
    "spend-cap",
    epilog=examples(
        "tiergate customers spend-cap --user-id user_42",
        "tiergate customers spend-cap --user-id user_42 --set 50.00",
        "tiergate customers spend-cap --user-id user_42 --remove",
    ),
    short_help="Show, set or remove the most that overage may cost.",
)
@who_options
@click.option(
    "--set", "amount", metavar="AMOUNT", help="The most, in the price's currency: 50 or 49.90. 0: no overage."
)
@click.option("--remove", is_flag=True, help="Let the policy's cap hold again.")
@click.option("--meter", metavar="METER", help="Where the plan has overage of several.")
@click.option("--because", default="set by the operator", show_default=True, help="For the audit log.")
@json_option
def spend_cap(who: Who, amount: str | None, meter: str | None, because: str, *, remove: bool, as_json: bool) -> None:
    """Show, set or remove the most that a customer's overage may cost in a billing period.

    It holds from the next call on, and is the customer's own to change.
    """
    if amount is not None and remove:
        raise click.UsageError("Either --set or --remove.")
    run(_spend_cap(load_settings(), who, amount, meter, because, remove=remove, as_json=as_json))


async def _spend_cap(
    settings: Settings, who: Who, amount: str | None, meter: str | None, because: str, *, remove: bool, as_json: bool
) -> None:
    async with open_parts(settings) as parts:
        account = await _load(parts, (await parts.find_customer(who)).customer_id)
        policy, capping = load_policy(settings.policy_dir), Capping(parts.ledger, parts.publisher, parts.clock)
        is_published = True
        try:
            if amount is not None:
                state = find_state(capping.list(account, policy), meter)
                order = CapOrder(amount=parse_amount(amount, state.currency or ANY_CURRENCY), meter=meter)
                is_published = await capping.set(account, policy, order, actor=ACTOR, because=because)
            elif remove:
                is_published = await capping.drop(account, policy, meter, actor=ACTOR, because=because)
        except (NoOverage, SpendCapInvalid, MoneyInvalid) as error:
            raise click.ClickException(str(error)) from None
        states = capping.list(await _load(parts, account.customer_id), policy)
        _show(account.customer_id, states, as_json=as_json)
        say_if_unpublished(is_published)


async def _load(parts: Parts, customer_id: str) -> Account:
    account = await parts.ledger.load_account(customer_id)
    if account is None:
        raise CustomerUnknown(customer_id)
    return account


def _show(customer_id: str, states: tuple[CapState, ...], *, as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "meter": state.meter,
                "amount": state.amount,
                "currency": state.currency,
                "is_own": state.own is not None,
                "units": state.units,
                "bound": state.bound,
            }
            for state in states
        ]
        print_json({"customer_id": customer_id, "spend_caps": rows})
        return
    if not states:
        note("This customer has no overage: its quotas cannot be exceeded.")
        return
    print_columns(
        ("METER", "SPEND CAP", "WHOSE", "UNITS BEYOND", "BY"),
        [
            (
                state.meter,
                state.amount_text or "none",
                "customer" if state.own is not None else "policy" if state.default is not None else "",
                f"{state.units:,}",
                state.words,
            )
            for state in states
        ],
    )
