# make run: the API with all that it needs, on this machine.   make test: lint, types, all tests.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed-from-lock

.DEFAULT_GOAL := help
.PHONY: help install run test fuzz bench bench-speed bench-growth bench-memory bench-abuse lock clean test-pgbouncer e2e

help:
	@echo "make run      run the API here, with PostgreSQL, Valkey and an anti-fraud stand-in of its own"
	@echo "make test     lint, types and all tests"
	@echo "make test-pgbouncer  the tests that need PostgreSQL, through PgBouncer, which must be installed"
	@echo "make e2e      the image and its containers, tried with Docker; make e2e ENGINE=required fails where there is none"
	@echo "make install  only create .venv and install from the lock"
	@echo "make fuzz     schemathesis against the service for a long time"
	@echo "make bench    all that docs/benchmarks.md tells, in an hour; its parts are"
	@echo "    bench-speed    the contract layer, one promo in demand beside many, and requests a second beside"
	@echo "                   a yardstick: YARDSTICK=FOLDER"
	@echo "    bench-growth   how answers slow down with a million promos; takes 25 minutes and 9 GB"
	@echo "    bench-memory   the memory of the workers under load; takes 10 minutes"
	@echo "    bench-abuse    what honest clients notice of abusive ones, and a day of abuse; takes 17 minutes"
	@echo "make lock     renew the locks from setup.cfg"
	@echo "make clean    remove .venv; the data of make run, in .promo, stays"

install: $(STAMP)

$(STAMP): requirements-dev.lock setup.cfg
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "This needs Python 3.11 or newer. Name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: install
	@$(BIN)/python -m promo_api dev

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2

test-pgbouncer: install
	@PATH="$$PATH:/usr/sbin" command -v pgbouncer >/dev/null || { echo "PgBouncer is not installed (Debian: apt-get install pgbouncer)."; exit 1; }
	TEST_THROUGH_PGBOUNCER=1 $(BIN)/pytest -n 2 tests/integration tests/race tests/e2e tests/clients tests/contract/test_fuzz.py

ENGINE ?= optional
e2e: install
	ENGINE=$(ENGINE) $(BIN)/pytest tests/e2e/container

fuzz: install
	FUZZ_EXAMPLES=200 FUZZ_SEEDS=1,2,3 $(BIN)/pytest -s tests/contract/test_fuzz.py

bench: bench-speed bench-growth bench-memory bench-abuse

bench-speed: install
	@$(BIN)/python -m tests.bench.contract_layer
	@$(BIN)/python -m tests.bench.hot_promo
	@$(BIN)/python -m tests.bench.throughput --yardstick "$(YARDSTICK)"

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
