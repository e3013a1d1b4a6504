# `make demo` and `make test` need nothing but Python 3.11+ and pip: they make the virtual environment themselves.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
RUN    := runs/demo
BIN    := $(VENV)/bin
# the environment is made anew from these files whenever one of them changes
READY  := $(VENV)/.ready
# a GGUF file of a small language model, which then chooses key sentences of the demo's transcripts (needs the extra gguf):
# make demo LLM=model.gguf
LLM    ?=
CHOOSE := $(if $(LLM),sentences.max_chars=60 sentences.max_sentence_chars=60 sentences.method=likelihood \
          sentences.model.type=gguf sentences.model.path=$(LLM))

.DEFAULT_GOAL := help
.PHONY: help demo test unit lint format bench clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,decord,deepspeed,dev]'
	@touch $@

demo: $(READY)  ## make a small world of videos, prepare, train, refresh, evaluate, search (a few minutes)
	$(BIN)/mmsearch demo --out $(RUN)/world
	$(BIN)/mmsearch prepare $(RUN)/world/videos.jsonl --out $(RUN)/corpus configs/prepare/demo.yaml $(CHOOSE)
	$(BIN)/python -m training fit configs/train/demo.yaml
	$(BIN)/python -m serving refresh --model $(RUN)/model --corpus $(RUN)/corpus --index $(RUN)/index configs/refresh/demo.yaml
	$(BIN)/python -m training diagnose $(RUN)/model --corpus $(RUN)/corpus --judgments $(RUN)/world/judgments_test.jsonl
	$(BIN)/mmsearch report $(RUN)/model --index $(RUN)/index --judgments $(RUN)/world/judgments_test.jsonl --out $(RUN)/report.html
	$(BIN)/mmsearch evaluate --index $(RUN)/index --judgments $(RUN)/world/judgments_test.jsonl
	$(BIN)/mmsearch search --index $(RUN)/index "red ball bouncing on the beach" -k 5 --videos $(RUN)/world/videos.jsonl
	$(BIN)/mmsearch search --index $(RUN)/index "厨房里的绿色小机器人" -k 5 --videos $(RUN)/world/videos.jsonl

test: $(READY) lint unit  ## lint, type check, and run the tests

lint: $(READY)
	$(BIN)/ruff check mmsearch training serving tests
	$(BIN)/ruff format --check mmsearch training serving tests
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

unit: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 3 --dist loadfile

format: $(READY)  ## format the code
	$(BIN)/ruff check --fix mmsearch training serving tests
	$(BIN)/ruff format mmsearch training serving tests

bench: $(READY)  ## run every benchmark; each prints one JSON object last
	@for script in tests/benchmark/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:  ## remove what the demo made
	rm -rf $(RUN)
