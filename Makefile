# Every target makes the virtual environment it needs. A fresh clone needs python3 (3.11 to 3.13) and make.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
ARGS ?=

# Tests that compare numbers, and settings under which other kernels compute them.
NUMERICS := tests/inference tests/gmm tests/vae/test_model.py tests/core/test_compiled_loop.py \
	tests/core/test_devices.py tests/core/test_trees.py tests/test_mm.py
KERNELS ?= TF_ENABLE_ONEDNN_OPTS=0 OPENBLAS_CORETYPE=Haswell

BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check
INSTALLED := $(VENV)/.installed
DOCS_INSTALLED := $(VENV)/.installed-docs

.DEFAULT_GOAL := help
.PHONY: help demo test numerics fuzz lint format docs bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## four eyes learn digits from each other, without labels; pictures go to demo/
	$(BIN)/kserket demo $(ARGS)

test: lint ## ruff and mypy, then every test (ARGS="-k vae -x" goes to pytest, WORKERS=0 for one process)
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

numerics: $(INSTALLED) ## tests of numbers as another processor computes them (KERNELS="NAME=value ...")
	env $(KERNELS) $(BIN)/python -m pytest -n $(WORKERS) $(NUMERICS) $(ARGS)

fuzz: $(INSTALLED) ## the tables of odd inputs, options, files and faults in full (long)
	$(BIN)/python -m pytest -n $(WORKERS) -m fuzz $(ARGS)

lint: $(INSTALLED) ## ruff check, ruff format --check and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED) ## format the code and sort imports
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

docs: $(DOCS_INSTALLED) ## build the documentation into docs/_build/html
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

bench: $(INSTALLED) ## run every script in benchmarks/
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

clean: ## remove the virtual environment and everything built
	rm -rf $(VENV) build dist *.egg-info docs/_build docs/generated demo .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("kserket needs Python 3.11 or later; $(PYTHON) is %d.%d. Try: make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Installing kserket into $(VENV) (TensorFlow is about 600 MB; this takes a minute or two)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) --editable '.[viz,gibbs,test]'
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	@$(PIP_INSTALL) --editable '.[viz,docs]'
	@touch $@
