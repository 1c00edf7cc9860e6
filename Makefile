# Everything a newcomer needs: `make run` and `make test`. Plain `make` lists the targets.
#
#   PYTHON   interpreter that makes the virtual environment (3.11 or newer): make run PYTHON=python3.13
#   VENV     where that environment lies
#   LOCK     file of exact package versions to install; empty = the newest that pyproject.toml allows:
#            make test LOCK=requirements-lock.txt
#   OUT      where `make run` writes its results

PYTHON ?= python3
VENV ?= .venv
LOCK ?=
OUT ?= results/quick

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(LOCK),--constraint $(LOCK))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run core test test-slow lint format bench precompile clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1	/p' Makefile | expand -t 14

run: $(VENV)/.installed ## install, run the quick suite, print the table, write the report
	@$(BIN)/glia-bench run --suite quick --out $(OUT)

core: $(VENV)/.installed ## run every task but the paper's: two loads, three seeds, all shipped policies
	@$(BIN)/glia-bench run --suite core --out results/core

test: $(VENV)/.installed-dev ## install with the dev extra, run the fast tests
	@$(BIN)/python -m pytest

test-slow: $(VENV)/.installed-dev ## run the slow tests
	@$(BIN)/python -m pytest -m slow

# The distribution maps three folders to glia_bench.envs, .baselines and .leaderboard; type checkers do not follow such
# a mapping in an editable install, so they read a built tree. build/lib is setuptools' scratch: it keeps deleted files.
lint: $(VENV)/.installed-dev ## ruff format, ruff check, mypy --strict on the built tree
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@rm -rf build/lib build/bdist.* build/tree
	@$(INSTALL) --no-deps --target build/tree .
	@MYPYPATH=build/tree $(BIN)/mypy -p glia_bench

format: $(VENV)/.installed-dev ## rewrite the sources as ruff wants them
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## performance: times, then ratios within one run; wants a quiet machine
	@$(BIN)/python -m pytest benchmarks --benchmark-only
	@$(BIN)/python benchmarks/ratios.py

precompile: $(VENV)/.installed ## compile the simulator once, so that the first run starts at once
	@$(BIN)/glia-bench precompile

clean: ## remove the environment, builds and caches; results are kept
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: pyproject.toml $(LOCK)
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "Glia-Bench needs Python 3.11 or newer; no '$(PYTHON)' was found. Name yours: make PYTHON=python3.13" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Glia-Bench needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1 | head -n 1). Name another: make PYTHON=python3.13" >&2; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  echo "Creating the virtual environment $(VENV)"; $(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing glia-bench into $(VENV)"
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing the development tools into $(VENV)"
	@$(INSTALL) --editable '.[dev]'
	@touch $@
