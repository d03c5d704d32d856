# make demo · make test · make check: each sets itself up first, in .venv, once.
#
#   PYTHON=…   the interpreter to build .venv with (default: see .ci/environment)
#   VENV=…     where to build it

VENV ?= .venv
BIN := $(VENV)/bin
DEMO := demo
TESTS ?=

# pyright asks the network whether it is the newest; constraints.txt has already decided.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help demo test test-cluster faults soak check clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    simulate micro-video logs, train on them with two workers, show what came out ($(DEMO)/)"
	@echo "make test    all tests; TESTS='tests/cli -k config' for some of them"
	@echo "make test-cluster  the tests that need a cluster of several nodes, which they start on this machine"
	@echo "make faults  what happens to runs on several nodes when processes, nodes, network or storage fail: a table"
	@echo "make soak    half an hour of training with two workers; does any process grow?"
	@echo "make check   lint, format, types, layers"
	@echo "make clean   remove $(VENV) and $(DEMO)"

# One stamp for the package alone and one for each extra of pyproject.toml; made again when the packages wanted change.
$(VENV)/installed: pyproject.toml constraints.txt .ci/environment
	@bash .ci/environment $(VENV)
	@touch $@

$(VENV)/installed-%: pyproject.toml constraints.txt .ci/environment
	@bash .ci/environment $(VENV) $*
	@touch $@

demo: $(VENV)/installed
	@rm -rf $(DEMO)
	$(BIN)/distributed-il simulate --config jobs/demo_simulate.yaml --output $(DEMO)/data
	$(BIN)/distributed-il train --config jobs/demo.yaml --data.path $(DEMO)/data --run.dir $(DEMO)/run

# Four processes: the tests on Ray, one after another, which mostly wait, beside three with all others.
test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n 4 $(TESTS)

test-cluster: $(VENV)/installed-test
	$(BIN)/python -m pytest -m cluster $(TESTS)

faults: $(VENV)/installed-test
	$(BIN)/python -m benchmarks.faults

soak: $(VENV)/installed-test
	$(BIN)/python -m benchmarks.soak --minutes 30

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-cache

clean:
	rm -rf $(VENV) $(DEMO)
