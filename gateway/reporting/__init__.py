"""Overage on its way from the ledger to Stripe's Billing Meters."""

from gateway.reporting.options import ReportingOptions
from gateway.reporting.reporter import HoldsPolicy, Reporter

__all__ = ["HoldsPolicy", "Reporter", "ReportingOptions"]
