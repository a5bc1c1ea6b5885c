# make demo   the whole loop on SmolLM2-135M, two cores, no GPU
# make test   all tests
# make lint   formatting, lint rules, types
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# On two cores two torch processes whose threads spin slow each other thirtyfold.
export OMP_WAIT_POLICY = passive

.PHONY: demo test test-fast lint clean

demo: $(VENV)/installed
	$(BIN)/camelid run quickstart

test: $(VENV)/installed
	$(BIN)/python -m pytest

test-fast: $(VENV)/installed
	$(BIN)/python -m pytest -m "not slow"

lint: $(VENV)/installed
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy

# The CPU build of torch goes in first, alone: any later resolution would take gigabytes of CUDA instead. A machine with a GPU
# makes its own environment and installs `.[train]` into it.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train,dev]'
	touch $@

clean:
	rm -rf $(VENV) runs
