# Everything the project needs is set up by these targets; `make help` lists them.
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

$(VENV)/.synced: $(BIN)/uv requirements.lock pyproject.toml
	@echo "installing the locked Python packages into $(VENV)"
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
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
lock: $(BIN)/uv ## resolve the Python packages again into requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes --no-header \
		--extra testbed --group dev pyproject.toml --output-file requirements.lock

# --- the Docker engine and the images that the testbed runs on ---

.PHONY: engine
engine: ## a Docker engine with compose; one that answers is used as it is
	@docker/engine.sh

.PHONY: images
images: setup engine ## the container images: pulled, or made here where no registry answers
	@$(BIN)/python -m harness.images

# --- checks that take longer than `make test` should ---

N ?= 200000
SEED ?= 0

.PHONY: fuzz
fuzz: setup ## N=200000 damaged and random inputs to every decoder of the wire; SEED says which ones
	FUZZ_INPUTS=$(N) FUZZ_SEED=$(SEED) $(BIN)/pytest -q -n auto tests/unit/wire/test_fuzz.py
