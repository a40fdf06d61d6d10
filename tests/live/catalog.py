"""What a run puts on sale, and the policy that sells it. Every name holds the run's own, so that runs never meet."""

from __future__ import annotations

from dataclasses import dataclass

CURRENCY = "usd"
PRICES = {
    "pro-monthly": ("pro", 2900, "month"),
    "pro-yearly": ("pro", 29000, "year"),
    "enterprise-monthly": ("enterprise", 49900, "month"),
    "tried-monthly": ("pro", 1900, "month"),
    "cardless-monthly": ("pro", 1800, "month"),
    "reduced-monthly": ("pro", 2000, "month"),
    "team-monthly": ("team", 1000, "month"),
    "volume-monthly": ("volume", 900, "month"),
}
"""By plan: tier, amount in cents, interval."""
EXPORTS, EXPORTS_AMOUNT = "exports", 500
"""An add-on, and what it costs a month."""
OVERAGE, OVERAGE_AMOUNT, INCLUDED = "overage", 2, 10
"""A metered price, what a unit costs, and how many are included."""
PERCENT_OFF = 25
TRIAL_DAYS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What things are called in the account."""

    run: str

    @property
    def coupon(self) -> str:
        """Id of the coupon."""
        return f"tiergate_test_{self.run}"

    @property
    def feature(self) -> str:
        """Lookup key of the feature that `pro-monthly` entitles to."""
        return f"tiergate_test_{self.run}_sso"

    @property
    def meter(self) -> str:
        """Event name of the Billing Meter."""
        return f"tiergate_test_{self.run}_units"

    @property
    def user_label(self) -> str:
        """Under which name the seller's own id stands in the metadata of a customer."""
        return f"tiergate_test_{self.run}_user"

    def lookup_key(self, what: str) -> str:
        """Of the price of a plan, of the add-on, or of overage."""
        return f"tiergate_test_{self.run}_{what}"

    def title(self, what: str) -> str:
        """Of a product, for who looks into the account."""
        return f"Tiergate test {self.run} {what}"

    def policy(self) -> str:
        """The policy file."""
        terms = {
            "tried-monthly": f", trial: {TRIAL_DAYS}d",
            "cardless-monthly": f", trial: {{for: {TRIAL_DAYS}d, without_card: pause}}",
            "reduced-monthly": f", coupon: {self.coupon}",
            "team-monthly": f", seats: 1 to 20, add_ons: [{EXPORTS}]",
        }
        plans = "\n".join(
            f"  {name}: {{tier: {tier}, price: lookup_key {self.lookup_key(name)}{terms.get(name, '')}}}"
            for name, (tier, _, _) in PRICES.items()
        )
        overage = f"{{stripe_meter: {self.meter}, price: lookup_key {self.lookup_key(OVERAGE)}, cap: none}}"
        return f"""\
version: 1
default_tier: free
entitlements: [{self.feature}]
tiers:
  free: {{limits: [5 requests per billing period]}}
  volume:
    limits: [{INCLUDED} requests per billing period]
    overage: {overage}
  pro: {{limits: [100 requests per billing period]}}
  team: {{limits: [100 requests per seat per billing period]}}
  enterprise: {{limits: [1_000 requests per billing period]}}
add_ons:
  {EXPORTS}: {{price: lookup_key {self.lookup_key(EXPORTS)}, features: [{EXPORTS}]}}
plans:
{plans}
switching: {{upgrade: now, downgrade: at period end or now}}
lifecycle:
  past_due: {{keep: 7d, then: free}}
  paused: refuse
  canceled: free
routes:
  - match: "* /**"
"""
