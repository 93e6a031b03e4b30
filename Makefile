# Everything that a contributor runs. Needs make, bash, and a Python >= 3.11 with pip; the rest comes with it.
# `make PYTHON=/path/to/python TARGET` chooses the Python of a new .venv.

SHELL := /bin/bash
BIN := .venv/bin
PYTHON ?=
# Tests start some hundred interpreters: where nothing may be kept, each would compile all that it imports anew.
export PYTHONDONTWRITEBYTECODE :=
# A file of tests stays in one process, so that what it builds for its tests is built once.
PARALLEL := --numprocesses auto --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help run test test-faults test-mutations test-statistics test-all lint format docs bench clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

run: .venv/.run ## run the example experiments on real data
	@echo "Does ridge regression predict better than least squares if there are few patients to learn from?"
	@$(BIN)/crystallize run docs/examples/diabetes/experiments/penalties

test: .venv/.dev ## run all tests
	$(BIN)/python -m pytest $(PARALLEL)

test-faults: .venv/.dev ## strike the store with every fault, not with a sample of them
	CRYSTALLIZE_ALL_FAULTS=1 $(BIN)/python -m pytest $(PARALLEL) tests/faults

test-mutations: .venv/.dev ## edit a thousand random programs, not some of them, and compare hashes with results
	CRYSTALLIZE_ALL_MUTATIONS=1 $(BIN)/python -m pytest tests/utils/test_code_mutations.py

test-statistics: .venv/.dev ## simulate error rates, coverage and power in full, not in small
	CRYSTALLIZE_ALL_STATISTICS=1 $(BIN)/python -m pytest $(PARALLEL) tests/statistics

test-all: ## run all tests on each of Python 3.11 to 3.13 that this machine has
	.ci/test-all

lint: .venv/.dev ## check style, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache  # its cache overlooks a module that is new

format: .venv/.dev ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.dev ## build the documentation into site/
	$(BIN)/python -m mkdocs build --strict

bench: .venv/.dev ## measure us and our neighbours
	$(BIN)/python tests/benchmarks/run.py

clean: ## remove environments, caches and built things
	rm -rf .venv .venvs site build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find crystallize tests docs plugins -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# The stamps are older than a pyproject.toml when the environments are out of date.
.venv/.run: pyproject.toml
	.ci/venv .venv run "$(PYTHON)"

.venv/.dev: pyproject.toml $(wildcard plugins/*/pyproject.toml)
	.ci/venv .venv dev "$(PYTHON)"
