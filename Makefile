# make demo   the whole loop on SmolLM2-135M, two cores, no GPU
# make test   all tests
# make bench  speed against TRL, transformers and lm-evaluation-harness, two hours on two cores with nothing beside it: make bench DATA=folder
# make gpu    tests and benchmarks that need a GPU, with the python that has CUDA's torch: make gpu PYTHON=python3
# make lint   formatting, lint rules, types
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.PHONY: demo test test-fast bench gpu lint clean

demo: $(VENV)/installed
	$(BIN)/camelid run quickstart

# Some tests start a second torch process: on two cores, threads that spin would slow each other thirtyfold.
test test-fast: export OMP_WAIT_POLICY = passive
test: $(VENV)/installed-dev
	$(BIN)/python -m pytest

test-fast: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m "not slow"

# DATA: a folder with conversations/, preferences/ and benchmarks/ in it. What fails stops none of the others.
DATA ?= $(CAMELID_DATA)
BENCH := $(BIN)/python benchmarks
bench: $(VENV)/installed-bench
	-$(BENCH)/training.py --what sft --data $(DATA) --out benchmarks/results
	-$(BENCH)/training.py --what lora --data $(DATA) --out benchmarks/results
	-$(BENCH)/training.py --what reward --data $(DATA) --out benchmarks/results
	-$(BENCH)/training.py --what dpo --data $(DATA) --out benchmarks/results
	-$(BENCH)/sampling.py --data $(DATA)/conversations/lima.json --out benchmarks/results
	-$(BENCH)/sampling.py --against continuous --data $(DATA)/conversations/lima.json --out benchmarks/results
	-$(BENCH)/tasks.py --data $(DATA) --precision checked --out benchmarks/results
	-$(BENCH)/attention.py

# No environment is made: torch for the GPU at hand is the machine's own. Each part has a limit, ten minutes in all, and what
# fails stops none of the others.
gpu: export PYTHONPATH = src:tests
gpu: export CUBLAS_WORKSPACE_CONFIG = :4096:8
gpu:
	-timeout 200 $(PYTHON) -m pytest -q -m cuda tests/test_cuda.py
	-timeout 140 $(PYTHON) benchmarks/gpu.py --what sft --out benchmarks/results
	-timeout 120 $(PYTHON) benchmarks/gpu.py --what sft --weights bfloat16 --out benchmarks/results
	-timeout 120 $(PYTHON) benchmarks/gpu.py --what memory --out benchmarks/results

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy

# The CPU build of torch goes in first, alone: any later resolution would take gigabytes of CUDA instead. A machine with a GPU
# makes its own environment and installs `.[train]` into it. What is imported is compiled then, which is a part of all of it.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[train]'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --editable '.[train,dev]'
	touch $@

$(VENV)/installed-bench: $(VENV)/installed
	$(PIP) --editable '.[train,bench]'
	touch $@

clean:
	rm -rf $(VENV) runs
