# `make` alone lists the targets. Each does its own set-up; a fresh clone needs only Python 3.11 or newer.
# Recipes read a caller's values from the environment, so that a name may contain spaces and quotes.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install run test lint format bench chaos simulate mutants smoke constraints clean FORCE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest
JOBS ?= 2
export PYTHON CANDLES SPEED BENCH ROWS SCALE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## build .venv with all that S6, its tests and its embedded parts need

# An environment holds its folder's absolute path, and `.ready` says which. An environment that was moved or copied, or
# whose interpreter is gone, is made anew.
MADE_FOR := $(shell $(BIN)/python -c '' 2>/dev/null && cat $(READY) 2>/dev/null || true)
ifneq ($(MADE_FOR),$(shell pwd -P))
$(READY): FORCE
endif

$(READY): setup.cfg pyproject.toml constraints.txt
	@"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'S6 needs Python 3.11 or newer; name one: make PYTHON=python3.12' >&2; exit 1; }
	@{ $(BIN)/python -c '' && [ "$$(cat $(READY))" = "$$(pwd -P)" ]; } 2>/dev/null || "$$PYTHON" -m venv --clear $(VENV) || { echo 'no virtual environment: is the package python3-venv installed?' >&2; exit 1; }
	@echo 'installing into $(VENV) …'
	@$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m compileall -q -j $(JOBS) $(VENV)/lib s6 tasks web celeryconfig.py
	@pwd -P > $@

run: $(READY) ## start the whole system on embedded parts [CANDLES=file.csv] [SPEED=60]
	@exec $(BIN)/s6 up $${CANDLES:+--candles "$$CANDLES"} $${SPEED:+--speed "$$SPEED"}

test: $(READY) ## run the tests, two at a time [ARGS=…] [JOBS=2]
	@$(PYTEST) -n $(JOBS) $(ARGS)

lint: $(READY) ## check style, formatting and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY) ## fix imports and formatting
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

$(VENV)/.ready-bench: $(READY)
	@echo 'installing what the benches compare with …'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	@touch $@

ifdef BENCH
bench: $(READY)
	@$(BIN)/python "$$BENCH" $(ARGS)
else ifdef ROWS
bench: $(READY)
	@$(BIN)/python -m tests.bench --rows "$$ROWS" --scale "$${SCALE:-full}" $(ARGS)
else
bench: $(VENV)/.ready-bench ## measure all that docs/performance.md shows [ROWS=results,entries] [SCALE=small]
	@$(BIN)/python -m tests.bench --scale "$${SCALE:-full}"
	@$(BIN)/python -m tests.bench.peers
	@$(BIN)/python -m tests.bench.flame
endif

chaos: $(READY) ## kill, freeze and starve real processes under a running market [ARGS=…]
	@$(PYTEST) -s --timeout 7200 $(ARGS) tests/chaos

simulate: $(READY) ## run the deterministic simulation [SEEDS=20000]
	@S6_SIMULATION_SEEDS=$(or $(SEEDS),20000) $(PYTEST) -n $(JOBS) --timeout 7200 $(ARGS) tests/simulation

mutants: $(READY) ## plant bugs and see how many the tests notice [SAMPLE=60] [SEED=1] [ARGS=--limit=20]
	@$(BIN)/python -m tests.mutants --sample $(or $(SAMPLE),60) --seed $(or $(SEED),1) --jobs $(JOBS) $(ARGS)

smoke: ## run the unit tests and one life end to end on another Python [PYTHON=python3.13]
	@venv=.venv-smoke-$$("$$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	$(MAKE) --no-print-directory VENV="$$venv" install; \
	"$$venv/bin/python" -m pytest -n $(JOBS) $(ARGS) tests/unit; \
	"$$venv/bin/python" -m pytest $(ARGS) -m smoke tests/e2e

constraints: ## resolve the requirements again and pin them in constraints.txt
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	"$$PYTHON" -m venv "$$scratch/venv"; \
	cp -r setup.cfg pyproject.toml "$$scratch/"; \
	"$$scratch/venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade "$$scratch[bench,dev]"; \
	{ echo '# Versions that are known to work together; written by `make constraints`.'; \
	  "$$scratch/venv/bin/python" -m pip freeze --exclude s6 | LC_ALL=C sort -f; } > "$$scratch/constraints.txt"; \
	cp "$$scratch/constraints.txt" constraints.txt

clean: ## remove what the targets made, the embedded parts' data in var/ included
	@rm -rf .venv .venv-smoke-* var build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
