"""Process settings: all faults at once, and no secret in any of them."""

from pathlib import Path

import pytest

from gateway.settings import EXAMPLES, Settings, SettingsInvalid, load_settings, service_links
from gateway.settings.rules import variable

GOOD = {
    "STRIPE_SECRET_KEY": "sk_test_" + "51HxYz" * 6,
    "STRIPE_WEBHOOK_SECRET": "whsec_" + "AbCdEf" * 5,
    "TIERGATE_UPSTREAM_URL": "http://localhost:3000",
    "TIERGATE_KEY_PEPPER": "kJ8s7dF6gH5jK4l3Zx2Cv1Bn0mQwErTyUi",
    "TIERGATE_ADMIN_TOKEN": "admin-0aB1cD2eF3gH4iJ5kL6mN7",
    "TIERGATE_SERVER_TOKEN": "server-0aB1cD2eF3gH4iJ5kL6mN7",
}
EVENT_SECRET = "whsec_" + "QUJD" * 10
MAIL = {
    "TIERGATE_SMTP_HOST": "smtp.example.com",
    "TIERGATE_ALERT_EMAIL_FROM": "a@example.com",
    "TIERGATE_ALERT_EMAIL_TO": "b@example.com, c@example.com",
}
SEED = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"


@pytest.fixture
def environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def use(**changes):
        for name, value in (GOOD | changes).items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    for name in GOOD:
        monkeypatch.delenv(name, raising=False)
    return use


def faults_of(environment, **changes):
    environment(**changes)
    with pytest.raises(SettingsInvalid) as caught:
        load_settings()
    return caught.value.faults


def test_good_settings_are_read_from_the_environment(environment):
    environment(STRIPE_WEBHOOK_SECRET="whsec_" + "AbCdEf" * 5 + " , whsec_" + "GhIjKl" * 5)
    settings = load_settings()
    assert settings.mode == "test"
    assert settings.webhook_secrets == ("whsec_" + "AbCdEf" * 5, "whsec_" + "GhIjKl" * 5)
    assert settings.upstream_url == ("http://localhost:3000",)
    assert settings.base_url == "http://127.0.0.1:8000"


def test_the_environment_wins_over_the_env_file(environment, tmp_path):
    environment(TIERGATE_PORT="9001")
    (tmp_path / ".env").write_text("TIERGATE_PORT=9000\nTIERGATE_WORKERS=3\n")
    settings = load_settings()
    assert (settings.port, settings.workers) == (9001, 3)


def test_stripe_may_be_left_out_altogether(environment):
    environment(STRIPE_SECRET_KEY=None, STRIPE_WEBHOOK_SECRET=None)
    settings = load_settings()
    assert (settings.stripe_key, settings.webhook_secrets, settings.livemode) == (None, (), False)
    assert settings.mode == "live", "keys that are issued go on when a live key comes"


@pytest.mark.parametrize(
    ("left_out", "why"),
    [
        ("STRIPE_WEBHOOK_SECRET", "is not set, and STRIPE_SECRET_KEY is: set both, or neither to go without Stripe"),
        ("STRIPE_SECRET_KEY", "only together with STRIPE_SECRET_KEY: set both, or neither to go without Stripe"),
    ],
)
def test_half_of_stripe_is_a_fault(environment, left_out, why):
    [fault] = faults_of(environment, **{left_out: None})
    assert fault.startswith(f"STRIPE_WEBHOOK_SECRET: {why}")


def test_the_sandbox_needs_a_key_as_stripe_does(environment):
    changes = dict.fromkeys(("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"))
    [fault] = faults_of(environment, **changes, TIERGATE_STRIPE_URL="http://127.0.0.1:12111")
    assert "TIERGATE_STRIPE_URL: only together with STRIPE_SECRET_KEY" in fault


def test_every_missing_setting_is_named_at_once_with_an_example(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in GOOD:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsInvalid) as caught:
        load_settings()
    text = str(caught.value)
    for name in GOOD.keys() - {"TIERGATE_UPSTREAM_URL", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"}:  # may be unset
        assert f"{name}: is not set. Example: {EXAMPLES[name]}" in text


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("STRIPE_SECRET_KEY", "", "empty"),
        ("STRIPE_SECRET_KEY", "pk_test_" + "51HxYz" * 6, "publishable"),
        ("STRIPE_SECRET_KEY", "sk_test_short", "truncated"),
        ("STRIPE_SECRET_KEY", "hunter2hunter2hunter2hunter2", "does not start with"),
        ("STRIPE_WEBHOOK_SECRET", "", "empty"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_" + "AbCdEf" * 5 + ",we_123456789012345678901234", "whsec_"),
        ("TIERGATE_KEY_PEPPER", "", "empty"),
        ("TIERGATE_KEY_PEPPER", "kJ8s7dF6gH5j", "shorter than 32"),
        ("TIERGATE_KEY_PEPPER", "a" * 40, "too uniform"),
        ("TIERGATE_ADMIN_TOKEN", "change-me-change-me-change-me", "placeholder"),
        ("TIERGATE_SERVER_TOKEN", "server 0aB1cD2eF3gH4iJ5kL6mN7", "white space"),
        ("TIERGATE_UPSTREAM_URL", "localhost:3000", "http"),
        ("TIERGATE_UPSTREAM_URL", "http://user:pw@host", "no user"),
        ("TIERGATE_PORT", "seventy", "integer"),
        ("TIERGATE_WORKERS", "0", "greater than or equal to 1"),
        ("TIERGATE_TRUSTED_PROXIES", "10.0.0.0/8, balancer", "entry 2 is not an IP address or network"),
        ("TIERGATE_TRUSTED_PROXIES", "10.0.0.1/8", "entry 1 is an address inside a network"),
        ("TIERGATE_REDIS_URL", "memcached://x", "redis://"),
        ("TIERGATE_REDIS_URL", "redis://h1,h2:6380/0", "several hosts need redis+cluster:// or redis+sentinel://"),
        ("TIERGATE_REDIS_URL", "redis+cluster://h1,h2:6380/1", "no databases but 0"),
        ("TIERGATE_REDIS_URL", "redis+cluster://h1?db=2", "no databases but 0"),
        ("TIERGATE_REDIS_URL", "redis+cluster://", "one of its hosts is empty"),
        ("TIERGATE_REDIS_URL", "redis+cluster://h?sentinel_password=x", "mean nothing to a cluster"),
        ("TIERGATE_REDIS_URL", "redis+sentinel://h1,h2", "does not name the master"),
        ("TIERGATE_REDIS_URL", "redis+sentinel://h1/mymaster/two", "not the number of a database"),
        ("TIERGATE_REDIS_URL", "redis+sentinel://h1,,h2/mymaster", "one of its hosts is empty"),
        ("TIERGATE_REDIS_URL", "redis+sentinel://::1/mymaster", "stands in brackets"),
        ("TIERGATE_LEDGER_URL", "mysql://x", "sqlite:/// or postgresql://"),
        ("TIERGATE_BILLING_PREFIX", "api/v1", "TIERGATE_BILLING_PREFIX"),
        ("TIERGATE_BILLING_PREFIX", "/api/../v1", "dot segment"),
        ("TIERGATE_BILLING_PREFIX", "/api//v1", "empty segment"),
        ("TIERGATE_BILLING_PREFIX", "/_tiergate", "the gateway's own"),
        ("TIERGATE_BILLING_PREFIX", "/_Tiergate/billing", "the gateway's own"),
        ("TIERGATE_SIGNUP", "maybe", "'open' or 'closed'"),
        ("TIERGATE_SIGNUPS_PER_MINUTE", "0", "greater than or equal to 1"),
        ("TIERGATE_SIGNUPS_PER_MINUTE", "6001", "less than or equal to 6000"),
        ("TIERGATE_ASSERTION_KEYS", "", "empty. Leave it out"),
        ("TIERGATE_ASSERTION_KEYS", "kJ8s7dF6gH5jK4l3Zx2Cv1Bn0mQwErTyUi", "entry 1 is not 43 characters of base64url"),
        ("TIERGATE_ASSERTION_KEYS", f"{SEED},{SEED[:-1]}=", "entry 2 is not 43 characters of base64url"),
        ("TIERGATE_ASSERTION_KEYS", "a" * 43, "entry 1 is too uniform"),
        ("TIERGATE_ASSERTION_KEYS", f"{SEED},{SEED}", "entry 2 is there twice"),
        ("TIERGATE_ASSERTION_AUDIENCE", "my api", "without a blank"),
        ("TIERGATE_ASSERTION_AUDIENCE", "", "1 to 200 printable"),
    ],
)
def test_a_malformed_setting_is_refused_with_its_name_and_reason(environment, name, value, why):
    (fault,) = faults_of(environment, **{name: value})
    assert fault.startswith(f"{name}: ")
    assert why in fault


@pytest.mark.parametrize("name", ["TIERGATE_UPSTREAM_URL", "TIERGATE_PUBLIC_URL", "TIERGATE_STRIPE_URL"])
@pytest.mark.parametrize(
    "place", ["127.0.0.1:99999", "127.0.0.1:0", "127.0.0.1:s3cr", "[::1", "ex ample", "[::s3cr]:1"]
)
def test_a_url_that_nothing_can_connect_to_is_refused(environment, name, place):
    (fault,) = faults_of(environment, **{name: f"http://{place}"})
    assert fault.startswith(f"{name}: ")
    assert "s3cr" not in fault


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIERGATE_REDIS_URL", "redis://h:99999/0"),
        ("TIERGATE_REDIS_URL", "rediss://:pw@h:s3cr/0"),
        ("TIERGATE_REDIS_URL", "redis+sentinel://:pw@h:1,h:s3cr/m"),
        ("TIERGATE_REDIS_URL", "rediss+cluster://:pw@h:1,h:s3cr"),
        ("TIERGATE_REDIS_URL", "redis+sentinel://:pw@h:1,h:99999/m"),
        ("TIERGATE_LEDGER_URL", "postgresql://u:pw@h:99999/db"),
        ("TIERGATE_LEDGER_URL", "postgres://u:pw@h:s3cr/db"),
    ],
)
def test_the_port_of_a_server_is_checked(environment, name, value):
    (fault,) = faults_of(environment, **{name: value})
    assert fault.startswith(f"{name}: its port is not a number from 1 to 65535. Example: ")
    assert "s3cr" not in fault


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, f"{scheme}://{user}:{password}@h:1/0")
        for name, scheme, user in (
            ("TIERGATE_REDIS_URL", "redis", ""),
            ("TIERGATE_REDIS_URL", "rediss", "u"),
            ("TIERGATE_REDIS_URL", "unix", "u"),
            ("TIERGATE_REDIS_URL", "redis+sentinel", "u"),
            ("TIERGATE_REDIS_URL", "redis+cluster", "u"),
            ("TIERGATE_LEDGER_URL", "postgresql", "u"),
            ("TIERGATE_UPSTREAM_URL", "http", "u"),
            ("TIERGATE_PUBLIC_URL", "https", "u"),
        )
        for password in ("s3cr/etpw", "12/s3cretpw", "12?s3cretpw", "12#s3cretpw", "s3cr@12/etpw")
    ],
)
def test_a_password_that_cuts_its_url_in_two_is_refused_and_no_piece_of_it_told(environment, name, value):
    (fault,) = faults_of(environment, **{name: value})
    assert fault.startswith(f"{name}: ")
    assert "s3cr" not in fault
    assert "etpw" not in fault


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIERGATE_REDIS_URL", "redis://:s3cr%2Fet%40pw@h:1/0"),
        ("TIERGATE_REDIS_URL", "unix:///run/redis@1/socket?db=0"),
        ("TIERGATE_REDIS_URL", "redis+cluster://u:s3cr%2Fet@[::1]:6379,h"),
        ("TIERGATE_REDIS_URL", "rediss+sentinel://u:s3cr%2Fet@[::1]:26379,h/mymaster/0?sentinel_password=x"),
        ("TIERGATE_LEDGER_URL", "postgresql://u%40tenant:s3cr%3Fet@h/db?sslmode=require"),
        ("TIERGATE_LEDGER_URL", "sqlite:////var/lib/a b@c/ledger?.sqlite3"),
        ("TIERGATE_UPSTREAM_URL", "http://[::1]:3000/base"),
    ],
)
def test_a_sound_url_is_taken_as_it_is(environment, name, value):
    environment(**{name: value})
    found = getattr(load_settings(), name.removeprefix("TIERGATE_").lower())
    assert value == (found[0] if isinstance(found, tuple) else found.get_secret_value())


def test_a_mistyped_name_is_refused_with_the_nearest_right_one(environment):
    (fault,) = faults_of(environment, TIERGATE_UPSTREM_URL="http://x")
    assert fault == "TIERGATE_UPSTREM_URL: there is no such setting. Did you mean TIERGATE_UPSTREAM_URL?"


def test_a_setting_of_stripes_is_refused_only_where_it_is_ours_mistyped(environment):
    faults = faults_of(environment, STRIPE_WEBHOOK_SECRET=None, STRIPE_WEBHOOK_SECRETS="x")
    assert "STRIPE_WEBHOOK_SECRETS: there is no such setting. Did you mean STRIPE_WEBHOOK_SECRET?" in faults
    environment(STRIPE_WEBHOOK_SECRETS="another program's", STRIPE_SECRET_KEY_EU="too", STRIPE_API_KEY="and this one")
    assert load_settings().mode == "test"


def test_a_setting_without_a_default_has_an_example_that_is_written_down():
    without = {
        str(field.validation_alias or variable(name))
        for name, field in Settings.model_fields.items()
        if field.is_required() or field.default is None
    }
    assert without - set(EXAMPLES) == set()


LINKS = {
    "TIERGATE_SERVICE_HOST": "10.0.0.7",
    "TIERGATE_SERVICE_PORT": "8000",
    "TIERGATE_SERVICE_PORT_HTTP": "8000",
    "TIERGATE_PORT": "tcp://10.0.0.7:8000",
    "TIERGATE_PORT_8000_TCP": "tcp://10.0.0.7:8000",
    "TIERGATE_PORT_8000_TCP_PROTO": "tcp",
    "TIERGATE_PORT_8000_TCP_PORT": "8000",
    "TIERGATE_PORT_8000_TCP_ADDR": "10.0.0.7",
    "TIERGATE_VALKEY_PORT": "tcp://10.0.0.8:6379",
    "TIERGATE_VALKEY_SERVICE_HOST": "10.0.0.8",
    "TIERGATE_VALKEY_PORT_6379_TCP_ADDR": "10.0.0.8",
}


def test_what_kubernetes_says_about_its_services_is_no_setting(environment, tmp_path):
    environment(**LINKS)
    assert load_settings().port == 8000
    assert service_links() == tuple(sorted(LINKS))
    (tmp_path / ".env").write_text("TIERGATE_PORT=9000\n")
    assert load_settings().port == 9000


@pytest.mark.parametrize(
    ("name", "value"), [("TIERGATE_VALKEY_PORT", "6379"), ("TIERGATE_PORT_HTTP", "1"), ("TIERGATE_SERVICE", "x")]
)
def test_what_only_reads_like_a_service_link_is_refused(environment, name, value):
    (fault,) = faults_of(environment, **{name: value})
    assert fault.startswith(f"{name}: there is no such setting.")


LIVE = {"STRIPE_SECRET_KEY": "sk_live_" + "51HxYz" * 6, "TIERGATE_PUBLIC_URL": "https://api.example.com"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (LIVE | {"TIERGATE_STRIPE_URL": "http://127.0.0.1:9"}, "live key must not be used with the sandbox"),
        ({"TIERGATE_STRIPE_URL": "http://stripe.example.com"}, "loopback only"),
        ({"TIERGATE_ALERT_URL": "https://example.com/h"}, "needed with TIERGATE_ALERT_URL"),
        ({"TIERGATE_ALERT_SECRET": EVENT_SECRET}, "only together with TIERGATE_ALERT_URL"),
        ({"TIERGATE_SMTP_USER": "u"}, "only together with TIERGATE_SMTP_USER"),
        ({"TIERGATE_SMTP_PASSWORD": "hunter2"}, "only together with TIERGATE_SMTP_USER"),
        (MAIL | {"TIERGATE_SMTP_SECURITY": "none", "TIERGATE_SMTP_USER": "u", "TIERGATE_SMTP_PASSWORD": "p"}, "clear"),
        (MAIL | {"TIERGATE_ALERT_EMAIL_FROM": None}, "only together with TIERGATE_SMTP_HOST"),
        (MAIL | {"TIERGATE_ALERT_EMAIL_TO": None}, "only together with TIERGATE_SMTP_HOST"),
        (
            MAIL | {"TIERGATE_SMTP_HOST": None, "TIERGATE_ALERT_EMAIL_FROM": None},
            "only together with TIERGATE_SMTP_HOST",
        ),
        ({"TIERGATE_USAGE_HOURS_KEPT_DAYS": "90", "TIERGATE_USAGE_KEPT_DAYS": "89"}, "hours become days"),
        ({"TIERGATE_SIMULATED_CLOCK": "/tmp/clock"}, "only together with TIERGATE_STRIPE_URL"),
        (LIVE | {"TIERGATE_PUBLIC_URL": None}, "needed with a live key"),
        ({"TIERGATE_ADMIN_TOKEN": GOOD["TIERGATE_SERVER_TOKEN"]}, "must differ"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(environment, changes, why):
    assert any(why in fault for fault in faults_of(environment, **changes))


def test_contradictions_are_reported_together(environment):
    faults = faults_of(
        environment,
        TIERGATE_STRIPE_URL="http://stripe.example.com",
        TIERGATE_ADMIN_TOKEN=GOOD["TIERGATE_SERVER_TOKEN"],
    )
    assert len(faults) == 2


def test_contradictions_are_found_among_whatever_could_be_read(environment):
    faults = faults_of(
        environment,
        **LIVE | {"TIERGATE_PUBLIC_URL": None, "TIERGATE_STRIPE_URL": "http://127.0.0.1:9", "TIERGATE_WORKERS": "abc"},
        TIERGATE_ADMIN_TOKEN=GOOD["TIERGATE_SERVER_TOKEN"],
        TIERGATE_UPSTREAM_URL="localhost",
    )
    assert [fault.partition(":")[0] for fault in faults] == [
        "TIERGATE_STRIPE_URL",
        "TIERGATE_UPSTREAM_URL",
        "TIERGATE_PUBLIC_URL",
        "TIERGATE_SERVER_TOKEN",
        "TIERGATE_WORKERS",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIERGATE_PORT", "seventy"),
        ("TIERGATE_WORKERS", "0"),
        ("TIERGATE_SETTLE_INTERVAL_S", "often"),
        ("TIERGATE_LOG_LEVEL", "loud"),
        ("TIERGATE_BILLING_PREFIX", "api"),
        ("TIERGATE_STRIPE_URL", "localhost"),
        ("TIERGATE_SIMULATED_CLOCK", "/tmp/clock"),
        ("TIERGATE_PORTAL_CONFIGURATION", "default"),
        ("TIERGATE_SERVER_TOKEN", GOOD["TIERGATE_ADMIN_TOKEN"]),
    ],
)
def test_every_fault_shows_an_example(environment, name, value):
    (fault,) = faults_of(environment, **{name: value})
    assert f". Example: {name}=" in fault


@pytest.mark.parametrize("value", ["", ",", " , "])
def test_an_upstream_list_that_names_none_counts_as_not_set_whatever_the_env_file_says(environment, tmp_path, value):
    (tmp_path / ".env").write_text("TIERGATE_UPSTREAM_URL=http://localhost:3000\n")
    environment(TIERGATE_UPSTREAM_URL=value)
    assert load_settings().upstream_url == ()


def test_an_upstream_may_be_missing_because_policy_may_name_every_server(environment):
    environment(TIERGATE_UPSTREAM_URL=None)
    assert load_settings().upstream_url == ()


def test_no_fault_and_no_repr_echoes_a_secret(environment):
    secrets = {
        "STRIPE_SECRET_KEY": "hunter2-hunter2-hunter2-hunter2",
        "STRIPE_WEBHOOK_SECRET": "swordfish-swordfish-swordfish",
        "TIERGATE_KEY_PEPPER": "correcthorse",
        "TIERGATE_REDIS_URL": "http://:opensesame@cache",
        "TIERGATE_LEDGER_URL": "mysql://u:letmein@db/x",
    }
    text = "\n".join(faults_of(environment, **secrets))
    environment(TIERGATE_REDIS_URL=None, TIERGATE_LEDGER_URL=None)
    text += repr(load_settings())
    for word in (
        "hunter2",
        "swordfish",
        "correcthorse",
        "opensesame",
        "letmein",
        *(GOOD[name] for name in GOOD if "URL" not in name),
    ):
        assert word not in text


def test_every_setting_has_an_explanation_and_stands_in_the_example_file():

    example = (Path(__file__).parent.parent / ".env.example").read_text()
    for name, field in Settings.model_fields.items():
        variable = field.validation_alias or f"TIERGATE_{name.upper()}"
        if name not in {"stripe_url", "simulated_clock"}:  # the sandbox's own
            assert f"{variable}=" in example, variable


def test_assertion_keys_are_read_as_seeds_and_differ_from_every_other_secret(environment):
    environment(TIERGATE_ASSERTION_KEYS=f"{SEED}, {SEED[::-1]}")
    settings = load_settings()
    assert [len(seed) for seed in settings.assertion_seeds] == [32, 32]
    assert SEED not in repr(settings)
    for name in ("TIERGATE_KEY_PEPPER", "TIERGATE_ADMIN_TOKEN", "TIERGATE_SERVER_TOKEN"):
        (fault,) = faults_of(environment, **(GOOD | {name: SEED, "TIERGATE_ASSERTION_KEYS": SEED}))
        assert fault.startswith(f"TIERGATE_ASSERTION_KEYS: must differ from {name}. Example: ")


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("TIERGATE_ALERT_URL", "http://example.com/s3cr", "localhost only"),
        ("TIERGATE_ALERT_URL", "http://169.254.169.254/s3cr", "localhost only"),
        ("TIERGATE_ALERT_URL", "ftp://example.com/s3cr", "not an https"),
        ("TIERGATE_ALERT_URL", "https://u:s3cr@example.com/", "has a user"),
        ("TIERGATE_ALERT_URL", "https://example.com/#s3cr", "fragment"),
        ("TIERGATE_ALERT_URL", "https://example.com:s3cr/", "malformed"),
        ("TIERGATE_ALERT_URL", "https:///s3cr", "not an https"),
        ("TIERGATE_ALERT_SECRET", "s3cr" * 10, "does not start with whsec_"),
        ("TIERGATE_ALERT_SECRET", "whsec_czNjcg==", "24 to 64 bytes"),
        ("TIERGATE_ALERT_SECRET", EVENT_SECRET + ",whsec_s3cr", "number 2"),
        ("TIERGATE_ALERT_EMAIL_FROM", "s3cr", "not an e-mail address"),
        ("TIERGATE_ALERT_EMAIL_TO", "a@example.com,s3cr <b@example.com>", "not an e-mail address"),
    ],
)
def test_a_way_of_alerts_that_leads_nowhere_is_refused(environment, name, value, why):
    good = MAIL | {"TIERGATE_ALERT_URL": "https://example.com/h", "TIERGATE_ALERT_SECRET": EVENT_SECRET}
    faults = faults_of(environment, **good | {name: value})
    assert [fault for fault in faults if fault.startswith(f"{name}: ") and why in fault], faults
    assert "s3cr" not in "".join(faults)


@pytest.mark.parametrize("url", ["https://example.com/h?token=1", "http://localhost:9/h", "http://127.0.0.1:9/h"])
def test_alerts_go_to_https_or_to_this_machine(environment, url):
    environment(**MAIL, TIERGATE_ALERT_URL=url, TIERGATE_ALERT_SECRET=f"{EVENT_SECRET}, {EVENT_SECRET}")
    settings = load_settings()
    assert settings.alert_url == url
    assert settings.event_secrets == (b"ABC" * 10,) * 2
    assert settings.alert_email_to == ("b@example.com", "c@example.com")
    assert "QUJD" not in repr(settings)
