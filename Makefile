# make demo     a virtual environment, the installation, and an avatar of the NASA portrait that scikit-image carries
# make test     the checks: lint, module boundaries, tests
# make results  the figures of docs/results.md (needs the data beside the checkout; takes long)
# make lint     ruff and import-linter only
# make clean    removes what the others made

VENV := .venv
BIN := $(VENV)/bin
CORES := $(shell nproc 2>/dev/null || echo 2)
# One thread per test process: the processes share the cores.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)

.PHONY: demo test results lint clean
.DELETE_ON_ERROR:

demo: $(VENV)/demo.done
	@$(BIN)/python examples/demo.py

test: $(VENV)/test.done
	@$(MAKE) --no-print-directory lint
	@$(ONE_THREAD) $(BIN)/python -m pytest -n $(CORES)

lint: $(VENV)/test.done
	@$(BIN)/ruff check
	@$(BIN)/lint-imports --no-cache

results: $(VENV)/evaluate.done
	@$(BIN)/python -m relit.evaluation.results --data $(or $(DATA),../shared/data)

clean:
	rm -rf $(VENV) out results build .pytest_cache .ruff_cache src/*.egg-info

$(VENV)/%.done: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "relit needs Python 3.11 or newer with venv (Debian: python3-venv); none was found" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$*]'
	@touch $@
