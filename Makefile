# make demo   the whole loop on SmolLM2-135M, two cores, no GPU
# make test   all tests
# make lint   formatting, lint rules, types
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.PHONY: demo test test-fast lint clean

demo: $(VENV)/installed
	$(BIN)/camelid run quickstart

# Some tests start a second torch process: on two cores, threads that spin would slow each other thirtyfold.
test test-fast: export OMP_WAIT_POLICY = passive
test: $(VENV)/installed-dev
	$(BIN)/python -m pytest

test-fast: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m "not slow"

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

clean:
	rm -rf $(VENV) runs
