# Starling: run it, test it. `make help` lists what there is.
#
# Needs Python 3.11 or later with pip, and nothing else: environments are made without ensurepip, which
# Debian packs apart (python3-venv), and filled from lock files with hashes.

PORT ?= 8080
DATA ?= .data
GATEWAY_NODES ?= 2
HISTORY_NODES ?= 2
GROUPS_NODES ?= 2
RESTART ?= yes
URL ?= http://127.0.0.1:$(PORT)
SPEED ?= max
IN_FLIGHT ?= 1
GATEWAYS ?=
FAULTS ?=
EVERY ?= 8
SEED ?=
MINUTES ?=
REPLAY ?=
DROP ?=
SHOW ?=
BLOCK ?=
UNBLOCK ?=
DELETE ?=
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PYTEST_ARGS ?= -n 3
BENCH_ARGS ?=
CLIENTS_ARGS ?=
LOAD_ARGS ?=
CAPACITY_ARGS ?=
CHANNEL ?=
BEGIN ?=

RUN := .venv
BENCH := .venv-bench
DEV := .venv-dev
TOOLS := .venv-tools

.PHONY: help run cluster cluster-restart import dead-letters account clients replay chaos chaos-smoke chaos-mutants soak load bench-gateway bench-failover bench-peers bench-bindings bench-broker bench-history bench-groups test check format lock clean servers cluster-servers
.DEFAULT_GOAL := help

help: ## Say what there is
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

run: $(RUN)/.installed ## Run all of Starling at http://127.0.0.1:PORT with its data in DATA (PORT=8080 DATA=.data)
	@exec $(RUN)/bin/python -m deploy.local.run --port "$(PORT)" --data "$(DATA)"

cluster: $(RUN)/.installed cluster-servers ## Run the cluster at PORT: GATEWAY_NODES=2 HISTORY_NODES=2 GROUPS_NODES=2 RESTART=yes|no
	@exec $(RUN)/bin/python -m deploy.local.cluster --port "$(PORT)" --data "$(DATA)" --gateways "$(GATEWAY_NODES)" \
	  --history "$(HISTORY_NODES)" --groups "$(GROUPS_NODES)" --restart "$(RESTART)"

cluster-restart: $(RUN)/.installed ## Restart one process of the cluster on DATA: NAME=gateway-1
	@exec $(RUN)/bin/python -m deploy.local.control --data "$(DATA)" --restart "$(NAME)"

dead-letters: $(RUN)/.installed ## List commands that broke a worker of the cluster on DATA; REPLAY=id puts one back, DROP=id forgets it
	@exec $(RUN)/bin/python -m deploy.local.dead_letters --data "$(DATA)" --replay "$(REPLAY)" --drop "$(DROP)"

import: $(RUN)/.installed ## Import old messages into empty channels of what runs on DATA: LOG="FILE..." CHANNEL="ID..."
	@exec $(RUN)/bin/python -m deploy.importing --data "$(DATA)" $(CHANNEL:%=--channel %) $(BEGIN:%=--begin %) $(LOG)

account: $(RUN)/.installed ## Show an account of what runs on DATA, or end it: SHOW=name, BLOCK=name, UNBLOCK=name or DELETE=name
	@exec $(RUN)/bin/python -m deploy.local.account --data "$(DATA)" --show "$(SHOW)" --block "$(BLOCK)" \
	  --unblock "$(UNBLOCK)" --delete "$(DELETE)"

replay: $(RUN)/.installed ## Feed chat logs to what runs at PORT, prove what comes out: LOG="FILE..." SPEED=max IN_FLIGHT=1
	@exec $(replay) $(LOG)

chaos: $(RUN)/.installed cluster-servers ## Break a cluster under load, judge what it did: MINUTES=10 SEED= EVERY=8 FAULTS= SAYS=15 POSITIONS=half LOG="FILE..."
	@exec $(RUN)/bin/python -m tests.chaos --minutes "$(or $(MINUTES),10)" --every "$(EVERY)" --faults "$(FAULTS)" $(SEED:%=--seed %) \
	  --says "$(or $(SAYS),15)" --positions "$(or $(POSITIONS),half)" $(LOG)

chaos-smoke: $(RUN)/.installed cluster-servers ## The same for 45 seconds, with the same faults each time
	@exec $(RUN)/bin/python $(smoke)

chaos-mutants: $(RUN)/.installed cluster-servers ## See that the judge of chaos catches builds that are broken on purpose
	@exec $(RUN)/bin/python -m tests.chaos.mutants

soak: $(BENCH)/.installed cluster-servers ## People talk, come and go for an hour; nothing may be left behind: MINUTES=60
	@exec $(BENCH)/bin/python -m tests.chaos.soak --minutes "$(or $(MINUTES),60)"

load: $(RUN)/.installed ## Put thousands of sessions on what runs at PORT, count what they hear: LOAD_ARGS="--users 1000 --profile chat --rate 100"
	@exec $(RUN)/bin/python -m deploy.load --url "$(URL)" $(LOAD_ARGS)

.PHONY: capacity
capacity: $(RUN)/.installed ## Say what so many users would take: CAPACITY_ARGS="--users 1000000 --messages-per-user-day 40 --group-size 30"
	@exec $(RUN)/bin/python -m deploy.capacity $(CAPACITY_ARGS)

clients: $(RUN)/.installed cluster-servers ## Try released Discord libraries against one process and a cluster: CLIENTS_ARGS="--only hikari"
	@exec $(RUN)/bin/python -m tests.clients $(CLIENTS_ARGS)

bench-gateway: $(RUN)/.installed cluster-servers ## Measure the gateway beside send(), ws, Socket.IO, FastAPI: BENCH_ARGS="--most 10000"
	@exec $(RUN)/bin/python -m tests.bench.gateway $(BENCH_ARGS)

bench-failover: $(RUN)/.installed cluster-servers ## Kill a gateway with 5000 sessions, see who is back when: BENCH_ARGS="--sessions 5000"
	@exec $(RUN)/bin/python -m tests.bench.failover $(BENCH_ARGS)

bench-bindings: $(RUN)/.installed cluster-servers ## Compare user slots and exchange partitions on a RabbitMQ: BENCH_ARGS="--users 5000"
	@exec $(RUN)/bin/python -m tests.bench.bindings $(BENCH_ARGS)

bench-peers: $(RUN)/.installed cluster-servers ## Measure two nodes beside two of Socket.IO, python-socketio, Channels, FastAPI: BENCH_ARGS="--sessions 3000"
	@exec $(RUN)/bin/python -m tests.bench.beside $(BENCH_ARGS)

bench-broker: $(RUN)/.installed cluster-servers ## Measure confirms, copies and bindings of a RabbitMQ: BENCH_ARGS="--bindings 10000"
	@exec $(RUN)/bin/python -m tests.bench.broker $(BENCH_ARGS)

bench-history: $(RUN)/.installed ## Compare pages and writes of buckets with one document per message: BENCH_ARGS="--big 100000"
	@exec $(RUN)/bin/python -m tests.bench.history $(BENCH_ARGS)

bench-groups: $(RUN)/.installed cluster-servers ## Measure snapshots, a storm of identifies, joins, pages of members: BENCH_ARGS="--large 10000"
	@exec $(RUN)/bin/python -m tests.bench.groups $(BENCH_ARGS)

.PHONY: bench-page
bench-page: $(RUN)/.installed ## Write docs/benchmarks.md from the results that benchmarks left in .bench
	@exec $(RUN)/bin/python -m docs.generate --results .bench

.PHONY: bench-10k
bench-10k: $(BENCH)/.installed cluster-servers ## Bring 10,000 users online here, 300 messages/s for 5 minutes: BENCH_ARGS="--minutes 5 --knee"
	@exec $(BENCH)/bin/python -m tests.bench.ten_thousand $(BENCH_ARGS)

.PHONY: bench-scale
bench-scale: $(BENCH)/.installed cluster-servers ## The same work on more nodes, in larger and in more groups: BENCH_ARGS="--seconds 30 --only nodes"
	@exec $(BENCH)/bin/python -m tests.bench.scale $(BENCH_ARGS)

test: check servers ## Run the checks, all tests on real RabbitMQ, Redis and MongoDB wire, and 45 seconds of chaos
	STARLING_REQUIRE_SERVERS=1 $(DEV)/bin/python -m pytest -rs $(PYTEST_ARGS)
	$(MAKE) cluster-servers
	$(DEV)/bin/python $(smoke)

check: $(DEV)/.installed ## Lint, format check, types, import layers
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	PYTHONPATH=. $(DEV)/bin/lint-imports --no-logo

format: $(DEV)/.installed ## Format the code and fix what can be fixed
	$(DEV)/bin/ruff format .
	$(DEV)/bin/ruff check --fix .

lock: $(TOOLS)/.installed ## Make the lock files anew from pyproject.toml, with what is newest
	$(call lock,requirements.lock,)
	$(call lock,requirements-embedded.lock,--extra embedded)
	$(call lock,requirements-bench.lock,--extra embedded --extra bench)
	$(call lock,requirements-dev.lock,--extra embedded --extra bench --extra dev)

clean: ## Remove environments and caches; data stays
	rm -rf $(RUN) $(BENCH) $(DEV) $(TOOLS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

servers:
	@deploy/local/install_servers.sh

cluster-servers:
	@deploy/local/install_servers.sh cluster

$(RUN)/.installed: requirements-embedded.lock
	$(call install,$(RUN),--require-hashes --only-binary :all: -r requirements-embedded.lock)

$(BENCH)/.installed: requirements-bench.lock
	$(call install,$(BENCH),--require-hashes --only-binary :all: -r requirements-bench.lock)

$(DEV)/.installed: requirements-dev.lock
	$(call install,$(DEV),--require-hashes --only-binary :all: -r requirements-dev.lock)

$(TOOLS)/.installed:
	$(call install,$(TOOLS),uv)

replay = $(RUN)/bin/python -m deploy.replay --url "$(URL)" --speed "$(SPEED)" --in-flight "$(IN_FLIGHT)" \
  --gateways "$(GATEWAYS)" --positions "$(or $(POSITIONS),yes)"

smoke = -m tests.chaos --minutes 0.75 --every 2.7 --seed 13542

define install
@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
  { echo "Starling needs Python 3.11 or later as python3 (or: make PYTHON=/path/to/python3.11)" >&2; exit 1; }
@"$(PYTHON)" -m pip --version >/dev/null 2>&1 || \
  { echo "Starling needs pip for $(PYTHON) (Debian: apt install python3-pip)" >&2; exit 1; }
@echo "installing into $(1) (once, and again when its lock file changes)"
@"$(PYTHON)" -m venv --clear --without-pip $(1)
@"$(PYTHON)" -m pip --python $(1)/bin/python install --quiet --no-input --disable-pip-version-check $(2)
@touch $@
endef

define lock
$(TOOLS)/bin/uv pip compile pyproject.toml $(2) --output-file $(1) --upgrade --universal --python-version 3.11 \
  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet
endef
