# Needs GNU make and Python 3.11 or newer; everything else comes from PyPI into .venv.
# `make` alone lists what there is to do.

PYTHON ?= python3
# Where to ask for torch alone: the URL of PyTorch's index of CPU builds (192 MB instead of the 2.7 GB of PyPI's
# CUDA build), as PyTorch's install page gives it.  Empty: wherever pip looks, a CPU build before any other.
TORCH_INDEX ?=

export TORCH_INDEX

BIN := .venv/bin
# pytest-randomly also seeds what Hypothesis draws: one seed in CI, so that a failure there is one everywhere.
SEED := $(if $(filter ci,$(HYPOTHESIS_PROFILE)),--randomly-seed=1)
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)
PINS = $(shell sed -n 's/==.*//p' constraints.txt)
TORCH_FROM = $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))

.DEFAULT_GOAL := help
.PHONY: help install demo browser test check pictures vllm-test forgetting image-check bench clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: .venv/.installed ## make .venv and install what is needed into it

demo: install ## ask a real model through Lethe, both answers side by side, then a page; PORT=8081 for another port
	$(BIN)/lethe demo$(if $(PORT), --port $(PORT))

browser: install ## see that there is a browser for the tests of the demo's page; install one where there is none
	@$(BIN)/python -m deploy.chromium

test: install browser ## the tests, with branch coverage of policies and guards
	$(BIN)/python -m pytest --cov $(SEED)

check: install ## ruff, mypy --strict and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports --no-logo

pictures: install browser ## take the pictures of the README anew
	PICTURES=1 $(BIN)/python -m pytest -p no:randomly tests/test_page.py

vllm-test: install ## a real vLLM as upstream, in an environment of its own: .venv-vllm
	$(BIN)/python -m deploy.vllm_cpu install .venv-vllm
	$(BIN)/python -m pytest -p no:randomly -rP -o faulthandler_timeout=3000 tests/vllm/proof.py

bench: install ## what Lethe costs, beside a bare gateway and LiteLLM (in an environment of its own: .venv-bench)
	$(BIN)/python -m bench.overhead --quick

forgetting: install ## is every target found, and nothing else? With benchmark data: make forgetting DATA=folder
	@test -n "$(DATA)" || echo "Without benchmark data, the codes alone; all of it: make forgetting DATA=folder" >&2
	@echo "This takes minutes; each step is a line, behind the seconds since the first one." >&2
	$(BIN)/python -m evals.forgetting $(if $(DATA),"$(DATA)")

image-check: install ## build the container image's stages without an engine, and try the result
	$(BIN)/python -m deploy.check_image

clean: ## remove all environments and every cache
	rm -rf .venv .venv-vllm .venv-bench build dist *.egg-info .coverage htmlcov
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is as old as the last whole installation, so a second `make install` does nothing.
.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Lethe needs Python 3.11 or newer: name one with 'make install PYTHON=python3.12'." >&2; exit 1; }
	@echo "1 of 3: an environment of its own, in .venv."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { rm -rf .venv; $(PYTHON) -m venv .venv >/dev/null 2>&1; } || { \
	  rm -rf .venv; \
	  echo "'$(PYTHON) -m venv' failed: on Debian and Ubuntu, 'apt install python3-venv' first." >&2; exit 1; }
	@echo "2 of 3: torch, 0.2 GB to download (2.7 GB where only PyPI's CUDA build can be had): about a minute."
	@$(BIN)/python -m pip install -q $(TORCH_FROM) "torch==$(TORCH)+cpu" 2>/dev/null \
	  || $(BIN)/python -m pip install "torch==$(TORCH)"
	@echo "3 of 3: Lethe and $(words $(PINS)) packages as pinned, 0.3 GB to download: a minute or two."
	@$(BIN)/python -m pip install -qq -c constraints.txt -e '.[dev]'
	@touch $@
	@echo "Lethe is in .venv; '$(BIN)/lethe --help' lists what it does."
