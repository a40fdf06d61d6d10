"""Stripe's manner of speaking HTTP: forms, parameters, errors, pages, expansion, idempotency. Pure."""
