# make demo: set up and run the main job. make test: set up for developers, lint, types, fast tests.
# make demo PIP_ARGS="..." gives pip options of your own.
PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: help demo test test-slow lint models clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       set up and train the Smiling direction on ToyFaces (minutes, 2 CPU cores)"
	@echo "make test       set up, check style and types, run the fast tests (under 12 minutes)"
	@echo "make test-slow  the tests that take long (under 45 minutes)"
	@echo "make lint       style and types alone"
	@echo "make models     train the bundled models again (hours)"
	@echo "make clean      remove .venv and caches; runs/ stays"

INSTALL = $(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS) -c constraints.txt

# A stamp is written last, so that a broken installation is taken up again. What developers need
# holds what users need: after it there is nothing left to install for these.
.venv/made:
	@$(PYTHON) -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		2>/dev/null || { echo "hsl needs Python 3.11 to 3.13 with venv; name one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: pyproject.toml constraints.txt | .venv/made
	$(INSTALL) -e .
	@touch $@

.venv/installed-dev: pyproject.toml constraints.txt | .venv/made
	$(INSTALL) -e ".[dev]"
	@touch .venv/installed $@

# Passive waiting: spinning threads are many times slower where something else runs, too.
demo: .venv/installed
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m hsl.train fit

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One thread a worker: small networks gain more from two tests at once than from two threads.
test: lint
	OMP_NUM_THREADS=1 $(PYTEST) -n $(WORKERS) --durations=10

# One after the other, with all cores: some of these measure time and memory. 5: none collected.
test-slow: .venv/installed-dev
	$(PYTEST) -m "slow and not gpu and not network" --durations=0 || test $$? -eq 5

models: .venv/installed-dev
	PATH="$(CURDIR)/$(BIN):$$PATH" bash experiments/toyfaces/make_models.sh

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build dist hspace.egg-info hsl.egg-info
	find hsl tests experiments -name __pycache__ -type d -prune -exec rm -rf {} +
