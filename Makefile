# Every target makes .venv first where it is missing or older than pyproject.toml and constraints.txt.
# `make run` installs what its sweeps use, the other targets the development tools, too.
PYTHON ?= python3
BIN := .venv/bin
# Without --no-compile, pip compiles every module of every package; Python compiles those that are imported.
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable
# Also where the environment forbids to write bytecode: else every process compiles torch, Lightning and the rest anew, for ten seconds.
export PYTHONDONTWRITEBYTECODE :=
INSTALLED := .venv/.installed
DEV := .venv/.installed-dev

.PHONY: install run test pytest lint format bench cuda docs notebooks

install: $(DEV)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) '.[ann,search]'
	touch $@

$(DEV): $(INSTALLED)
	$(PIP) '.[dev]'
	touch $@

run: $(INSTALLED)
	$(BIN)/recsweep train -m experiment=rating_synthetic
	$(BIN)/recsweep train -m 'experiment=glob(two_tower_synthetic*)'

# mypy takes one core for most of a minute, pytest both for minutes: side by side they take less.
test: install
	$(MAKE) --no-print-directory --jobs=2 lint pytest

pytest: install
	$(BIN)/pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

cuda: install
	$(BIN)/python benchmarks/devices.py

docs: install
	$(BIN)/mkdocs build --quiet
	@echo site/index.html

# Executes the notebooks in a folder of their own and stores their outputs.
notebooks: install
	folder=$$(mktemp -d) && cp notebooks/*.ipynb $$folder && \
	PATH="$(CURDIR)/$(BIN):$$PATH" jupyter execute --inplace --NotebookClient.record_timing=False $$folder/*.ipynb && \
	cp $$folder/*.ipynb notebooks && rm -r $$folder
