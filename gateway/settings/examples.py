"""What a setting looks like, for those who have to write one."""

EXAMPLES = {
    "STRIPE_SECRET_KEY": "STRIPE_SECRET_KEY=sk_test_... (Stripe dashboard: Developers, API keys)",
    "STRIPE_WEBHOOK_SECRET": "STRIPE_WEBHOOK_SECRET=whsec_... (printed by `stripe listen`, or dashboard: Webhooks)",
    "TIERGATE_UPSTREAM_URL": "TIERGATE_UPSTREAM_URL=http://localhost:3000",
    "TIERGATE_STRIPE_URL": "TIERGATE_STRIPE_URL=http://127.0.0.1:12111",
    "TIERGATE_SIMULATED_CLOCK": "TIERGATE_SIMULATED_CLOCK=.tiergate/clock",
    "TIERGATE_PUBLIC_URL": "TIERGATE_PUBLIC_URL=https://api.example.com",
    "TIERGATE_KEY_PEPPER": "TIERGATE_KEY_PEPPER=<output of `tiergate secret`>",
    "TIERGATE_ADMIN_TOKEN": "TIERGATE_ADMIN_TOKEN=<output of `tiergate secret`>",
    "TIERGATE_SERVER_TOKEN": "TIERGATE_SERVER_TOKEN=<output of `tiergate secret`>",
    "TIERGATE_ASSERTION_KEYS": "TIERGATE_ASSERTION_KEYS=<output of `tiergate secret`>",
    "TIERGATE_ASSERTION_AUDIENCE": "TIERGATE_ASSERTION_AUDIENCE=my-api",
    "TIERGATE_REDIS_URL": "TIERGATE_REDIS_URL=redis://localhost:6379/0",
    "TIERGATE_LEDGER_URL": "TIERGATE_LEDGER_URL=postgresql://tiergate:password@localhost/tiergate",
    "TIERGATE_ALERT_URL": "TIERGATE_ALERT_URL=https://example.com/hooks/tiergate",
    "TIERGATE_ALERT_SECRET": "TIERGATE_ALERT_SECRET=whsec_<32 random bytes in base64>",
    "TIERGATE_SMTP_HOST": "TIERGATE_SMTP_HOST=smtp.example.com",
    "TIERGATE_SMTP_USER": "TIERGATE_SMTP_USER=alerts@example.com",
    "TIERGATE_SMTP_PASSWORD": "TIERGATE_SMTP_PASSWORD=<of your mail server>",
    "TIERGATE_ALERT_EMAIL_FROM": "TIERGATE_ALERT_EMAIL_FROM=alerts@example.com",
    "TIERGATE_ALERT_EMAIL_TO": "TIERGATE_ALERT_EMAIL_TO=you@example.com",
    "TIERGATE_PORTAL_CONFIGURATION": "TIERGATE_PORTAL_CONFIGURATION=bpc_... (of Stripe's API: portal configurations)",
    "TIERGATE_RECONCILE_HOUR": "TIERGATE_RECONCILE_HOUR=3",
    "TIERGATE_TRUSTED_PROXIES": "TIERGATE_TRUSTED_PROXIES=10.0.0.0/8,127.0.0.1",
}
"""Of settings without a default. The others' example is their default."""

NO_UPSTREAM = (
    "TIERGATE_UPSTREAM_URL: is not set, and the policy does not say where every call goes. "
    f"Example: {EXAMPLES['TIERGATE_UPSTREAM_URL']}, or in a policy file: "
    "upstreams: {default: {servers: [http://localhost:3000]}}"
)
"""The fault of a gateway that has nowhere to forward calls to, in both ways to mend it."""
