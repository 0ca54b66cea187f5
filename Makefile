# Each target makes .venv where it is missing, installs into it what it needs, and runs.
# make demo ARGS="--port 9000" · make test ARGS="-k alarms" · make demo PYTHON=python3.13

PYTHON ?= python3
ARGS ?=
VENV := .venv
INSTALL := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check bench bench-judgement

demo: $(VENV)/demo.stamp
	$(VENV)/bin/ridethrough demo $(ARGS)

test: $(VENV)/test.stamp
	$(VENV)/bin/pytest $(ARGS)

check: $(VENV)/test.stamp
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(VENV)/test.stamp
	$(VENV)/bin/python -m bench $(ARGS)

bench-judgement: $(VENV)/test.stamp
	$(VENV)/bin/python -m bench.judgement $(ARGS)

$(VENV)/bin/python:
	@$(PYTHON) -c '' 2>/dev/null || { \
		echo "$(PYTHON) is missing: install Python 3.11 or newer, or name it: make PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is older than Python 3.11: name a newer one: make PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module: install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/demo.stamp: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing what the demo needs into $(VENV) …"
	@$(INSTALL) -e '.[demo]'
	@touch $@

$(VENV)/test.stamp: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing what the tests and checks need into $(VENV) …"
	@$(INSTALL) -e '.[demo,test]'
	@touch $@
