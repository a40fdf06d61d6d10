"""A customer is deleted, with all that is billed to it."""

from __future__ import annotations

from dataclasses import replace

from gateway.sandbox.engine.saving import emit, shape_of_customer
from gateway.sandbox.engine.subscriptions import cancel
from gateway.sandbox.world import World


def delete_customer(world: World, customer_id: str) -> None:
    """Cancel what it has and delete it.

    Raises:
        NoSuchRecord: there is none, or not any more.
    """
    customer = world.customer(customer_id)
    for subscription in world.subscriptions_of(customer.id):
        if subscription.ended_at is None:
            cancel(world, subscription.id)
    last_seen = shape_of_customer(world, customer)
    world.tables.customers[customer.id] = replace(customer, deleted=True)
    emit(world, "customer.deleted", last_seen)
