# `make help` lists the targets. Each makes the environment that it needs, and makes it again only
# where pyproject.toml or the pinned versions have changed since.

# The Python that makes the environments: the first of these that is new enough, unless one is named.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
# What the command or the tests get besides: make test ARGS="-k lora"; ARGS="-n 0" runs them in one
# process, as a debugger needs it.
ARGS ?=
# A process for each core. A worker takes about 2 GB, so that more than 8 might not fit.
TEST_WORKERS := --numprocesses logical --maxprocesses 8 --dist worksteal

VENV := .venv
BENCH_VENV := .venv-bench
SCALE_VENV := .venv-scale
PACKAGE_STAMP := $(VENV)/.package
TEST_STAMP := $(VENV)/.package-and-tests
BENCH_STAMP := $(BENCH_VENV)/.package-and-peers
SCALE_STAMP := $(SCALE_VENV)/.checks
PINS := pyproject.toml constraints.txt
# $(call install,ENVIRONMENT,WHAT,ARGUMENTS OF PIP): one line; what pip says goes to a file, which is
# named where it fails.
define install
	@echo 'Installing $2 into $1 (a few minutes at first; pip writes to $1/install.log) ...'
	@$1/bin/python -m pip install $3 --constraint constraints.txt > $1/install.log 2>&1 || { \
		tail -n 5 $1/install.log >&2; \
		echo 'pip failed. All that it wrote is in $1/install.log' >&2; exit 1; }
endef

define docker
	@command -v docker > /dev/null || { \
		echo 'docker is not installed. Install it, or give the Dockerfile to another program:' \
			'podman build --file Dockerfile --tag tunesmith:cpu .' >&2; exit 1; }
endef

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow test-browser test-llama test-scale check docs bench reports image \
	image-cuda clean moved

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(PACKAGE_STAMP) ## set up, then a tour: check, train, report, before/after answers
	@$(VENV)/bin/tunesmith demo $(ARGS)

test: $(TEST_STAMP) ## set up, then every test but the slow group
	$(VENV)/bin/python -m pytest $(TEST_WORKERS) $(ARGS)

test-slow: $(TEST_STAMP) ## set up, then the slow group
	$(VENV)/bin/python -m pytest -m slow $(ARGS)

test-browser: $(TEST_STAMP) ## set up, then look at the pages with Chromium, which must be installed
	$(call install,$(VENV),tunesmith[browser],--editable '.[browser]')
	$(VENV)/bin/python -m pytest -m slow tests/report/test_browser.py $(ARGS)

test-llama: $(TEST_STAMP) ## set up (compiles llama.cpp), then exports run by llama.cpp itself
	$(call install,$(VENV),tunesmith[llama-cpp],--editable '.[llama-cpp]')
	$(VENV)/bin/python -m pytest -m slow tests/exports $(ARGS)

test-scale: $(TEST_STAMP) $(SCALE_STAMP) ## set up, then recipes and images by their programs' schemas, and S3
	PATH="$(CURDIR)/$(SCALE_VENV)/bin:$$PATH" \
		$(SCALE_VENV)/bin/python -m pytest --noconftest -m slow tests/test_recipe_formats.py
	$(call install,$(VENV),tunesmith[s3] and a server,--editable '.[s3]' 'moto[server]==5.2.5')
	$(VENV)/bin/python -m pytest -m slow tests/runs/test_s3.py $(ARGS)

check: $(TEST_STAMP) ## set up, then the static checks: lint, format, types
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy

docs: $(TEST_STAMP) ## set up, then write docs/cli.md and the figures of docs/plan.md
	$(VENV)/bin/python -m tests.cli_page
	$(VENV)/bin/python -m tests.plan_page

bench: $(BENCH_STAMP) ## set up beside the peers' libraries, then compare with them
	$(BENCH_VENV)/bin/python -m benchmarks.run $(ARGS)

reports: $(PACKAGE_STAMP) ## reports of four purposes: make reports ARGS="--data DIR --out DIR"
	$(VENV)/bin/python -m benchmarks.reports.make $(ARGS)

image: ## build the container for a processor: make image ARGS="--build-arg TORCH_INDEX=URL"
	$(docker)
	docker build --file Dockerfile --tag tunesmith:cpu $(ARGS) .

image-cuda: ## build the container for NVIDIA's GPUs
	$(docker)
	docker build --file Dockerfile.cuda --tag tunesmith:cuda $(ARGS) .

clean: ## remove the environments, caches and build outputs; runs/ stays
	rm -rf $(VENV) $(BENCH_VENV) $(SCALE_VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(PACKAGE_STAMP): $(PINS) $(VENV)/.made
	$(call install,$(VENV),tunesmith,--editable .)
	@touch $@

$(TEST_STAMP): $(PINS) $(VENV)/.made
	$(call install,$(VENV),tunesmith[test],--editable '.[test]')
	@touch $(PACKAGE_STAMP) $@

$(BENCH_STAMP): $(PINS) benchmarks/requirements.txt $(BENCH_VENV)/.made
	$(call install,$(BENCH_VENV),tunesmith and its peers,\
		--editable . --requirement benchmarks/requirements.txt)
	@touch $@

# Without our pins: SkyPilot needs an older click.
$(SCALE_STAMP): examples/scale/requirements.txt $(SCALE_VENV)/.made
	@echo 'Installing what checks the recipes into $(SCALE_VENV) (a few minutes at first) ...'
	@$(SCALE_VENV)/bin/python -m pip install --quiet --requirement examples/scale/requirements.txt
	@touch $@

# Scripts of an environment hold its path, and it links to its Python: one that was copied or moved,
# or whose Python is gone, is made anew.
%/.made:
	@test -n '$(PYTHON)' && '$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Tunesmith needs Python 3.11 or newer; $(or $(PYTHON),python3) is not." \
			"Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo 'Making the environment $* with $(PYTHON) ...'
	@rm -rf $*
	@'$(PYTHON)' -m venv $* || { rm -rf $*; \
		echo "$(PYTHON) could not make a virtual environment; on Debian and Ubuntu," \
			"install the package python3-venv." >&2; exit 1; }
	@echo '$(CURDIR)' > $@

moved:
$(foreach venv,$(VENV) $(BENCH_VENV) $(SCALE_VENV),$(if $(wildcard $(venv)/.made),\
	$(eval $(shell { test "$$(cat $(venv)/.made)" = '$(CURDIR)' && $(venv)/bin/python -c ''; } \
		2>/dev/null || echo $(venv)/.made: moved))))
