"""The benchmarks' figures: what is compared with what, who gets none, and what is said then."""

from __future__ import annotations

import json
import subprocess
from xml.etree import ElementTree as ET

import pytest

from benchmarks.candidate import CADDY, DIRECT, ENVOY, NGINX_LUA, OURS_EXACT, Running, write_keys
from benchmarks.chart import Bar, draw_chart
from benchmarks.findings import Findings
from benchmarks.ground import Ground, our_python
from benchmarks.machine import choose_cores
from benchmarks.processes import NotMeasured
from benchmarks.rounds import SCENARIOS, Sample, Samples, check_answers
from benchmarks.table import results_page
from benchmarks.targets import judge
from benchmarks.upstream import running_own_upstream

FIRST = SCENARIOS[0].name


@pytest.fixture
def ground(tmp_path):
    return Ground(directory=tmp_path, cores=choose_cores())


@pytest.fixture
def api(ground):
    with running_own_upstream(ground) as port:
        yield port


def sample(cpu_us, cache_us=0.0):
    return Sample(
        cpu_us=cpu_us,
        cache_us=cache_us,
        per_s=1000.0,
        p50_us=100.0,
        p99_us=200.0,
        busy_p50_us=1000.0,
        busy_p99_us=2000.0,
        memory_mb=50.0,
        cache_mb=5.0 if cache_us else 0.0,
        errors=0,
        calibration_ms=4.0,
    )


def found(**rounds):
    names = {"direct": DIRECT, "ours": OURS_EXACT, "envoy": ENVOY, "caddy": CADDY, "lua": NGINX_LUA}
    samples = Samples(rounds={names[name]: list(given) for name, given in rounds.items()})
    return Findings(scenarios={FIRST: samples})


def verdicts(findings):
    return [verdict.word for verdict in judge(findings)[:3]]


def test_a_machine_that_slows_down_changes_no_ratio():
    ours, envoy = [sample(20), sample(40), sample(200)], [sample(40), sample(80), sample(400)]
    assert verdicts(found(ours=ours, envoy=envoy))[0] == "pass"


def test_the_cache_counts_where_the_rival_has_one_too():
    ours, lua = [sample(30, cache_us=30)], [sample(40, cache_us=15)]
    assert verdicts(found(ours=ours, lua=lua))[2] == "FAIL"


def test_a_target_without_its_rival_is_neither_reached_nor_missed():
    assert verdicts(found(ours=[sample(30)])) == ["not measured"] * 3


def test_a_row_says_why_a_candidate_has_no_figures():
    findings = found(direct=[sample(0)])
    findings.scenarios[FIRST].faults[ENVOY] = "Envoy is not installed"
    assert f"| {ENVOY} | not measured: Envoy is not installed |" in results_page(findings, {})


def test_a_candidate_that_lets_strangers_through_gets_no_figures(api, tmp_path):
    open_to_all = Running(port=api, key_file=write_keys(tmp_path, ("none",)), enforces=True)
    with pytest.raises(NotMeasured, match="without a good key gets 200"):
        check_answers(open_to_all, "/v1/1kb")


def test_a_candidate_that_hides_what_is_left_gets_no_figures(api, tmp_path):
    silent = Running(port=api, key_file=write_keys(tmp_path, ("none",)), left_field="ratelimit")
    with pytest.raises(NotMeasured, match="what is left"):
        check_answers(silent, "/v1/1kb")


def test_a_candidate_whose_quota_does_not_fall_gets_no_figures(api, tmp_path):
    stuck = Running(port=api, key_file=write_keys(tmp_path, ("none",)), left_field="content-length")
    with pytest.raises(NotMeasured, match="from 1024 to 1024"):
        check_answers(stuck, "/v1/1kb")


@pytest.mark.parametrize(("rate", "end"), [("0", "keep"), ("0", "close"), ("200", "keep")])
def test_our_generator_has_every_request_answered(api, tmp_path, rate, end):
    keys = write_keys(tmp_path, ("one", "two"))
    command = our_python("benchmarks.generator", str(api), "/v1/1kb", str(keys), "4", "1", rate, end)
    told = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True).stdout
    figures = json.loads(told.removeprefix("FIGURES"))
    assert figures["errors"] == 0
    assert figures["requests"] > 0


def test_the_chart_is_a_picture_with_a_bar_for_each_part():
    bars = [
        Bar(name="a & b", gateway_us=40, cache_us=10, is_ours=True),
        Bar(name="c", gateway_us=20, cache_us=0, is_ours=False),
    ]
    picture = ET.fromstring(draw_chart("CPU", bars))
    legend = 3
    assert len(picture.findall("{*}rect")) == legend + 3
