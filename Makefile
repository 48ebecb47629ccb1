# make train   install into .venv, train on Python's own help topics, show nearest words
# make train INPUT=corpus.txt OUTPUT=runs/mine OPTIONS="--dims=200 --epochs=3"
# make test    the default tests
# make lint    ruff, mypy, import-linter
# make lowest  some tests with the lowest versions that pyproject.toml allows
# make lock    deploy/locked.txt: the versions of all packages that CI takes, with their hashes
# make docs    docs/options.md, the template's parameters, and the site of all pages: site/index.html

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin

# The topics are few words, so they take many epochs of small steps.
TOPICS_OPTIONS := --epochs=100 --batch_size=256 --learning_rate=0.05 --dims=50 --min_count=10
TOPICS := runs/topics.txt
SMOKE := tests/system/test_digest.py tests/beam2vec tests/model tests/runs/test_run.py
INPUT ?=
OUTPUT ?= $(if $(INPUT),runs/mine,runs/topics)
OPTIONS ?= $(if $(INPUT),,$(TOPICS_OPTIONS))

.PHONY: train test lint lowest lock docs

ifeq ($(INPUT),)
train: $(VENV)/installed $(TOPICS)
	$(BIN)/python -m jobs.train --input=$(TOPICS) --output=$(OUTPUT) $(OPTIONS)
	$(BIN)/python examples/neighbors.py $(OUTPUT)/checkpoints class string exception float
else
train: $(VENV)/installed
	$(BIN)/python -m jobs.train --input='$(INPUT)' --output='$(OUTPUT)' $(OPTIONS)
endif

# With that variable, each process that is started would compile all of tests and product again.
test: $(VENV)/installed-test
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n auto $(ARGS)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/installed-docs
	$(BIN)/python -m jobs.cli.options_reference > docs/options.md
	$(BIN)/python -m deploy.dataflow.metadata > deploy/dataflow/metadata.json
	$(BIN)/mkdocs build --strict

# What a user with an old environment has: each dependency at the lowest version of its range.
lowest: $(VENV)/installed-uv
	test -x $(VENV)-lowest/bin/python || $(BIN)/python -m venv $(VENV)-lowest
	$(BIN)/uv pip install --quiet --python $(VENV)-lowest/bin/python --resolution lowest-direct --editable '.[test]'
	$(VENV)-lowest/bin/python -m pytest -q -n 0 --timeout=1200 $(SMOKE)  # it compiles the kernels first

lock: $(VENV)/installed-uv
	$(BIN)/uv pip compile pyproject.toml --extra test --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --upgrade --quiet --output-file deploy/locked.txt

$(TOPICS): | $(VENV)/installed
	$(BIN)/python -m examples.python_topics $@

# With the better map of the report.
$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[report]'
	touch $@

$(VENV)/installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@ $(VENV)/installed

$(VENV)/installed-uv: | $(BIN)/python
	$(BIN)/python -m pip install --quiet 'uv>=0.9,<1'
	touch $@

$(VENV)/installed-docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@ $(VENV)/installed

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
