"""What the Containerfile promises, read as text: most machines that run the tests cannot build it."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
STEPS = (ROOT / "Containerfile").read_text().replace("\\\n", " ")


def pins(lock):
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    return {line.split()[0]: line.count("--hash=sha256:") for line in text.splitlines() if line}


def test_the_image_listens_where_its_published_port_leads():
    assert re.search(r"^ENV .*\bTIERGATE_HOST=0\.0\.0\.0\b", STEPS, re.MULTILINE)


def test_the_image_installs_nothing_that_is_not_named_with_its_hash():
    commands = re.findall(r"pip (?:install|wheel) [^&\n]*", STEPS)
    assert len(commands) == 4
    for command in commands:
        ours = "--no-index" in command or "--no-build-isolation" in command
        assert "--no-deps" in command
        assert ours or re.search(r"--require-hashes .*-r requirements(-build)?\.lock", command)
    for lock in ("requirements.lock", "requirements-build.lock"):
        assert lock in STEPS
        assert f"!{lock}" in (ROOT / ".containerignore").read_text().splitlines()


def test_the_image_is_built_with_what_the_tests_are_built_with():
    build = pins("requirements-build.lock")
    assert any(name.startswith("hatchling==") for name in build)
    assert all(build.values())
    assert build.items() <= pins("requirements-dev.lock").items()
