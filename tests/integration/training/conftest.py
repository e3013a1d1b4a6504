"""Settings of runs that take a second, on the tiny world."""

import json

import pytest

STILL = {"min_crop": 1.0}
#: One space, no random changes: quick, and the same in whatever way a batch is cut.
COVERS = {"type": "contrastive", "spaces": ["cover"], "augment": STILL}


@pytest.fixture(scope="session")
def tiny_run(tiny_world, tiny_corpus, tiny_model):
    """Give the settings of a run as a tree: `tiny_run(folder, stages, run={...}, data={...}, model={...})`."""

    def tree(folder, stages, *, run=None, data=None, **rest):
        files = {
            "corpus": str(tiny_corpus),
            "interactions": str(tiny_world / "interactions.jsonl"),
            "judgments": str(tiny_world / "judgments_train.jsonl"),
            "val_judgments": str(tiny_world / "judgments_val.jsonl"),
            "min_watch_s": 1.0,  # the films last 4 seconds: by default no click would satisfy, and teach the content
        }
        usual = {"steps": 4, "batch_size": 6, "task": COVERS}
        return {
            "run": {"dir": str(folder), "num_threads": 1, "log_every": 1} | (run or {}),
            "data": files | (data or {}),
            "tokenizer": {"vocab_size": 200},
            "model": tiny_model,
            "stages": [
                usual
                | {"name": f"stage{n}"}
                | stage
                | {"optim": {"lr": 3e-3, "warmup_steps": 2} | stage.get("optim", {})}
                for n, stage in enumerate(stages)
            ],
        } | rest

    return tree


@pytest.fixture(scope="session")
def lines_of():
    """Give the lines of a run's metrics, without what a clock measured: `lines_of(folder, kind="train")`."""
    measured = {"samples_per_s", "wait_share", "tflops_per_s", "peak_memory_mib"}

    def lines(folder, kind=None):
        found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        kept = [line for line in found if kind in (None, line["kind"])]
        return [{key: value for key, value in line.items() if key not in measured} for line in kept]

    return lines


@pytest.fixture(scope="session")
def old_index(tiny_run, tiny_corpus, tmp_path_factory):
    """An older model of covers and content: the index of the tiny corpus but d03."""
    from mmsearch.data.prepared import PreparedCorpus
    from mmsearch.index import GenerationWriter
    from mmsearch.models import export_query_tower, load_document_encoder
    from training.config import FitSettings
    from training.fit import fit

    folder = tmp_path_factory.mktemp("old")
    task = {"type": "contrastive", "spaces": ["cover", "content"], "augment": STILL}
    run = fit(FitSettings.model_validate(tiny_run(folder / "run", [{"steps": 3, "task": task}])))
    corpus, encoder = PreparedCorpus.open(tiny_corpus), load_document_encoder(run, "cpu")
    rows = [row for row, doc_id in enumerate(corpus.doc_ids) if doc_id != "d03"]
    export_query_tower(run, folder / "tower")
    with GenerationWriter(folder / "index", encoder.spaces) as writer:
        writer.add([corpus.doc_ids[row] for row in rows], encoder.encode(corpus.read(rows)))
        writer.publish(query_tower=folder / "tower", source={})
    return folder / "index"
