# Every target sets up what it needs on a fresh machine, in ./.venv and nowhere else, and then does its job.
# Where bytecode is not kept, every process of the tests would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help evals evals-board evals-slurm test lint bench docs house

BIN := .venv/bin
READY := .venv/.ready

help:
	@echo "make evals        evaluate the sample suites; again: everything is reused"
	@echo "make evals-board  three boards over SSH on this machine, one of which dies; needs sshd"
	@echo "make evals-slurm  a Slurm of four nodes on this machine, one of which dies; needs Debian's Slurm"
	@echo "make test         lint, types, tests with coverage, slow ones, oldest and newest dependencies"
	@echo "make lint         ruff and mypy only"
	@echo "make bench        the benchmarks, beside their targets, measured here"
	@echo "make docs         docs/reference.md from the words and docstrings of the package, docs/notebook.md by running it,"
	@echo "                  the tables of docs/gates.md by looking at every outcome"
	@echo "make house        how the package is built, counted: modules that a pair passes, lines, functions"

# The stamp is older than pyproject.toml where a dependency may have changed.
$(READY): pyproject.toml .ci/setup
	.ci/setup

evals: $(READY)
	$(BIN)/pytest evals/ -n 2

evals-board: $(READY)
	$(BIN)/python evals/board/boards.py

evals-slurm: $(READY)
	$(BIN)/python evals/slurm/cluster.py

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: $(READY)
	.ci/tools
	@# While types are looked at, all tests are read once: what pytest makes of their asserts is kept, and no worker of
	@# the next command has to make it again.
	$(BIN)/pytest -q --collect-only >/dev/null & $(MAKE) --no-print-directory lint && wait
	$(BIN)/coverage erase
	@# More workers than cores: many tests wait for real processes. test_compat.py is what tox runs three times;
	@# tests/unit/datasets/hf, tests/unit/engines/dlc and tests/unit/report/export/inspect, which are only run where they
	@# are named, are what its environments `hf`, `dlc` and `inspect` are for.
	$(BIN)/coverage run -m pytest -n 5 --dist worksteal --durations=25 -m "not slow" --ignore tests/integration/test_compat.py
	$(BIN)/coverage combine -q
	$(BIN)/coverage report
	@# What is slow has its time beside the other dependencies. To read all other tests for it would take as long.
	$(BIN)/tox run-parallel -q --parallel-no-spinner & status=0; \
	  $(BIN)/pytest -n 2 --dist worksteal -m slow $$(grep -rl --include='test_*.py' 'mark\.slow' tests) || status=$$?; \
	  wait $$! || status=$$?; exit $$status

bench: $(READY)
	$(BIN)/python -m benchmarks

docs: $(READY)
	$(BIN)/python tools/reference.py
	$(BIN)/python -m tools.notebook
	@# Of 0/1 scores; what is simulated takes a quarter of an hour: --simulate.
	$(BIN)/python -m tools.errorrates

house: $(READY)
	$(BIN)/python -m tools.house
