"""The commands with a real model: what a follower publishes is what a refresh of the grown table would."""

import json
import os
import signal
import threading
import time
from dataclasses import asdict

import numpy as np
import pytest
import torch

from mmsearch.data.contents import contents_of
from mmsearch.data.prepare import prepare
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import ConfigError
from mmsearch.files import write_json
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.models import MatchModel, ModelSettings, load_document_encoder, save_model
from mmsearch.text import Tokenizer
from serving.__main__ import refresh

SENTENCES = {"max_chars": 40, "max_sentence_chars": 40, "segmenter": "bigrams"}


@pytest.fixture(scope="module")
def rows(tiny_world):
    found = [json.loads(line) for line in (tiny_world / "videos.jsonl").read_text().splitlines()]
    spoken = "Here is a thing. It is on a beach. Nobody knows why. The sea is wide and blue. So it goes."
    return [row | {"asr": f"{row.get('title', 'what')} comes first. {spoken}"} for row in found]


def write_table(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def prepared(world, folder, rows, frequencies=None):
    settings = PrepareSettings(
        num_frames=2,
        image_size=16,
        shard_size=8,
        row_group_size=4,
        num_workers=1,
        sentences=SENTENCES | {"frequencies": frequencies},
    )
    table = write_table(world / f"{folder.name}.jsonl", rows)
    prepare(table, folder, settings)
    return folder


@pytest.fixture(scope="module")
def run(tiny_model, rows, tmp_path_factory):
    torch.manual_seed(0)
    tokenizer = Tokenizer.train([row["asr"] for row in rows], vocab_size=300, min_count=1)
    folder = tmp_path_factory.mktemp("run")
    save_model(folder, MatchModel(ModelSettings.model_validate(tiny_model), tokenizer.vocab_size), tokenizer)
    return folder


def publish(run, corpus, index):
    """Publish a corpus as a refresh does, but for the query tower, of which only the spaces are written."""
    opened, encoder = PreparedCorpus.open(corpus), load_document_encoder(run, "cpu")
    tower = index.parent / "tower"
    tower.mkdir()
    spaces = [asdict(space) | {"output": "o"} for space in encoder.spaces]
    write_json(tower / "query_tower.json", {"format_version": 2, "max_length": 8, "spaces": spaces})
    videos = opened.read(range(opened.num_videos))
    with GenerationWriter(index, encoder.spaces, dtype="float32") as writer:
        writer.add([video.doc_id for video in videos], encoder.encode(videos), contents_of(videos))
        writer.publish(query_tower=tower, source={"prepared": opened.settings.for_record()})


def test_following_comes_to_the_vectors_of_a_refresh(run, rows, tiny_world, tmp_path, capsys):
    corpus, index = prepared(tiny_world, tmp_path / "corpus", rows[:18]), tmp_path / "index"
    publish(run, corpus, index)
    changed = {**rows[3], "title": "another title", "asr": rows[4]["asr"]}
    lines = [*rows[18:], changed, {"op": "delete", "doc_id": "d05"}]
    stream = tmp_path / "changes"
    stream.mkdir()
    write_table(stream / "1.jsonl", lines)

    def stop() -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until and ForwardIndex.open(index).num_docs != 18 + 6 - 1:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    waiting = threading.Thread(target=stop)
    waiting.start()
    settings = [f"media_root={tiny_world}", "device=cpu", "max_delay_s=1", "poll_s=0.02"]
    refresh(run, corpus, index, settings, follows=True, source=str(stream))
    waiting.join()
    followed = ForwardIndex.open(index)
    assert capsys.readouterr().out.split()[-1] == followed.generation
    counted = corpus / "sentences" / "document_frequencies.json"
    whole = [row for row in [*rows[:3], changed, *rows[4:]] if row["doc_id"] != "d05"]
    grown = prepared(tiny_world, tmp_path / "grown", whole, counted)
    videos = PreparedCorpus.open(grown).read(range(23))
    expected = load_document_encoder(run, "cpu").encode(videos)
    rows_here = followed.rows([video.doc_id for video in videos])
    assert followed.num_docs == 23
    np.testing.assert_array_equal(followed.contents(rows_here), contents_of(videos))
    for space, wanted in expected.items():
        found, present = followed.vectors(space, rows_here)
        np.testing.assert_array_equal(present, wanted.present)
        np.testing.assert_allclose(found[present], wanted.vectors[present], atol=1e-5)

    with pytest.raises(ConfigError, match="give --corpus"):  # the index tells how to prepare, and not what is frequent
        refresh(run, None, index, settings, follows=True, source=str(stream))
