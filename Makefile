# Two commands matter: `make demo` fills the holes of a real photo, `make test` runs every check.
# Both make their own virtual environment in .venv and install only when pyproject.toml has changed.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Two processes, one thread each: with more, threads that wait for each other take a third of the time.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile
OUT    := outputs/demo.png

.DEFAULT_GOAL := help
.PHONY: help demo test lint fast clean

help:  ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 8

demo: $(VENV)/.core  ## fill the holes of the example photo with the shipped model
	@mkdir -p $(dir $(OUT))
	$(BIN)/inpaint run examples/photo.jpg examples/mask.png -o $(OUT) --model acr-small
	@echo "before: examples/photo.jpg   mask: examples/mask.png   after: $(CURDIR)/$(OUT)"

test: lint  ## lint, types and all tests that need no GPU
	$(PYTEST) -m "not gpu"

lint: $(VENV)/.dev  ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

fast: $(VENV)/.dev  ## only the quick tests
	$(PYTEST) -q -m "not gpu and not slow and not browser"

clean:  ## remove the environment and what runs left behind
	rm -rf $(VENV) build dist outputs .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# .dev installs .core's packages too, so `make test` alone is enough.
$(VENV)/.core: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV); the first time this fetches PyTorch and takes some minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV); the first time this fetches PyTorch and takes some minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@ $(VENV)/.core
