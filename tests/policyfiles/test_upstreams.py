"""Groups of upstreams, and the files that they name."""

from __future__ import annotations

import datetime as dt
import os

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.core.upstream_policy import ActiveCheck, Ejection, Server, UpstreamGroup
from gateway.policyfiles import PolicyHolder, PolicyInvalid, load_policy

PEM = serialization.Encoding.PEM
TLS = "upstreams: {api: {servers: [https://10.0.0.1], tls: {ca: ca.pem, certificate: own.pem, key: own.key}}}\n"


@pytest.fixture
def group(policies, good):
    """Compiles one group called `api`."""

    def compile_group(*lines: str) -> UpstreamGroup:
        keys = "".join(f"    {line}\n" for line in lines)
        return load_policy(policies(api=f"{good}upstreams:\n  api:\n{keys}")).upstreams["api"]

    return compile_group


def write_certificate(directory, name="own", *, key_name=None, passphrase=None):
    """A self-signed certificate, and its key, as `<name>.pem` and `<name>.key`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    secrecy = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    (directory / f"{name}.pem").write_bytes(certificate.public_bytes(PEM))
    (directory / f"{key_name or name}.key").write_bytes(
        key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, secrecy)
    )


@pytest.fixture
def with_tls(policies, good):
    """A policy directory whose group `api` speaks TLS, with all three files."""
    directory = policies(api=good + TLS)
    write_certificate(directory, "ca")
    write_certificate(directory)
    return directory


def refusals(directory) -> list[str]:
    with pytest.raises(PolicyInvalid) as caught:
        load_policy(directory)
    keys = [path.read_text().split("\n", 2)[1:2] for path in directory.glob("*.key") if path.is_file()]
    for fault in caught.value.faults:
        assert not any(line in f"{fault}{fault.source_line}" for lines in keys for line in lines if line)
    return [fault.message for fault in caught.value.faults]


def test_a_group_of_one_server_has_every_default(group):
    assert group("servers: http://10.0.0.1:3000") == UpstreamGroup(
        name="api", servers=(Server(url="http://10.0.0.1:3000"),)
    )


def test_a_group_says_everything(group):
    found = group(
        "servers: [http://10.0.0.1:3000/base/ weight 3, 'https://my_api.internal', 'http://[::1]:3000']",
        "balance: least-loaded",
        "eject: 5 failures for 30s",
        "check: GET /healthz?deep=1 every 15s",
        "host: preserve",
        "hosts: [API.example.com, '10.0.0.1', '[::1]']",
        "max_age: 5m",
    )
    assert found == UpstreamGroup(
        name="api",
        servers=(
            Server(url="http://10.0.0.1:3000/base", weight=3),
            Server(url="https://my_api.internal"),
            Server(url="http://[::1]:3000"),
        ),
        balance="least-loaded",
        ejection=Ejection(failures=5, for_s=30),
        check=ActiveCheck(path="/healthz?deep=1", every_s=15),
        host="preserve",
        hosts=("api.example.com", "10.0.0.1", "[::1]"),
        max_age_s=300,
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("eject: never", None),
        ("eject: 1 failure for 500ms", Ejection(failures=1, for_s=0.5)),
    ],
)
def test_ejection_is_a_sentence_or_never(group, line, expected):
    assert group("servers: http://a", line).ejection == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("check: GET /", ActiveCheck(path="/")),
        ("check: GET /up every 1s", ActiveCheck(path="/up", every_s=1, timeout_s=1)),
        (
            "check: {path: /up, every: 30s, timeout: 5s, healthy_after: 1, unhealthy_after: 3}",
            ActiveCheck(path="/up", every_s=30, timeout_s=5, healthy_after=1, unhealthy_after=3),
        ),
    ],
)
def test_a_check_is_a_sentence_or_a_mapping(group, line, expected):
    assert group("servers: http://a", line).check == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [("host: own", None), ("host: preserve", "preserve"), ("host: API.internal:8080", "API.internal:8080")],
)
def test_the_host_field_is_the_servers_own_the_callers_or_a_name(group, line, expected):
    assert group("servers: http://a", line).host == expected


def test_a_route_goes_to_the_group_it_names(policies, good):
    text = good.replace("    cost: 10\n", "    cost: 10\n    upstream: render\n")
    groups = "upstreams: {render: {servers: [http://10.0.0.2]}}\n"
    policy = load_policy(policies(api=text, groups=f"version: 1\n{groups}"))
    assert policy.group_for(policy.routes[0], "any") is policy.upstreams["render"]
    assert policy.group_for(policy.routes[1], "any") is None
    assert policy.needs_settings_upstream


def test_a_group_in_a_file_that_cannot_be_read_is_not_doubted(policies, good):
    text = good.replace("    cost: 10\n", "    cost: 10\n    upstream: render\n")
    directory = policies(api=text, groups="version: 1\nupstreams: [\n")
    assert len(refusals(directory)) == 1


def test_certificates_are_found_beside_the_policy_file(with_tls):
    tls = load_policy(with_tls).upstreams["api"].tls
    assert tls.ca_file == str(with_tls / "ca.pem")
    assert tls.certificate_file == str(with_tls / "own.pem")
    assert tls.key_file == str(with_tls / "own.key")
    assert len(tls.digest) == 12


def test_a_certificate_and_its_key_may_share_a_file(with_tls):
    (with_tls / "own.pem").write_text((with_tls / "own.pem").read_text() + (with_tls / "own.key").read_text())
    text = (with_tls / "api.yaml").read_text().replace(", key: own.key", "")
    (with_tls / "api.yaml").write_text(text)
    assert load_policy(with_tls).upstreams["api"].tls.key_file is None


def test_the_hash_follows_what_certificates_hold_and_not_where_they_lie(with_tls, tmp_path):
    before = load_policy(with_tls)
    moved = tmp_path / "elsewhere"
    with_tls.rename(moved)
    assert load_policy(moved).policy_hash == before.policy_hash
    write_certificate(moved)
    assert load_policy(moved).policy_hash != before.policy_hash


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ca.pem", "", "the file of 'ca' holds no certificate in PEM ('-----BEGIN CERTIFICATE-----')"),
        (
            "ca.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "the file of 'ca' cannot be read as certificates: it is damaged",
        ),
        (
            "own.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "the certificate or its key cannot be read: one of them is damaged",
        ),
        (
            "own.key",
            "hunter2",
            "the file of 'key' holds no private key in PEM ('-----BEGIN PRIVATE KEY-----')",
        ),
        (
            "own.key",
            "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n",
            "the certificate or its key cannot be read: one of them is damaged",
        ),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_a_fault_in_words(with_tls, name, content, message):
    (with_tls / name).write_text(content)
    assert refusals(with_tls) == [message]


def test_a_key_of_another_certificate_is_refused(with_tls):
    write_certificate(with_tls, "other", key_name="own")
    assert refusals(with_tls) == ["the certificate and the key do not belong to each other"]


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(with_tls):
    write_certificate(with_tls, passphrase=b"secret")
    assert refusals(with_tls) == ["the key has a passphrase, which nobody would be there to type: store it without"]


def test_a_certificate_whose_key_is_nowhere_is_refused(with_tls):
    text = (with_tls / "api.yaml").read_text().replace(", key: own.key", "")
    (with_tls / "api.yaml").write_text(text)
    assert refusals(with_tls) == ["the 'certificate' has no private key in its file: name it with 'key'"]


def test_a_file_that_is_none_too_large_or_a_pipe_is_refused_at_once(with_tls):
    (with_tls / "ca.pem").write_bytes(b"a" * 1_100_000)
    (with_tls / "own.pem").unlink()
    (with_tls / "own.key").unlink()
    os.mkfifo(with_tls / "own.key")
    beside = "looked for beside this policy file"
    assert refusals(with_tls) == [
        f"the file of 'ca' ('ca.pem', {beside}) is larger than 1024 KB",
        f"the file of 'certificate' ('own.pem', {beside}) does not exist",
        f"the file of 'key' ('own.key', {beside}) is not a file",
    ]


def test_a_renewed_certificate_is_taken_like_an_edit(with_tls):
    holder = PolicyHolder(with_tls)
    before = holder.current
    holder.poll()
    holder.poll()
    assert holder.current is before
    write_certificate(with_tls)
    holder.poll()
    assert holder.current is before
    holder.poll()
    assert holder.current.upstreams["api"] != before.upstreams["api"]
    assert (holder.reloads, holder.refusals) == (1, 0)


def test_a_certificate_that_is_gone_keeps_the_running_policy_until_it_is_back(with_tls):
    holder = PolicyHolder(with_tls)
    running = holder.current
    (with_tls / "own.key").rename(with_tls / "away.key")
    for _ in range(4):
        holder.poll()
    assert holder.current is running
    assert holder.refusals == 1
    assert "does not exist" in str(holder.last_error)
    (with_tls / "away.key").rename(with_tls / "own.key")
    holder.poll()
    holder.poll()
    assert holder.last_error is None
    assert holder.current is running


def test_where_the_settings_name_no_servers_every_route_needs_a_group(policies, good):
    directory = policies(api=good)
    with pytest.raises(PolicyInvalid) as invalid:
        PolicyHolder(directory, has_default_upstream=False)
    [fault] = invalid.value.faults
    assert fault.source_line.strip() == "- match: POST /v1/render/**"
    assert "'default' in 'upstreams'" in fault.message
    assert "TIERGATE_UPSTREAM_URL" in fault.message
    policies(groups="version: 1\nupstreams: {default: {servers: http://127.0.0.1:9}}\n")
    holder = PolicyHolder(directory, has_default_upstream=False)
    before = holder.current
    (directory / "groups.yaml").unlink()
    assert not holder.reload()
    assert holder.current is before
