# make demo   the package on real Airflow against local stand-ins      make stop    ends it
# make test   every test                                               make check   ruff, mypy, import-linter
# make soak   schedules at random, SCHEDULES of them from SEED on     make explain RECORD=<id>   a record's history
# make compare MAPPING=<name>   what differs between the two sides, and why (of the demo; elsewhere, the DAG sync_compare)
# make decisions   open questions about company leads into FILE; ANSWERS=FILE reads the answers, THRESHOLD=0.9 asks what if
# make bench  measurements, into .bench/results.json                   make lock    resolves requirements*.in again

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONPATH := include:plugins

.DEFAULT_GOAL := help
.PHONY: help demo stop test check format bench soak explain compare decisions lock clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

# --no-deps: the lists hold every package, so there is nothing to resolve. pip compiles the bytecode, which halves every start of Airflow.
$(VENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; set PYTHON=/path/to/python3")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "==> Installing the packages of requirements.txt (about a minute)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt
	@touch $@

$(VENV)/installed-tests: $(VENV)/installed tests/requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r tests/requirements.txt
	@touch $@

# A JavaScript client to test the emulator with, where there is Node.
$(VENV)/installed-node: tests/node/package-lock.json
	@mkdir -p $(VENV)/node && cp tests/node/package.json tests/node/package-lock.json tests/node/.npmrc $(VENV)/node
	@if command -v npm >/dev/null; then \
	  (cd $(VENV)/node && npm ci --silent --ignore-scripts --no-audit --no-fund) || echo "jsforce could not be installed: its test is skipped."; fi
	@touch $@

demo: $(VENV)/installed
	@$(BIN)/python -m demo up

stop:
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m demo down; else echo "Nothing was running."; fi

# The files that take longest come first, so that neither process has to wait for the other at the end.
test: $(VENV)/installed-tests $(VENV)/installed-node
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/system tests/integration tests/unit

check: $(VENV)/installed-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed-tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed-tests
	PYTHONPATH=$(PYTHONPATH):tests $(BIN)/python -m benchmarks

SCHEDULES ?= 200
SEED ?= 7
soak: $(VENV)/installed-tests
	@cd tests && PYTHONPATH=../include:../plugins:. SCHEDULES=$(SCHEDULES) SEED=$(SEED) BREAK='$(BREAK)' FLOW=$(FLOW) ../$(BIN)/python -m soak

# The demo's state database, unless SALESFORCE_SYNC_STATE_URL names another one.
explain: $(VENV)/installed
	@SALESFORCE_SYNC_STATE_URL=$${SALESFORCE_SYNC_STATE_URL:-sqlite:///$(CURDIR)/.demo/airflow/salesforce_sync.db} \
	  $(BIN)/python -m salesforce_sync.explain $(RECORD)

# Open questions about company leads into decisions.csv, or, when that holds answers, the answers out of it.
FILE ?= decisions.csv
decisions: $(VENV)/installed
	@SALESFORCE_SYNC_STATE_URL=$${SALESFORCE_SYNC_STATE_URL:-sqlite:///$(CURDIR)/.demo/airflow/salesforce_sync.db} \
	  $(BIN)/python -m salesforce_sync.decisions $(if $(THRESHOLD),whatif $(THRESHOLD),$(if $(ANSWERS),read $(ANSWERS),write $(FILE)))

compare: $(VENV)/installed
	@$(BIN)/python -m demo compare $(MAPPING)

# Resolved for every Python from 3.11 on, on all platforms.
lock: $(VENV)/installed
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --no-header --no-annotate -q requirements.in -o requirements.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --no-header --no-annotate -q tests/requirements.in -o tests/requirements.txt

clean: stop
	rm -rf $(VENV) .demo .bench
