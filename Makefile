# Every target makes what it needs. `make demo` and `make test` work from a fresh clone with Python 3.12 and pip.

PYTHON ?= python3.12
VENV := .venv
TT := $(VENV)/bin/tt
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo up down test lint format docs bench clean

help:
	@echo "make demo     fill all thirteen tables from the bundled bars"
	@echo "make up       serve the UI at http://127.0.0.1:3000 (Ctrl-C or make down stops it)"
	@echo "make test     run the tests, $(WORKERS) at a time (WORKERS=4 make test)"
	@echo "make lint     ruff, mypy, the import contracts and the reference pages; make format repairs what it can"
	@echo "make docs     write the reference pages of docs/ out of the code"
	@echo "make bench    measure reading, writing, backfills, memory, the simulator and the whole at scale"
	@echo "make install  just the environment, in .venv"
	@echo "make clean    remove the environment and every cache"

install: $(VENV)/.installed

$(VENV)/.installed: setup.py pyproject.toml README.md
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV); the first time this takes some minutes and about 8 GB (torch and TensorFlow)."
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	@touch $@

demo: install
	$(TT) demo

up: install
	$(TT) up

down: install
	$(TT) down

test: install
	$(VENV)/bin/python -m pytest --numprocesses=$(WORKERS)

lint: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python -m tt_assets_tests.docs --check

format: install
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: install
	$(VENV)/bin/python -m tt_assets_tests.docs

bench: install
	$(VENV)/bin/python -m tt_assets_tests.benchmarks $(NAME)

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis artefacts build *.egg-info
