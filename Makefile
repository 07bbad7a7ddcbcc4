# make install: install into .venv, make the built-in dataset and score the linear model on its first fold, shown with
# every other model as a reference; nothing needs the network afterwards.
# make score: install if needed, then score the default model on the built-in dataset.
# make test: the same installation, then style, types, import contracts and all tests but the slow ones.
# make test-slow: the slow tests, and the property-based ones again with three times the examples.
# make test-all: both.
# make release: build wheels and source distributions, check them, and score with them in a new environment offline.
# make docs: build the documentation as a web site, build/site; a warning or a broken link is an error.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PLUGINS := $(wildcard plugins/*)

PYTEST := $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder -n

.PHONY: install score test test-slow test-all lint docs release clean

# Everything but torch by uv where it is at hand, which is several times faster; torch by pip, whose index here may
# have the build for CPUs alone.
UV := $(shell command -v uv 2>/dev/null)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
FAST := $(if $(UV),uv pip install --quiet --python $(BIN)/python --constraint constraints.txt,$(PIP))

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt $(wildcard plugins/*/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	@echo "1 of 4: torch (0.2 GB)"
	$(PIP) torch
	@echo "2 of 4: the other packages (0.5 GB)"
	$(FAST) --editable ".[control,dandi,stream,video]" $(addprefix --editable ,$(PLUGINS))
	@echo "3 of 4: the built-in dataset"
	$(BIN)/ngb data make
	@echo "4 of 4: the linear model on it"
	$(BIN)/ngb score --model linear_kinematic --seed 0
	@echo "Installed. Next: source $(VENV)/bin/activate && ngb score --model muscle_ppo (one minute), or ngb --help"
	@touch $@

$(VENV)/.tools: $(VENV)/.installed
	@echo "packages for tests, clusters, devices and documentation (0.5 GB)"
	$(FAST) --editable ".[control,dandi,dask,dev,docs,gpu,stream,video]"
	@touch $@

score: install
	$(BIN)/ngb score --model muscle_ppo --no-train

test: $(VENV)/.tools lint
	$(PYTEST) 3 -m "not slow"

test-slow: $(VENV)/.tools
	$(PYTEST) 3 -m "slow or hypothesis" --hypothesis-profile full

test-all: test test-slow

lint: $(VENV)/.tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

release: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt hatchling twine
	VENV=$(VENV) packaging/release.sh

docs: $(VENV)/.tools
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV)
