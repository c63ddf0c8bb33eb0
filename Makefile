# `make run` starts the API on this machine with everything it needs. `make test` runs all checks.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed-from-lock
NEEDED := Install Python 3.11, 3.12, 3.13 or 3.14, or name it: make run PYTHON=python3.13
# As many as two cores have: with more, tests wait for each other until their timeouts.
WORKERS ?= 2
XDIST := -n $(WORKERS) --dist worksteal
PYTEST := $(BIN)/pytest $(XDIST)
# The folders of each test level. A test checks that no folder is missing.
UNIT := tests/unit
INTEGRATION := tests/integration
CONTRACT := tests/contract tests/server tests/clients
RACE := tests/race
E2E := tests/e2e tests/page tests/console
CITUS := tests/citus

.DEFAULT_GOAL := help
.PHONY: help install run demo test lint types unit integration contract race e2e coverage containers clients test-pgbouncer test-citus fuzz \
	bench bench-speed bench-codes bench-webhooks bench-growth bench-memory bench-abuse lock clean

help:
	@echo "make run           run the API on this machine with PostgreSQL, Valkey and an anti-fraud stub"
	@echo "make demo          the same with a month of example data, for the company console"
	@echo "make install       create .venv and install the locked packages"
	@echo
	@echo "make test          lint, types and all tests"
	@echo "make lint          check rules and format with ruff"
	@echo "make types         check types with mypy"
	@echo "make unit          tests without servers, and rules of the source and the pages"
	@echo "make integration   tests of the API in one process with PostgreSQL and Valkey"
	@echo "make contract      tests of the contract layer, fuzzing, and generated clients"
	@echo "make race          tests of concurrent requests"
	@echo "make e2e           tests of the running server: processes, outages, hostile clients, documentation page"
	@echo "make coverage      all tests with branch coverage; fails below the minimum in setup.cfg"
	@echo "make containers    tests of the Docker image; with ENGINE=required they fail without Docker"
	@echo "make clients       clients in eight languages; with CLIENTS=required they fail without a compiler"
	@echo "make test-pgbouncer  the tests that use PostgreSQL, through an installed PgBouncer"
	@echo "make test-citus    the tests that use PostgreSQL, on a Citus cluster at CITUS_HOST and CITUS_PORT"
	@echo "make fuzz          schemathesis with many examples and several seeds"
	@echo
	@echo "make bench         all benchmarks of docs/benchmarks.md, in an hour:"
	@echo "  bench-speed      contract layer, one popular promo, and throughput next to YARDSTICK=FOLDER"
	@echo "  bench-codes      import, generation, export and redemption of a million codes; 5 minutes"
	@echo "  bench-webhooks   deliveries of events to webhooks; 5 minutes"
	@echo "  bench-growth     response times up to a million promos; 25 minutes, 9 GB"
	@echo "  bench-memory     memory of the workers under load; 10 minutes"
	@echo "  bench-abuse      response times of honest clients next to abusive clients; 17 minutes"
	@echo
	@echo "make lock          update the lock files from setup.cfg"
	@echo "make clean         remove .venv; the data of make run and make demo stays in .promo and .promo-demo"

install: $(STAMP)

$(STAMP): requirements-dev.lock setup.cfg
	@command -v $(PYTHON) >/dev/null || { echo "There is no command $(PYTHON). $(NEEDED)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] <= (3, 14) else \
		"Python %d.%d is not supported. $(NEEDED)" % sys.version_info[:2])'
	@$(PYTHON) -m promo_api.dev.install

run: install
	@$(BIN)/python -m promo_api dev

demo: install
	@$(BIN)/python -m promo_api demo

test: lint types
	$(PYTEST)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

unit: install
	$(PYTEST) $(UNIT)

integration: install
	$(PYTEST) $(INTEGRATION)

contract: install
	$(PYTEST) $(CONTRACT)

race: install
	$(PYTEST) $(RACE)

e2e: install
	$(PYTEST) $(E2E)

coverage: install
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(XDIST)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-pgbouncer: install
	@PATH="$$PATH:/usr/sbin" command -v pgbouncer >/dev/null || { echo "PgBouncer is not installed (Debian: apt-get install pgbouncer)."; exit 1; }
	TEST_THROUGH_PGBOUNCER=1 $(PYTEST) $(INTEGRATION) $(RACE) tests/e2e tests/clients tests/contract/test_fuzz.py

test-citus: install
	@$(BIN)/python -m tests.citus_databases
	TEST_ON_CITUS=1 $(PYTEST) $(INTEGRATION) $(CONTRACT) $(RACE) $(CITUS) tests/e2e/citus

ENGINE ?= optional
containers: install
	ENGINE=$(ENGINE) $(BIN)/pytest tests/e2e/container

CLIENTS ?= optional
clients: install
	CLIENTS=$(CLIENTS) $(BIN)/pytest -rps tests/clients/test_generated_clients.py

fuzz: install
	FUZZ_EXAMPLES=200 FUZZ_SEEDS=1,2,3 $(BIN)/pytest -s tests/contract/test_fuzz.py

bench: bench-speed bench-codes bench-webhooks bench-growth bench-memory bench-abuse

bench-speed: install
	@$(BIN)/python -m tests.bench.contract_layer
	@$(BIN)/python -m tests.bench.hot_promo
	@$(BIN)/python -m tests.bench.throughput --yardstick "$(YARDSTICK)"

bench-codes: install
	@$(BIN)/python -m tests.bench.codes
	@$(BIN)/python -m tests.bench.redemptions

bench-webhooks: install
	@$(BIN)/python -m tests.bench.webhooks

bench-growth: install
	@$(BIN)/python -m tests.bench.growth

bench-memory: install
	@$(BIN)/python -m tests.bench.memory

bench-abuse: install
	@$(BIN)/python -m tests.bench.overload
	@$(BIN)/python -m tests.bench.abuse

lock: install
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header setup.cfg -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --extra dev setup.cfg -c requirements.lock -o requirements-dev.lock

clean:
	rm -rf .venv
