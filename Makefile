# Everything below installs what it needs first; a fresh machine needs Python, make and a compiler.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
WORKERS ?= 2

.PHONY: demo test test-long serve lint audit lock faults fuzz hostile newcomer site examples screenshots profile bench-side-by-side bench-roof bench-web bench-api bench-store bench-search bench-latent bench-quality bench-ablation bench-generate bench-train bench-start bench-streams bench-threads bench-upload bench-sizes bench-export bench-spaces bench-transfer bench-predict bench-scores bench-loop bench-latency ready-space ready-profiles clean

# benchmarks read data sets and tables from a folder beside the repository unless told otherwise
bench-%: export VGAE_NAS_DATA_ROOT := $(or $(VGAE_NAS_DATA_ROOT),$(wildcard ../shared/data),data)

demo: $(INSTALLED)
	$(BIN)/python examples/demo.py

test: $(INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# the variants of tests whose like `make test` runs
test-long: $(INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m long

serve: $(INSTALLED)
	$(BIN)/vgae-nas up

# the documents as a site, in build/site; needs no network
site: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -c pyproject.toml -r app worker models client

# known faults of the locked packages; needs the network
audit: $(INSTALLED)
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet pip-audit
	build/audit/bin/pip-audit --require-hashes --disable-pip -r requirements-dev.txt

bench-search: $(INSTALLED)
	$(BIN)/python -m bench.search

bench-latent: $(INSTALLED)
	$(BIN)/python -m bench.latent

bench-quality: $(INSTALLED)
	$(BIN)/python -m bench.quality

bench-ablation: $(INSTALLED)
	$(BIN)/python -m bench.ablation

bench-generate: $(INSTALLED)
	$(BIN)/python -m bench.generate

bench-train: $(INSTALLED)
	$(BIN)/python -m bench.train

# the answers that the OpenAPI document shows
examples: $(INSTALLED)
	$(BIN)/python -m bench.examples

# what the README says, with a folder of 2,000 images
newcomer: export VGAE_NAS_DATA_ROOT := $(or $(VGAE_NAS_DATA_ROOT),$(wildcard ../shared/data),data)
newcomer: $(INSTALLED)
	$(BIN)/python -m bench.newcomer

# pictures of every page of the dashboard, for the documents
screenshots: export VGAE_NAS_DATA_ROOT := $(or $(VGAE_NAS_DATA_ROOT),$(wildcard ../shared/data),data)
screenshots: $(INSTALLED)
	$(BIN)/python -m bench.screenshots

# where the time of a job goes: make profile JOB=search|fit|train
profile: $(INSTALLED)
	$(BIN)/python -m bench.profile $(JOB)

bench-side-by-side: $(INSTALLED)
	$(BIN)/python -m bench.side_by_side

bench-roof: $(INSTALLED)
	$(BIN)/python -m bench.roof

bench-web: $(INSTALLED)
	$(BIN)/python -m bench.web

bench-start: $(INSTALLED)
	$(BIN)/python -m bench.start

bench-streams: $(INSTALLED)
	$(BIN)/python -m bench.streams

bench-api: $(INSTALLED)
	$(BIN)/python -m bench.api

bench-store: $(INSTALLED)
	$(BIN)/python -m bench.store

faults: $(INSTALLED)
	$(BIN)/python -m bench.faults

fuzz: $(INSTALLED)
	$(BIN)/python -m bench.fuzz

hostile: $(INSTALLED)
	$(BIN)/python -m bench.hostile

bench-threads: $(INSTALLED)
	$(BIN)/python -m bench.threads

bench-upload: $(INSTALLED)
	$(BIN)/python -m bench.upload

bench-sizes: $(INSTALLED)
	$(BIN)/python -m bench.sizes

bench-export: $(INSTALLED)
	$(BIN)/python -m bench.export

bench-spaces: $(INSTALLED)
	$(BIN)/python -m bench.spaces

bench-predict: $(INSTALLED)
	$(BIN)/python -m bench.predict

bench-scores: $(INSTALLED)
	$(BIN)/python -m bench.scores

bench-latency: $(INSTALLED)
	$(BIN)/python -m bench.latency

bench-loop: $(INSTALLED)
	$(BIN)/python -m bench.loop

bench-transfer: $(INSTALLED)
	$(BIN)/python -m bench.transfer

# the latent spaces that ship with the service, again by the same seeds; minutes
ready-space: $(INSTALLED)
	$(BIN)/python -m models.latent_spaces.ready

# the profiles of known data sets that ship with the service, again from their images in the data root
ready-profiles: $(INSTALLED)
	$(BIN)/python -m models.datasets.ready_profiles

# torch and torchvision go as a matched pair
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--extra dev -P torch==2.14.1 -P torchvision==0.29.1 pyproject.toml -o requirements-dev.txt

clean:
	rm -rf .venv build demo

$(INSTALLED): requirements-dev.txt pyproject.toml client/pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable . --editable client
	touch $@
