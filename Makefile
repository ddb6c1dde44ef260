# Everything that people and CI run. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.isthmus-installed
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup debian demo test lint docs bench clean

help: ## Show what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(STAMP) ## Create .venv with the product and its extras

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --editable . --group dev
	@for extra in age ck8s helm kubespray parity qr s3 zstd; do \
	    $(BIN)/python -m pip install --quiet --editable ".[$$extra]" \
	    || echo "extra '$$extra' cannot be installed here; what needs it will say so"; \
	done
	@touch $@

debian: ## Install the Debian packages that tests with real servers use (as root)
	@tests/real/install-debian-packages

demo: setup ## Do a whole crossing on this machine
	@$(BIN)/isthmus demo

test: setup debian ## Run all tests; what cannot run here is skipped and named
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

lint: setup ## Check style, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: setup ## Write docs/commands.md and docs/errors.md from the code
	@$(BIN)/python -m isthmus.cli.reference docs

bench: setup debian ## Measure, beside other tools where they are installed; WHAT=transfer runs one
	@$(BIN)/python -m bench $(WHAT)

clean: ## Remove everything that was built
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
