# Every target makes .venv first where it is missing or older than pyproject.toml and constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: install run test lint format bench docs notebooks

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

docs: install
	$(BIN)/mkdocs build --quiet
	@echo site/index.html

# Executes the notebooks in a folder of their own and stores their outputs.
notebooks: install
	folder=$$(mktemp -d) && cp notebooks/*.ipynb $$folder && \
	PATH="$(CURDIR)/$(BIN):$$PATH" jupyter execute --inplace --NotebookClient.record_timing=False $$folder/*.ipynb && \
	cp $$folder/*.ipynb notebooks && rm -r $$folder
