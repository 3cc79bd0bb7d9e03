# An index of verbs; each is one plain line. `make help` lists them.
.PHONY: help shards tiers inspect report card verify train train-report strategy evaluation-sets test check bench bench-text bench-dedup bench-quality bench-language bench-tokenize bench-train exact bench-loader wheel hub clean

CARGO ?= cargo
PRIORITY ?= sample
# make shards PRIORITY=high|medium|low|all · DATASET=name · MANIFEST=my.toml · RECIPE=name · BUDGET=full · ARGS="--memory 2G"
WHAT = $(if $(MANIFEST),--manifest $(MANIFEST),$(if $(DATASET),--dataset $(DATASET),--priority $(PRIORITY))) $(if $(RECIPE),--recipe $(RECIPE)) $(if $(BUDGET),--budget $(BUDGET))
# By program, not by package: a dependency then has the features that the whole workspace asks for, and is compiled once.
PIPELINE = $(CARGO) run --release --quiet --bin andromeda --
# A run belongs to the build it was trained on, so it is named after it.
RUN ?= tiny-$(notdir $(patsubst %/manifest.json,%,$(firstword $(shell ls -t shards/*/manifest.json 2>/dev/null))))
# What the tasks of the trainer ask, as far as the catalogue has it: all of it.
SETS ?= arc,bbh,glue,gsm8k,hellaswag,humaneval,lambada,math,mmlu,piqa,super-glue
TRAINER = $(CARGO) run --release --quiet --bin andromeda-train --

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

shards: ## build shards; PRIORITY=sample (default) needs no network: high, medium, low, all; or DATASET=, MANIFEST=
	$(PIPELINE) build $(WHAT) $(ARGS)

# A build that is there already is found and left as it is; the newest of a name is what the next tier is held against.
NEWEST = --against $$(ls -dt shards/$(1)-*/ | head -n 1)
HOW = $(if $(RECIPE),--recipe $(RECIPE)) $(if $(BUDGET),--budget $(BUDGET)) $(ARGS)
tiers: ## high, medium and low as builds of their own, each without the documents of those before it; RECIPE= BUDGET=
	$(PIPELINE) build --priority high $(HOW)
	$(PIPELINE) build --priority medium $(call NEWEST,high) $(HOW)
	$(PIPELINE) build --priority low $(call NEWEST,high) $(call NEWEST,medium) $(HOW)

inspect: ## the newest build: its manifest as tables, then decoded documents
	@$(PIPELINE) inspect $(BUILD) $(ARGS)

report: ## the newest build as one HTML page, under reports/
	@$(PIPELINE) report $(BUILD) $(ARGS)

card: ## the newest build's data card as Markdown
	@$(PIPELINE) card $(BUILD) $(ARGS)

verify: ## read every byte of the newest build again
	@$(PIPELINE) verify $(BUILD) $(ARGS)

train: ## train the tiny preset on the newest build
	@ls shards/*/manifest.json >/dev/null 2>&1 || $(MAKE) shards
	$(TRAINER) run --config trainer/configs/tiny.toml --run $(RUN) $(ARGS)

train-report: ## the run of `make train` as one HTML page, under reports/; RUN="one other" lays runs over each other
	@$(TRAINER) report $(RUN) $(ARGS)

strategy: ## the three stages on the builds of `make tiers`; SIZE=tiny (default), 100m, 500m, 1b; again, it goes on
	$(TRAINER) strategy trainer/strategies/andromeda.toml --size $(or $(SIZE),tiny) $(ARGS)

evaluation-sets: ## rows of evaluation sets where the trainer looks for them, downloaded once; SETS=piqa,glue,... (default: all that a task asks)
	$(PIPELINE) rows --of $(SETS) --out evaluation-sets $(ARGS)

test: ## every test
	$(CARGO) test --release --workspace --no-fail-fast

check: ## formatting, lints, documentation, licences and advisories
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- --deny warnings
	$(CARGO) clippy --release --package andromeda-pipeline --features object-store -- --deny warnings
	$(CARGO) clippy --release --package andromeda-pipeline --features tables --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --release --workspace --no-deps
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check; else echo "cargo-deny is not installed: licences and advisories were not checked"; fi

bench: ## rates of every stage, on text that is already on this machine
	$(CARGO) bench --profile release --bench document
	rm -rf target/bench/work target/bench/shards && $(PIPELINE) build --priority sample --work target/bench/work --shards target/bench/shards $(ARGS)

bench-text: ## personal data and items of evaluation sets, MB/s and what is found; CORPUS=file.jsonl ITEMS="items.jsonl ..."
	$(CARGO) bench --profile release --package andromeda-pipeline --bench text -- $(CORPUS) $(ITEMS)

bench-dedup: ## deduplication beside other tools, which are installed under target/bench; CORPUS=file.jsonl[,...] PEERS= RUNS=3
	@python3 bench/dedup/run.py

bench-quality: ## rules beside datatrove's, which is installed under target/bench: rates and verdicts; CORPUS=file.jsonl MEGABYTES= AGREE=3000
	@python3 bench/quality/run.py

bench-language: ## language identification beside other tools, on texts out of packages; LENGTH=400 PEERS=no MODEL=lid.176.ftz
	@python3 bench/language/run.py

bench-tokenize: ## tokenizers beside ours: rates, memory, ids beside tokenizers 0.23; CORPUS=file.jsonl[,...] RUNS=3 TOKENIZER= PEERS=no
	@python3 bench/tokenize/run.py

exact: ## whether ids equal those of tokenizers 0.23: TOKENIZER=tokenizer.json CORPUS=file.jsonl WHAT="text SKIP_MB MB" or "mutated SEED COUNT"
	$(CARGO) bench --profile release --quiet --package andromeda-pipeline --bench exact -- $(TOKENIZER) $(word 1,$(WHAT)) $(CORPUS) $(wordlist 2,3,$(WHAT))

bench-train: ## training steps beside PyTorch, which is installed under target/bench; RUNS=3 THREADS=1 ONLY=palm-150m PEERS=no
	@python3 bench/train/run.py

bench-loader: ## reading shuffled and checked beside zstd alone, mosaicml-streaming and litdata; BUILD=shards/name SEQUENCE_TOKENS=2048 PEERS= PYTHON=
	@python3 bench/loader/run.py

wheel: ## the Python package with both programs in it, under dist/; pip installs it
	$(CARGO) build --release --bin andromeda --bin andromeda-train
	python3 python/wheel.py target/release dist

hub: ## a hub on this machine that serves ROOT=folder/owner/name/... in the hub's own protocol; prints the variables to set
	$(CARGO) run --release --quiet --bin andromeda-hub -- --root $(ROOT) $(ARGS)

clean: ## remove outputs: shards, runs, work, reports, target
	rm -rf shards runs work reports target
