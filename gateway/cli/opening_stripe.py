"""Stripe, opened for those commands that ask it something: its SDK takes a while to import."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from gateway.billing import Billing, StripeOptions
from gateway.policyfiles import PolicyHolder
from gateway.sync import Sync

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.cli.opening import Parts
    from gateway.settings import Settings


def open_billing(settings: Settings) -> Billing:
    """Stripe, or the sandbox. Close it with `aclose`."""
    return Billing(
        StripeOptions(
            secret_key=settings.stripe_key,
            base_url=settings.stripe_url,
            price_ttl_s=settings.price_ttl_s,
            portal_configuration=settings.portal_configuration,
        )
    )


def require_stripe(settings: Settings) -> None:
    """For commands that do nothing without Stripe.

    Raises:
        click.ClickException: The settings have none.
    """
    if settings.stripe_key is None:
        raise click.ClickException("Stripe is not configured: set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET.")


@asynccontextmanager
async def open_sync(parts: Parts) -> AsyncIterator[Sync]:
    """Open billing and policy too, for commands that ask Stripe.

    Raises:
        click.ClickException: There is no Stripe.
        PolicyInvalid: Prices cannot be mapped to plans.
    """
    require_stripe(parts.settings)
    policy = PolicyHolder(parts.settings.policy_dir)
    billing = open_billing(parts.settings)
    try:
        yield Sync(
            ledger=parts.ledger,
            billing=billing,
            policy=policy,
            publish=parts.publisher.publish_soon,
            clock=parts.clock,
        )
    finally:
        await billing.aclose()
