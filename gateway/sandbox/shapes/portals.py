"""The billing portal: its configurations and its sessions."""

from __future__ import annotations

from gateway.sandbox.records import Json, PortalConfiguration, PortalSession
from gateway.sandbox.world import World

NO_FEATURES: Json = {
    "customer_update": {"allowed_updates": [], "enabled": False},
    "invoice_history": {"enabled": False},
    "payment_method_update": {"enabled": False, "payment_method_configuration": None},
    "subscription_cancel": {
        "cancellation_reason": {"enabled": False, "feedback_options": None, "options": []},
        "enabled": False,
        "mode": "at_period_end",
        "proration_behavior": "none",
    },
    "subscription_pause": {"duration": {"interval_options": [], "type": "indefinite"}, "enabled": False},
    "subscription_update": {
        "billing_cycle_anchor": None,
        "default_allowed_updates": [],
        "enabled": False,
        "products": None,
        "proration_behavior": "none",
        "schedule_at_period_end": {"conditions": []},
        "trial_update_behavior": "end_trial",
    },
}
"""What a configuration has of which its maker says nothing."""


def default_configuration_id(world: World) -> str:
    """Of the account's own configuration. No record has that number."""
    return f"bpc_{world.run}0000"


def default_configuration(world: World) -> PortalConfiguration:
    """The account's own: everything is allowed, with every price, and subscriptions end as the rules say."""
    at_once = world.rules.portal_cancels_by == "immediately"
    return PortalConfiguration(
        id=default_configuration_id(world),
        created=world.now,
        updated=world.now,
        features=NO_FEATURES
        | {
            "customer_update": {"allowed_updates": ["email"], "enabled": True},
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True, "payment_method_configuration": None},
            "subscription_cancel": NO_FEATURES["subscription_cancel"]
            | {"enabled": True, "mode": "immediately" if at_once else "at_period_end"},
            "subscription_update": NO_FEATURES["subscription_update"]
            | {"default_allowed_updates": ["price"], "enabled": True, "proration_behavior": "create_prorations"},
        },
    )


def configuration_shape(world: World, made: PortalConfiguration) -> Json:
    """`billing_portal.configuration`."""
    return {
        "id": made.id,
        "object": "billing_portal.configuration",
        "active": made.active,
        "application": None,
        "business_profile": {"headline": made.headline, "privacy_policy_url": None, "terms_of_service_url": None},
        "created": made.created,
        "default_return_url": made.default_return_url,
        "features": dict(made.features),
        "is_default": made.id == default_configuration_id(world),
        "livemode": False,
        "login_page": {"enabled": False, "url": None},
        "metadata": dict(made.metadata),
        "name": made.name,
        "updated": made.updated,
    }


def portal_shape(world: World, session: PortalSession) -> Json:
    """`billing_portal.session`."""
    return {
        "id": session.id,
        "object": "billing_portal.session",
        "configuration": session.configuration_id or default_configuration_id(world),
        "created": session.created,
        "customer": session.customer_id,
        "customer_account": None,
        "flow": None if session.flow is None else dict(session.flow),
        "livemode": False,
        "locale": session.locale,
        "on_behalf_of": None,
        "return_url": session.return_url,
        "url": f"{world.public_url}/p/session/{session.id}",
    }
