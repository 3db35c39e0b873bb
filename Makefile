# Every target makes .venv first where it is missing or older than pyproject.toml and constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: install run test lint format bench cuda

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(INSTALLED)

run: install
	$(BIN)/recsweep train -m experiment=rating_synthetic
	$(BIN)/recsweep train -m experiment=two_stage_synthetic
	$(BIN)/recsweep train -m 'experiment=glob(two_tower_synthetic*)'

test: lint
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
