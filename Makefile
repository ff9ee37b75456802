# Every target sets itself up: it builds .venv when that is missing or older than setup.cfg.
# A Python will do if it can make one: Debian keeps ensurepip in a package of its own.
USABLE := -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11 python3.14,\
	$(shell $(p) $(USABLE) && echo $(p))))
BIN := .venv/bin
AUDIT := .venv-audit
LOCALSTRIPE := .venv-localstripe
TEMPLATES := templates/payment-infra.yaml templates/payment-infra-production.yaml

export PIP_DISABLE_PIP_VERSION_CHECK = 1
# What is made here does not hang on who makes it: their modules and settings are left out.
unexport PYTHONPATH PYTHONHOME PYTHONWARNINGS $(filter PAYMENT_INFRA_%,$(.VARIABLES))
PLAIN := --config /dev/null

# Makes a virtual environment, unless one with pip is there: without, it is half made, or uv's.
define environment
@test -x $(1)/bin/pip || $(PYTHON) $(USABLE) || { echo "Python 3.11 or newer with venv and ensurepip \
	is needed (Debian, Ubuntu: apt install python3-venv), or make PYTHON=/path/to/python3" >&2; exit 1; }
test -x $(1)/bin/pip || $(PYTHON) -m venv --clear $(1)
endef

.PHONY: demo demo-says test test-units test-stacks test-model check audit format render bench chaos clean

demo-says:
	@echo "The demo sets up .venv, deploys the stack to an embedded AWS on this machine, pays, and stops all again."

demo: demo-says .venv/installed-local
	$(BIN)/payment-infra render $(PLAIN) --suffix local --authorization none -o .venv/payment-infra-local.yaml
	$(BIN)/payment-infra local $(PLAIN) --port 0 --smoke --verbose

# Three parts at once: what runs on the embedded AWS mostly waits.
test: .venv/installed-dev $(AUDIT)/installed-checkov $(LOCALSTRIPE)/installed
	@$(MAKE) --no-print-directory --jobs=3 test-units test-stacks test-model

test-units:
	$(BIN)/python -m pytest tests/unit tests/functional

test-stacks:
	$(BIN)/python -m pytest tests/e2e

test-model:
	$(BIN)/python -m pytest tests/model

check: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	for template in $(TEMPLATES); do $(BIN)/payment-infra validate --strict --region us-east-1 $$template || exit 1; done
	$(BIN)/python -m tests.combinations

# Every checker's findings in the production template; refreshes the list of those suppressed.
audit: .venv/installed-dev $(AUDIT)/installed-checkov $(AUDIT)/installed-nag
	$(BIN)/python -m tests.audit

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Refreshes the golden files.
render: .venv/installed-local
	$(BIN)/payment-infra render $(PLAIN) --preset development -o templates/payment-infra.yaml
	$(BIN)/payment-infra render $(PLAIN) --preset production -o templates/payment-infra-production.yaml

bench: .venv/installed-dev
	$(BIN)/python -m tests.bench

# Payments under faults: make chaos N=20000 SEED=7
N ?= 2000
SEED ?= 1
chaos: .venv/installed-dev
	$(BIN)/python -m tests.model.chaos --payments $(N) --seed $(SEED)

clean:
	rm -rf .venv $(AUDIT) $(LOCALSTRIPE) build *.egg-info

# checkov pins an older boto3 than the embedded AWS, so it has an environment of its own.
$(AUDIT)/installed-checkov: tests/audit/requirements.txt
	$(call environment,$(AUDIT))
	@echo "Installing checkov into $(AUDIT): a minute or two the first time"
	@$(AUDIT)/bin/python -m pip install --quiet --no-deps --requirement $<
	@touch $@

$(AUDIT)/installed-nag: tests/audit/package.json tests/audit/package-lock.json
	@command -v npm >/dev/null || { echo "make audit needs Node 20 or newer with npm" >&2; exit 1; }
	@mkdir -p $(AUDIT)/node && cp $^ $(AUDIT)/node
	npm ci --prefix $(AUDIT)/node --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@

# What stands for Stripe in the tests is GPL-3: a process of its own, from an environment of its own.
$(LOCALSTRIPE)/installed: tests/localstripe/requirements.txt
	$(call environment,$(LOCALSTRIPE))
	@$(LOCALSTRIPE)/bin/python -m pip install --quiet --no-deps --requirement $<
	@touch $@

# pip says nothing but what fails; a line every 5 s shows that it works, until it ends.
.venv/installed-%: setup.cfg pyproject.toml
	$(call environment,.venv)
	@echo "Installing into .venv: a minute or two the first time"
	@( trap 'kill $$!; exit' TERM; while sleep 5 & wait $$!; do echo "... still installing"; done ) & \
	trap "kill $$!" EXIT; trap "exit 130" INT TERM; \
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@
