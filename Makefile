# Every command of the project. People and CI use the same ones: `make check`, `make test`,
# `make demo`. All they need is Linux, Python 3.11 or newer, git and make; the rest is installed into
# .venv, in the versions and with the digests of constraints.txt.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH

PYTHON ?= python3
UV ?= $(shell uv --version >/dev/null 2>&1 && command -v uv)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# make test: worker processes, and more arguments for pytest (ARGS="tests/model -k selector").
TEST_WORKERS ?= 2
ARGS ?=
# make simulate: which seeds, or the scenario file that is replayed (SCENARIO=scenario-7.json).
SEEDS ?= ci
SCENARIO ?=
# make simulate WEEK=1: instead of that, a week of 10,000 machines (see tests/simulation/week.py).
WEEK ?=
# make demo: more arguments for `mw demo` (DEMO_ARGS="--dir lab --stay").
DEMO_ARGS ?=
# make lab: more arguments for `mw lab` (LAB_ARGS="--dir lab --machines 2", LAB_ARGS=--tour).
LAB_ARGS ?=

.PHONY: help
help: ## Show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: install
install: $(INSTALLED) ## Install everything into .venv (the other commands do this by themselves)

.PHONY: demo
demo: $(INSTALLED) ## Watch a commit become the state of 48 simulated machines, and a revert undo it
	$(BIN)/metalwright demo $(DEMO_ARGS)

.PHONY: lab
lab: $(INSTALLED) ## Play with three machines of this computer that really boot (docs/lab.md)
	$(BIN)/metalwright lab $(LAB_ARGS)

.PHONY: check
check: $(INSTALLED) ## Lint, formatting, types, architecture, freshness of schemas and documents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py
	$(BIN)/yamllint --strict -c inventory-example/.yamllint inventory-example

.PHONY: test
test: $(INSTALLED) packages ## Run every test, those against real components included
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadgroup $(ARGS)

.PHONY: simulate
simulate: $(INSTALLED) ## Run the whole daemon under virtual time, with faults (SEEDS=ci, long, 20 or 5-9)
	$(if $(WEEK),$(BIN)/python tests/simulation/week.py,\
	  $(BIN)/python tests/simulation/simulate.py --workers $(TEST_WORKERS) \
	  $(if $(SCENARIO),--scenario $(SCENARIO),--seeds $(SEEDS)))

.PHONY: mutate
mutate: $(INSTALLED) ## Put every bug of tests/mutation into a copy of the code, and see that a test catches it
	$(BIN)/python tests/mutation/run.py --jobs $(TEST_WORKERS)

.PHONY: benchmark
benchmark: $(INSTALLED) ## Measure load, resolve, plan, memory, and the throughput of the engine
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/engine.py

.PHONY: format
format: $(INSTALLED) ## Format the code and mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: schema
schema: $(INSTALLED) ## Write schemas/*.json from the types of the model
	$(BIN)/metalwright schema --out schemas

.PHONY: lock
lock: ## Write constraints.txt anew: the latest versions that pyproject.toml allows (needs uv)
	@test -n "$(UV)" || { echo "make lock needs uv: https://docs.astral.sh/uv/" >&2; exit 1; }
	.ci/lock "$(UV)"

.PHONY: clean
clean: ## Remove everything that these commands made
	rm -rf $(VENV) .demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The real components that some tests talk to. Without them those tests skip, and fail under CI=true.
.PHONY: packages
packages:
	@.ci/packages
	@tests/live/ironic_environment.sh "$(PYTHON)" "$(UV)" >/dev/null || true

# One stamp for both ways to install. --no-deps and --no-build-isolation: nothing is installed but
# what constraints.txt lists, not even to build.
$(INSTALLED): pyproject.toml constraints.txt
	@.ci/install "$(PYTHON)" "$(VENV)" "$(UV)"
	@touch $@
