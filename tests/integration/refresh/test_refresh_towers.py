"""A refresh with a model: which towers run for what changed."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmsearch.data.manifest import SHARDS, Manifest, Shard
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.shards import ShardWriter
from mmsearch.files import hash_bytes, hash_file
from mmsearch.index import ForwardIndex
from mmsearch.models import MatchModel, ModelSettings, load_document_encoder, save_model
from mmsearch.text import Tokenizer
from mmsearch.types import Modality
from serving.refresh import refresh
from serving.settings import RefreshSettings
from serving.towers import towers_dir

SETTINGS = RefreshSettings(
    batch_size=4, dtype="float32", shard_size=5, check_sample=0, device="cpu", keep=("cover", "frames")
)
TITLE = list(Modality).index(Modality.TITLE)


def save(folder, tiny_model, *, trained_on=False):
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(["the red ball", "a green kite", "blue fish"], vocab_size=200, min_count=1)
    model = MatchModel(ModelSettings.model_validate(tiny_model), tokenizer.vocab_size)
    if trained_on:
        with torch.no_grad():
            for parameter in model.document.fusions.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    save_model(folder, model, tokenizer)
    return folder


@pytest.fixture(scope="module")
def run(tiny_model, tmp_path_factory):
    return save(tmp_path_factory.mktemp("run"), tiny_model)


@pytest.fixture
def videos(tiny_corpus):
    corpus = PreparedCorpus.open(tiny_corpus)
    return corpus.read(range(corpus.num_videos))


@pytest.fixture
def corpus_of(tiny_corpus, tmp_path):
    """Write a corpus of videos, with the settings of the tiny one."""

    def write(videos):
        shutil.rmtree(tmp_path / "corpus", ignore_errors=True)
        (tmp_path / "corpus" / SHARDS).mkdir(parents=True)
        path = tmp_path / "corpus" / SHARDS / "0.parquet"
        with ShardWriter(path, 4) as writer:
            for video in videos:
                writer.add(video)
            writer.flush()
        shard = Shard(path.name, writer.rows, path.stat().st_size, hash_file(path), writer.key)
        Manifest(Manifest.read(tiny_corpus).settings, (shard,), {}, {}).write(tmp_path / "corpus")
        return PreparedCorpus.open(tmp_path / "corpus")

    return write


@pytest.fixture
def refreshed(query_tower):
    """Refresh; give the result and how many pictures the towers saw."""

    def run_it(run, corpus, index, settings=SETTINGS, encoder=None):
        encoder, seen = encoder or load_document_encoder(run, "cpu"), []
        encoder._model.document.image.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
        return refresh(corpus, encoder, lambda to: query_tower(to, encoder.spaces), index, settings), sum(seen)

    return run_it


def retitled(video, title="blue fish"):
    hashes = {**video.hashes, Modality.TITLE: hash_bytes(title.encode())}
    return replace(video, texts={**video.texts, Modality.TITLE: title}, hashes=hashes)


def assert_right(index, run, corpus):
    served = ForwardIndex.open(index)
    expected = load_document_encoder(run, "cpu").encode(corpus.read(range(corpus.num_videos)))
    for name, embedded in expected.items():
        vectors, present = served.vectors(name, served.rows(list(corpus.doc_ids)))
        np.testing.assert_array_equal(present, embedded.present)
        np.testing.assert_allclose(vectors, embedded.vectors, atol=2e-6)


def num_pictures(videos):
    return sum((video.cover is not None) + len(video.frames) for video in videos)


def test_a_changed_title_runs_no_picture_tower(refreshed, run, videos, corpus_of, tmp_path):
    index = tmp_path / "index"
    assert refreshed(run, corpus_of(videos), index)[1] >= num_pictures(videos)
    changed = corpus_of([retitled(video) if n % 2 else video for n, video in enumerate(videos)])
    done, pictures = refreshed(run, changed, index)
    assert (done.num_embedded, pictures) == (12, 0)
    assert done.plan.counts.changed_by[Modality.TITLE] == 12
    assert_right(index, run, changed)


def test_without_keep_pictures_run_again(refreshed, run, videos, corpus_of, tmp_path):
    settings = SETTINGS.model_copy(update={"keep": ()})
    refreshed(run, corpus_of(videos), tmp_path / "index", settings)
    assert not towers_dir(tmp_path / "index").exists()
    changed = corpus_of([retitled(videos[1]), *videos[2:]])
    assert refreshed(run, changed, tmp_path / "index", settings)[1] == num_pictures(videos[1:2]) > 0


def test_a_changed_cover_runs_its_tower_for_it_alone(refreshed, run, videos, corpus_of, tmp_path):
    refreshed(run, corpus_of(videos), tmp_path / "index")
    hashes = {**videos[1].hashes, Modality.COVER: hash_bytes(b"other")}
    changed = corpus_of([videos[0], replace(videos[1], cover=videos[7].cover, hashes=hashes), *videos[2:]])
    assert refreshed(run, changed, tmp_path / "index")[1] == 1
    assert_right(tmp_path / "index", run, changed)


def test_a_model_whose_picture_towers_stayed_runs_none_of_them(refreshed, run, videos, corpus_of, tmp_path, tiny_model):
    corpus = corpus_of(videos)
    refreshed(run, corpus, tmp_path / "index")
    other = save(tmp_path / "other", tiny_model, trained_on=True)
    done, pictures = refreshed(other, corpus, tmp_path / "index")
    assert (done.num_embedded, done.plan.num_copied, pictures) == (len(videos), 0, 0)
    assert_right(tmp_path / "index", other, corpus)
    done, pictures = refreshed(other, corpus, tmp_path / "index", SETTINGS.model_copy(update={"anew": True}))
    assert pictures >= num_pictures(videos), "anew means anew"


def test_lost_outputs_cost_pictures_and_change_nothing(refreshed, run, videos, corpus_of, tmp_path):
    index = tmp_path / "index"
    refreshed(run, corpus_of(videos), index)
    shutil.rmtree(towers_dir(index))
    changed = corpus_of([retitled(video) for video in videos])
    assert refreshed(run, changed, index)[1] >= num_pictures(videos)
    assert_right(index, run, changed)
    assert refreshed(run, corpus_of([retitled(video, "a red ball") for video in videos]), index)[1] == 0


def test_a_refresh_that_failed_between_items_goes_on_to_the_same_bytes(
    refreshed, run, videos, corpus_of, tmp_path, served_bytes, monkeypatch
):
    changed = [retitled(video, f"the red ball {n}") for n, video in enumerate(videos)]
    for name in ("one", "two"):
        refreshed(run, corpus_of(videos), tmp_path / name)
    corpus = corpus_of(changed)
    refreshed(run, corpus, tmp_path / "one")
    encoder = load_document_encoder(run, "cpu")
    fuse, calls = encoder.fuse, []

    def fail(outputs):
        calls.append(1)
        return fuse(outputs) if len(calls) < 6 else 1 / 0

    monkeypatch.setattr(encoder, "fuse", fail)
    with pytest.raises(ZeroDivisionError):
        refreshed(run, corpus, tmp_path / "two", encoder=encoder)
    done, pictures = refreshed(run, corpus, tmp_path / "two")
    assert (done.num_embedded, pictures) == (len(videos), 0)
    assert served_bytes(tmp_path / "two") == served_bytes(tmp_path / "one")
