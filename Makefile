# `make demo` and `make test` work in a fresh clone, each alone; both install what they need into this folder first.

.DEFAULT_GOAL := help
.PHONY: help install demo test check campaign bench slurm-up slurm-down slurm-status clean
SHELL := /bin/bash
BIN := .venv/bin
ARGS :=

help:  ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  ARGS=... is handed on: make test ARGS='-k ledger -x'"

install:  ## put what uv.lock says into .venv; needs Python 3.12 or newer
	@.ci/install

demo: install  ## run a whole flow on a small data set, and look at what came of it
	@TERP_HOME=$(CURDIR)/.terp $(BIN)/python -m terp.workflows.demo $(ARGS)

check: install  ## read the code: style, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check  ## read the code and run the tests, with coverage
	$(BIN)/python -m pytest -m "not campaign" -n 3 --cov --cov-report=term:skip-covered $(ARGS)

campaign: install  ## run the tests that take minutes to hours
	$(BIN)/python -m pytest -m campaign $(ARGS)

bench: install  ## run the headline benchmarks, all rows, some minutes
	$(BIN)/python -m benchmarks $(ARGS)

slurm-up:  ## make a small real SLURM of this machine: installs Debian packages, makes network namespaces; as root
	@slurm/testbed/testbed.sh up

slurm-down:  ## take it away again, but for the packages
	@slurm/testbed/testbed.sh down

slurm-status:  ## see what of it runs
	@slurm/testbed/testbed.sh status

clean:  ## remove all that can be made again
	rm -rf .venv .tools .terp .bench dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
