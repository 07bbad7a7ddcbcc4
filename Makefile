# make install: install into .venv, make the built-in dataset and score the linear model on its first fold, shown with
# every other model as a reference; nothing needs the network afterwards.
# make score: install if needed, then score the default model on the built-in dataset.
# make test: the same installation, then style, types, import contracts and all tests but the slow ones.
# make test-slow: the slow tests, and the property-based ones again with ten times the examples.
# make test-all: both.
# make docs: build the documentation as a web site, build/site; a warning or a broken link is an error.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PLUGINS := $(wildcard plugins/*)

PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: install score test test-slow test-all lint docs clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt $(wildcard plugins/*/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--editable ".[control,dandi,dask,dev,docs,stream]" $(addprefix --editable ,$(PLUGINS))
	$(BIN)/ngb data make
	$(BIN)/ngb score --model linear_kinematic --seed 0
	touch $@

score: install
	$(BIN)/ngb score --model muscle_ppo --no-train

test: install lint
	$(PYTEST) -m "not slow"

test-slow: install
	$(PYTEST) -m "slow or hypothesis" --hypothesis-profile full

test-all: test test-slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: install
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV)
