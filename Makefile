# Every target makes what it needs. `make demo` and `make test` work from a fresh clone with Python 3.12 and pip.

PYTHON ?= python3.12
VENV := .venv
TOOLS := .tools
TT := $(VENV)/bin/tt
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install cluster demo up down test test-fast test-slow lint format docs bench soak lock sbom tools clean

help:
	@echo "make demo     fill all thirteen tables from the bundled bars"
	@echo "make up       serve the UI at http://127.0.0.1:3000 (Ctrl-C or make down stops it)"
	@echo "make test-fast  the tests of the inner loop: no server, no training, two minutes"
	@echo "make test     the tests but the slow ones, $(WORKERS) at a time (WORKERS=4 make test)"
	@echo "make test-slow  the slow ones: processes killed, whole platforms, worlds, browsers"
	@echo "make lint     ruff, mypy, the import contracts and the reference pages; make format repairs what it can"
	@echo "make docs     write the reference pages of docs/ out of the code"
	@echo "make bench    the benchmarks there are; make bench NAME=io measures one"
	@echo "make soak     $(HOSTILE_CASES) hostile inputs of each kind, every kill, then a served platform hurt for"
	@echo "              SOAK_MINUTES (60), seeded by SOAK_SEED (1)"
	@echo "make install  just the environment, in .venv"
	@echo "make cluster  beside it what several machines and Kubernetes take (0.7 GB), and the tests of them"
	@echo "make lock     write requirements/ anew out of setup.py; UPGRADE=--upgrade takes the newest"
	@echo "make sbom     sbom.json: every installed package, as CycloneDX"
	@echo "make clean    remove the environment and every cache"

install: $(VENV)/.installed

PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

$(VENV)/.installed: setup.py pyproject.toml requirements/test.txt
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV); the first time this takes some minutes and about 6 GB (torch and its libraries)."
	$(PIP) --require-hashes --no-deps --requirement requirements/test.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

cluster: $(VENV)/.cluster

$(VENV)/.cluster: $(VENV)/.installed requirements/cluster.txt
	$(PIP) --require-hashes --no-deps --requirement requirements/cluster.txt
	@touch $@

demo: install
	$(TT) demo

up: install
	$(TT) up

down: install
	$(TT) down

PYTEST := $(VENV)/bin/python -m pytest --numprocesses=$(WORKERS)

test-fast: install
	$(PYTEST) -m "not slow and not server and not training"

test: install
	$(PYTEST) -m "not slow"

test-slow: install
	$(PYTEST) -m slow --reruns 2 -rR

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

# What is in use today is kept where it still satisfies setup.py; UPGRADE=--upgrade takes the newest of everything.
UPGRADE ?=
LOCK = $(TOOLS)/bin/uv pip compile setup.py --quiet --overrides requirements/left_out.txt --generate-hashes --no-header \
	--no-emit-index-url --no-annotate --python-version 3.12 --python-platform x86_64-manylinux_2_28 $(UPGRADE)

lock: tools
	$(LOCK) --output-file requirements/runtime.txt
	$(LOCK) --extra test --constraint requirements/runtime.txt --output-file requirements/test.txt
	$(LOCK) --extra test --extra ray --extra test-deploy --constraint requirements/test.txt \
		--output-file requirements/cluster.txt
	$(LOCK) --extra k8s --constraint requirements/cluster.txt --output-file requirements/image.txt
	$(TOOLS)/bin/uv pip compile requirements/tools.in --quiet --generate-hashes --no-header --no-emit-index-url \
		--no-annotate --python-version 3.12 $(UPGRADE) --output-file requirements/tools.txt

sbom: install tools
	$(TOOLS)/bin/cyclonedx-py environment --output-reproducible --output-file sbom.json \
		$(VENV)/bin/python
	@echo "sbom.json: what is installed, as CycloneDX"

tools: $(TOOLS)/.installed

$(TOOLS)/.installed: requirements/tools.txt
	@test -x $(TOOLS)/bin/python || $(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement $<
	@touch $@

HOSTILE_CASES ?= 10000

soak: install cluster
	HOSTILE_CASES=$(HOSTILE_CASES) FAULTS=all $(PYTEST) tt_assets_tests/faults/test_hostile.py \
		tt_assets_tests/trading/agents/test_hostile_policies.py tt_assets_tests/faults/test_kills.py \
		tt_assets_tests/e2e/test_several_machines.py
	$(VENV)/bin/python -m tt_assets_tests.faults.soak

clean:
	rm -rf $(VENV) $(TOOLS) sbom.json .pytest_cache .ruff_cache .mypy_cache .hypothesis artefacts build *.egg-info
