# `make demo` and `make test` are all a newcomer needs; both set everything up by themselves.
PYTHON ?= python3
# Tests wait much of the time, so that one more than there are cores get ahead.
JOBS   ?= $(shell $(PYTHON) -c 'import os; print(min(8, (os.cpu_count() or 1) + 1))')
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-pgadmin coverage bench fuzz soak lint size format generate build lock clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 18

demo: $(VENV)/.demo ## see a rotation, start to end, in a throw-away home
	@$(BIN)/pgherald demo $(DEMO)

test: $(VENV)/.dev ## run all tests, JOBS at a time, but for the long ones with the real pgAdmin
	@$(if $(TESTS),,PYTHONPATH=tests $(BIN)/python -m support.neighbours)
	@$(BIN)/python -m pytest $(or $(TESTS),-n $(JOBS) --dist worksteal)

test-pgadmin: $(VENV)/.dev ## run the long tests with the real pgAdmin
	@$(if $(TESTS),,PYTHONPATH=tests $(BIN)/python -m support.neighbours)
	@$(BIN)/python -m pytest -m pgadmin $(or $(TESTS),$(if $(PGHERALD_RECORD),,-n 2 --dist worksteal))

# Those that run these rooms in their own process; what others kill could not tell what it ran.
COVERING := tests/unit $(addprefix tests/component/test_,damage.py discovered_names.py \
	engine_machine.py ownership.py pgadmin_client.py probe.py probe_hostile.py probe_relay.py rows.py \
	stories_disk.py uninstall.py writers.py)

coverage: $(VENV)/.dev ## see which branches of sync, clients and files tests run
	@$(BIN)/coverage run -m pytest -q $(or $(TESTS),$(COVERING))
	@$(BIN)/coverage report --fail-under=97 \
		--include="daemon/pgherald/sync/*,daemon/pgherald/clients/*,daemon/pgherald/files/*"

bench: $(VENV)/.dev ## measure speed and cost, and show them in README
	@PYTHONPATH=.:tests $(BIN)/python -m bench $(BENCH)

fuzz: $(VENV)/.dev ## fuzz each parser, and answers of Heroku, for SECONDS (300), led by coverage
	@SECONDS=$(or $(SECONDS),300) $(BIN)/python fuzz

soak: $(VENV)/.dev ## live through a month, and many odd ones, in some minutes
	@$(BIN)/python -m pytest tests/component/test_soak.py tests/component/test_ownership_machine.py \
		--soak -s

lint: $(VENV)/.dev ## style, types, walls between the rooms, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/generate.py --check

size: $(VENV)/.dev ## count lines of code, modules and lines of tests
	@$(BIN)/python tools/size.py

format: $(VENV)/.dev ## put the code into its standard form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: $(VENV)/.dev ## write the generated files anew
	$(BIN)/python tools/generate.py

build: $(VENV)/.dev ## make the archive and the wheel, in dist/
	@$(BIN)/python -m hatchling build -d dist

lock: ## resolve the dependencies anew (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
		--extra demo --group build pyproject.toml -o requirements/demo.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
		--all-extras --group dev pyproject.toml -o requirements/dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
		requirements/pgadmin.in -o requirements/pgadmin.txt
	uv pip compile -q --python-version 3.11 --generate-hashes --no-header \
		requirements/pgadmin-oldest.in -o requirements/pgadmin-oldest.txt

clean: ## remove everything that make made
	rm -rf $(VENV) .cache dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage*

# Each stamp means: the environment holds exactly this locked set, checked by hash.
$(VENV)/.demo: requirements/demo.txt pyproject.toml
	@$(call install,requirements/demo.txt)
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml
	@$(call install,requirements/dev.txt)
	@touch $@ $(VENV)/.demo

define install
set -e; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "pgherald needs Python 3.11 or newer; name it with: make PYTHON=/path/to/python3"; exit 1; }; \
test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
	|| { echo "Python's venv module is missing; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }; \
echo "Installing the locked dependencies …"; \
$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $(1); \
$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
endef
