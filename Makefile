# make run | make test | make check      See CONTRIBUTING.md for the others.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup run test check schemas clean setup-vllm test-vllm

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable . --group dev
	touch $@

setup: $(VENV)/.installed

run: setup
	$(BIN)/selfstudy run jobs/sample.yaml

test: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The schemas are made from the code; a test fails when they differ.
schemas: setup
	$(BIN)/selfstudy schema --write schemas

clean:
	rm -rf out .pytest_cache .mypy_cache .ruff_cache .hypothesis
