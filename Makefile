# Everything happens in .venv; nothing but Python 3.11 or newer and make is needed beforehand.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed
# two processes: more would start more Java machines than they save
PARALLEL := -n 2 --dist worksteal

.PHONY: help install quickstart regvid-demo test test-slow mutants docs lint types format wheel clean

help:  ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(INSTALLED)  ## Set up .venv with the pinned versions

$(INSTALLED): setup.cfg setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps litdata
	@touch $@

quickstart: $(INSTALLED)  ## Train on the built-in data, test, and show what was learnt
	$(BIN)/python cli.py quickstart

regvid-demo: $(INSTALLED)  ## Make instruction data of built-in videos with stand-in models, and train on it
	$(BIN)/python -m experiments.regvid_demo

test: $(INSTALLED)  ## The tests, a few minutes
	$(BIN)/python -m pytest $(PARALLEL)

test-slow: $(INSTALLED)  ## All tests, the slow ones too, and three times as many damaged files
	THOROUGH=1 $(BIN)/python -m pytest $(PARALLEL) -m ""

mutants: $(INSTALLED)  ## Mistakes in the core that no test notices, an hour
	$(BIN)/python tests/mutation

docs: $(INSTALLED)  ## The pages of docs/, into site/; a broken link is an error
	$(BIN)/zensical build --strict --config-file mkdocs.yml

lint: $(INSTALLED)  ## Style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)  ## Types
	$(BIN)/mypy

format: $(INSTALLED)  ## Put the source in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(INSTALLED)  ## A wheel in dist/, with the command `region`
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

clean:  ## Remove what training, testing and building wrote
	rm -rf runs data site build dist .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
