# These targets set up everything that the project needs; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
CACHE := .cache

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- set-up: each step is skipped when it is done already ---

$(BIN)/uv:
	@.ci/python-venv $(PYTHON) $(VENV)
	@$(BIN)/pip install --quiet uv==$(UV_VERSION)

$(VENV)/.synced: $(BIN)/uv requirements.lock pyproject.toml harness/pyproject.toml
	@echo "installing the locked Python packages into $(VENV)"
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . --editable harness
	@touch $@

PROTOS := $(wildcard asyncpay/nodes/proto/*.proto)
STUBS := $(PROTOS:.proto=_pb2.py)

$(STUBS) &: $(PROTOS) $(VENV)/.synced
	@$(BIN)/python -m grpc_tools.protoc --proto_path=. --python_out=. --grpc_python_out=. \
		--plugin=$(BIN)/protoc-gen-mypy --plugin=$(BIN)/protoc-gen-mypy_grpc \
		--mypy_out=quiet:. --mypy_grpc_out=quiet:. $(PROTOS)

.PHONY: setup
setup: $(VENV)/.synced $(STUBS) ## the Python environment in .venv, from requirements.lock

.PHONY: lock
lock: UPGRADE ?= --upgrade
lock: COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 $(UPGRADE) --generate-hashes --no-header \
	--override docker/asyncpay/overrides.txt --no-emit-package asyncpay --no-emit-package asyncpay-testbed
lock: $(BIN)/uv ## resolve the Python packages again, for .venv and for the image of asyncpay
	printf '%s\n' '.[cln]' ./harness | \
		$(COMPILE) --group dev - docker/asyncpay/requirements.in --output-file requirements.lock
	echo '.[cln]' | $(COMPILE) --constraint requirements.lock \
		- docker/asyncpay/requirements.in --output-file docker/asyncpay/requirements.lock

.PHONY: dist
dist: $(BIN)/uv ## both distributions, asyncpay and asyncpay-testbed, as wheel and sdist: dist/
	@rm -rf dist
	@ASYNCPAY_RELEASE=1 $(BIN)/uv build --quiet --out-dir dist .
	@$(BIN)/uv build --quiet --out-dir dist harness
	@ls dist

# actionlint is a Go program; Go checks what it fetches against its checksum database.
ACTIONLINT_VERSION := v1.7.12
ACTIONLINT := $(CACHE)/actionlint-$(ACTIONLINT_VERSION)/actionlint

$(ACTIONLINT): | $(VENV)/.synced
	@echo "building actionlint $(ACTIONLINT_VERSION)"
	@go=$$(cd docker/toxiproxy && ../go.sh) && \
		GOBIN=$(CURDIR)/$(@D) "$$go" install github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)

# --- the Docker engine and the images that the testbed runs on ---

.PHONY: engine
engine: ## a Docker engine with compose; one that answers is used as it is
	@docker/engine.sh

.PHONY: images
images: setup engine ## the container images: pulled, or built on this machine if no registry answers
	@$(BIN)/python -m harness.service_images

.PHONY: component-image
component-image: images ## the image asyncpay:VERSION for operators: `asyncpay lsp` and `asyncpay wallet`, docs/operating.md
	@docker/component/build.sh $(CURDIR)/$(BIN)/python

.PHONY: install-services
install-services: ## as root: asyncpay in /opt/asyncpay, and systemd units of `asyncpay lsp` and `asyncpay wallet`, docs/operating.md
	@docs/operating/systemd/install.sh $(PYTHON)

# --- the demo ---

.PHONY: demo
demo: images ## A pays B, and the two are never online at the same time: each step as it happens
	@$(BIN)/testbed demo

# --- checks ---

.PHONY: test
test: lint test-unit test-sim test-selection ## all that CI runs: lint, unit, simulation, and e2e without tests marked `full`

.PHONY: lint
lint: setup $(ACTIONLINT) ## ruff, mypy --strict, import layers, actionlint, rustfmt and clippy, docs/protocol.md's diagrams
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/import-linter lint --no-logo --cache-dir $(CACHE)/import-linter .importlinter.toml
	@$(BIN)/python -m asyncpay.engine.diagram --check
	@$(ACTIONLINT)
	@docker/ldk/check.sh lint

.PHONY: imports
imports: setup ## print which package imports which, as a DOT graph
	@$(BIN)/import-linter drawgraph --show-import-totals asyncpay
	@$(BIN)/import-linter drawgraph --show-import-totals harness

.PHONY: format
format: setup ## format the code and sort the imports with ruff
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format

.PHONY: diagram
diagram: setup ## draw docs/protocol.md's diagrams from the tables in asyncpay/engine/*/states.py
	@$(BIN)/python -m asyncpay.engine.diagram

.PHONY: test-unit
test-unit: setup ## unit tests, without containers
	@$(BIN)/pytest -q -n auto tests/unit
	@docker/ldk/check.sh test

.PHONY: test-sim
test-sim: setup ## the engines in the simulator: 2,000 schedules, and the regressions
	@$(BIN)/pytest -q -n auto tests/simulation

.PHONY: test-browser
test-browser: setup ## pages in a real browser (Debian's chromium): screenshots in artifacts/browser
	@tests/browser/install.sh
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r tests/browser/requirements.lock
	@$(BIN)/pytest -q tests/browser

MATRIX := artifacts/matrix/matrix.html

$(MATRIX):
	@$(BIN)/testbed matrix

.PHONY: pictures
pictures: images $(MATRIX) ## the pictures in README: a real testbed's live page and timeline, and the interop matrix
	@tests/browser/install.sh
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r tests/browser/requirements.lock
	@$(BIN)/python -m tests.browser.pictures

# Tests that share a testbed run in one worker (tests/support/grouping.py). Testbeds mostly wait: one worker per core for
# the selection, two per core for all tests.
E2E = $(BIN)/pytest -v -n $(WORKERS) --dist loadgroup --no-loadscope-reorder --durations 20 tests/e2e
SCENARIOS := artifacts/scenarios.json

.PHONY: test-selection
test-selection: WORKERS ?= $(shell nproc)
test-selection: images ## e2e on real nodes in containers: every family of scenarios, and one crash at each step
	@$(E2E) -m "not full"

.PHONY: test-e2e
test-e2e: WORKERS ?= $(shell echo $$((2 * $$(nproc))))
test-e2e: images ## e2e on real nodes in containers: all tests, WORKERS=n at a time; writes artifacts/scenarios.json
	@rm -f $(SCENARIOS)
	@$(E2E) --testbed-scenarios $(SCENARIOS)

.PHONY: scenarios
scenarios: setup ## the table in docs/scenarios.md, from the last `make test-e2e`
	@$(BIN)/python -m harness.checks.scenario_table $(SCENARIOS) docs/scenarios.md

.PHONY: interop
interop: images ## the asynchronous payment for all 16 combinations of LND and CLN: artifacts/matrix/matrix.html
	@$(BIN)/testbed matrix

COMPARISON := docs/comparison.json

.PHONY: comparison
comparison: images ## asyncpay and LDK's own async payments side by side, with faults: measures, and draws docs/comparison.md
	@$(BIN)/python -m harness.scenarios.comparison $(COMPARISON)
	@$(BIN)/python -m harness.scenarios.comparison_page $(COMPARISON) docs/comparison.md

.PHONY: bench
bench: images ## benchmarks, as ratios within one run: tables, and JSON and SVG files in artifacts/bench
	@tests/browser/install.sh
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r tests/bench/requirements.lock -r tests/browser/requirements.lock
	@for file in tests/bench/bench_*.py; do $(BIN)/python -m "tests.bench.$$(basename "$$file" .py)"; done

# --- checks that take too long for `make test` ---

SEED ?= 0

.PHONY: simulate
simulate: N ?= 10000
simulate: setup ## N=10000 schedules of SEED in the simulator; SCHEDULE=number replays one of them with its trace
	@$(BIN)/python -m tests.simulation $(if $(SCHEDULE),replay $(SCHEDULE),run --n $(N) --seed $(SEED)) $(if $(JSON),--json $(abspath $(JSON)))

.PHONY: simulate-crowd
simulate-crowd: N ?= 20
simulate-crowd: PAYMENTS ?= 200
simulate-crowd: setup ## N=20 crowds of SEED: PAYMENTS=200 concurrent payments between phones of two LSPs
	@$(BIN)/python -m tests.simulation crowd --n $(N) --seed $(SEED) --payments $(PAYMENTS)

.PHONY: simulate-mutants
simulate-mutants: N ?= 10000
simulate-mutants: setup ## break the engines on purpose: each defect must be caught within N=10000 schedules
	@$(BIN)/python -m tests.simulation mutants --n $(N) --seed $(SEED) $(if $(ONLY),--only "$(ONLY)") $(if $(JSON),--json $(abspath $(JSON)))

.PHONY: fuzz
fuzz: N ?= 200000
fuzz: setup ## N=200000 damaged and random inputs, drawn from SEED, to every wire decoder and to the running components
	FUZZ_INPUTS=$(N) FUZZ_SEED=$(SEED) $(BIN)/pytest -q -n auto tests/unit/wire/test_fuzz.py tests/unit/fuzz
