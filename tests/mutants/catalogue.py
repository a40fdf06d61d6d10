"""Every mutant."""

from __future__ import annotations

from tests.mutants import (
    of_billing,
    of_changes,
    of_clocks,
    of_credits,
    of_labels,
    of_leases,
    of_lives,
    of_losses,
    of_outages,
    of_overage,
    of_paces,
    of_places,
    of_plans,
    of_prices,
    of_programs,
    of_scripts,
    of_sellers,
    of_statements,
    of_usage,
)

MUTANTS = (
    *of_billing.MUTANTS,
    *of_changes.MUTANTS,
    *of_clocks.MUTANTS,
    *of_scripts.MUTANTS,
    *of_programs.MUTANTS,
    *of_labels.MUTANTS,
    *of_leases.MUTANTS,
    *of_lives.MUTANTS,
    *of_losses.MUTANTS,
    *of_credits.MUTANTS,
    *of_outages.MUTANTS,
    *of_overage.MUTANTS,
    *of_paces.MUTANTS,
    *of_places.MUTANTS,
    *of_plans.MUTANTS,
    *of_prices.MUTANTS,
    *of_sellers.MUTANTS,
    *of_statements.MUTANTS,
    *of_usage.MUTANTS,
)
