"""The whole chain by its commands, on a small demo world: from raw videos to rank features and measures."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CHECKOUT = Path(__file__).parents[2]
#: A world and a training run of seconds; the model is the demo's own.
SMALL_WORLD = ["videos=60", "sessions=60", "train_intents=30", "judged_train=12", "judged_val=6", "judged_test=8"]
SMALL_STEPS = [f"stages.{n}.steps=3" for n in range(3)] + [f"stages.{n}.batch_size=8" for n in range(3)]


def command(*words):
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        cwd=CHECKOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder in which every command of the demo has run."""
    out = tmp_path_factory.mktemp("chain")
    world = out / "world"
    command("mmsearch", "demo", "--out", world, *SMALL_WORLD)
    command("mmsearch", "prepare", world / "videos.jsonl", "--out", out / "corpus", "configs/prepare/demo.yaml")
    data = [
        f"run.dir={out / 'model'}",
        f"data.corpus={out / 'corpus'}",
        f"data.videos={world / 'videos.jsonl'}",
        f"data.interactions={world / 'interactions.jsonl'}",
        f"data.judgments={world / 'judgments_train.jsonl'}",
        f"data.val_judgments={world / 'judgments_val.jsonl'}",
        f"data.holdout=[{world / 'judgments_test.jsonl'}]",
    ]
    command("training", "fit", "configs/train/demo.yaml", *data, *SMALL_STEPS)
    places = ["--model", out / "model", "--corpus", out / "corpus", "--index", out / "index"]
    command("serving", "refresh", *places, "configs/refresh/demo.yaml")
    return out


def test_evaluate_measures_every_modality_and_fusion(made):
    judgments = made / "world" / "judgments_test.jsonl"
    found = json.loads(command("mmsearch", "evaluate", "--index", made / "index", "--judgments", judgments, "--json"))
    features = found["features"]
    singles = {f"content.{m}" for m in ("title", "account", "cover", "cover_ocr", "frames", "content_ocr", "asr")}
    assert set(features) == {"cover", "frames", "perception", "content"} | singles
    for measured in features.values():
        pnr = measured["pnr"]
        assert pnr["low"] <= pnr["value"] <= pnr["high"]
        assert pnr["num_queries"] == 8
        assert {"ndcg_exp@10", "map", "recall@10"} <= set(measured)


def test_score_and_search_agree(made):
    found = json.loads(
        command("mmsearch", "search", "--index", made / "index", "red ball", "-k", 5, "--format", "json")
    )
    ids = made / "ids.txt"
    ids.write_text("".join(f"{row['doc_id']}\n" for row in found["docs"]), encoding="utf-8")
    scored = command("mmsearch", "score", "--index", made / "index", "--query", "red ball", "--docs", ids)
    header, *lines = [line.split("\t") for line in scored.splitlines()]
    assert len(lines) == 5
    best = [float(line[header.index("content")]) for line in lines]
    assert best == sorted(best, reverse=True)


def test_an_unchanged_corpus_publishes_nothing(made):
    current = (made / "index" / "CURRENT").read_bytes()
    places = ["--model", made / "model", "--corpus", made / "corpus", "--index", made / "index"]
    command("serving", "refresh", *places, "configs/refresh/demo.yaml")
    assert (made / "index" / "CURRENT").read_bytes() == current


@pytest.mark.nightly  # tests/integration/refresh/test_refresh_codes.py has the same at reduced size
def test_all_codes_can_be_served_and_stand_in_the_report(made):
    """M vectors a video instead of one; the page compares both."""
    places = ["--model", made / "model", "--corpus", made / "corpus", "--index", made / "codes"]
    command("serving", "refresh", *places, "served=codes")
    judgments = made / "world" / "judgments_test.jsonl"
    against = ["--against", made / "index", "against_label=mean", "resamples=100", "--json"]
    page = ["--index", made / "codes", "--judgments", judgments, "--out", made / "codes.html", *against]
    found = json.loads(command("mmsearch", "report", made / "model", *page))
    told = {space["name"]: space for space in found["graded"]["storage"]["spaces"]}
    num_codes = told["content"]["num_codes"]
    assert num_codes > 1
    assert told["cover"]["num_codes"] == 1
    assert told["content"]["bytes_per_video"] > 0.95 * num_codes * told["cover"]["bytes_per_video"]
    text = (made / "codes.html").read_text(encoding="utf-8")
    assert f"{num_codes} × {told['content']['dim']}" in text
    assert "mean:content" in text


def test_the_librarys_call_in_the_readme_runs_without_torch(made):
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.S)
    snippet = snippet.replace("runs/demo/index", str(made / "index"))
    code = f"{snippet}\nimport sys\nassert 'torch' not in sys.modules\nassert features.missing[-1].all()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "'content'" in done.stdout


def test_served_scores_equal_torch(made):
    from mmsearch.data.prepared import PreparedCorpus
    from mmsearch.models import load_document_encoder
    from mmsearch.scoring import FeatureScorer

    scorer = FeatureScorer.open(made / "index")
    corpus = PreparedCorpus.open(made / "corpus")
    embedded = load_document_encoder(made / "model", "cpu").encode(corpus.read(range(20)))
    for query in ("red ball", "蓝色风筝", "kitchen"):
        features = scorer.score(query, corpus.doc_ids[:20])
        vectors = scorer.encoder.encode([query])
        for name, space in embedded.items():
            values, missing = features.column(name)
            np.testing.assert_array_equal(missing, ~space.present)
            np.testing.assert_allclose(values, space.vectors @ vectors[name][0], atol=2e-3)


def test_the_readme_shows_the_commands_that_make_demo_runs():
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- demo:commands -->\n```console\n(.*?)```", readme, re.S)
    assert block is not None
    recipe = (CHECKOUT / "Makefile").read_text(encoding="utf-8").replace("$(BIN)/", "").replace("$(RUN)", "runs/demo")
    recipe = recipe.replace("$(CORPUS)", "configs/prepare/demo.yaml")  # where no language model was brought
    for line in block.group(1).strip().splitlines():
        assert line.removeprefix("$ ") in recipe, line
