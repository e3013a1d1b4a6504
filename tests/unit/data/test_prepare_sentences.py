"""Key sentences as the last pass of prepare: kept, made again only where something changed, and never lost."""

import json

import pytest

from mmsearch.data.key_sentences import SENTENCES
from mmsearch.data.prepare import prepare
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.sentences import NO_ANSWER, REFUSED, DocumentFrequencies, KeySentenceExtractor, SentenceSettings
from mmsearch.types import Modality

BUDGET = {"max_chars": 40, "max_sentence_chars": 40}


def row(number, transcript):
    return {"doc_id": f"d{number}", "title": f"how to bake bread {number}", "asr": transcript}


def spoken(number):
    filler = "and so we go on and on with it."
    return f"hello to all of you out there. today we bake bread number {number}. {filler} see you next time my friends."


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "videos.jsonl"
    rows = [row(i, spoken(i)) for i in range(5)] + [{"doc_id": "silent", "title": "no speech"}]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def settings(**changed):
    chosen = None if changed.pop("off", False) else SentenceSettings(**BUDGET, **changed)
    return PrepareSettings(shard_size=3, row_group_size=2, num_workers=1, sentences=chosen)


def files_of(folder):
    return {p.name: p.stat().st_mtime_ns for p in (folder / SENTENCES).iterdir()}


def test_sentences_are_verbatim_and_in_the_budget(table, tmp_path):
    summary = prepare(table, tmp_path / "corpus", settings())
    assert summary.key_sentences == {"greedy": 5}
    for video in PreparedCorpus.open(tmp_path / "corpus").read(range(6)):
        if video.doc_id == "silent":
            assert video.key_sentences is None
            continue
        assert video.key_sentences is not None
        assert len(video.key_sentences) <= 40
        assert "bake bread" in video.key_sentences
        assert all(line in video.texts[Modality.ASR] for line in video.key_sentences.splitlines())
        assert video.texts[Modality.ASR] == spoken(int(video.doc_id[1:]))


def test_a_corpus_without_them_has_the_same_shards(table, tmp_path):
    prepare(table, tmp_path / "with", settings())
    prepare(table, tmp_path / "without", settings(off=True))
    shards = [sorted(p.name for p in (tmp_path / name / "shards").iterdir()) for name in ("with", "without")]
    assert shards[0] == shards[1]
    summary = prepare(table, tmp_path / "without", settings())
    assert summary.num_reused == 6
    ways = [PreparedCorpus.open(tmp_path / name).content_hash for name in ("with", "without")]
    assert ways[0] == ways[1]


def test_only_what_changed_is_chosen_again(table, tmp_path):
    out = tmp_path / "corpus"
    prepare(table, out, settings())
    before, keys = files_of(out), [shard.key for shard in PreparedCorpus.open(out).shards]
    prepare(table, out, settings())
    assert files_of(out) == before
    with table.open("a") as file:
        file.write(json.dumps(row(9, spoken(9))) + "\n")
    prepare(table, out, settings())
    after = files_of(out)
    assert len(after.keys() & before.keys()) == 5  # frequencies, and file and record of both old shards
    assert all(after[name] == before[name] for name in after.keys() & before.keys())
    assert [shard.key for shard in PreparedCorpus.open(out).shards[:2]] == keys
    prepare(table, out, settings(max_transcript_chars=50))
    assert not files_of(out).keys() & {name for name in after if name.endswith(".parquet")}


class Unreliable(KeySentenceExtractor):
    """Stands for a model that does not answer, or refuses."""

    def fallback(self, video):
        return REFUSED if video.doc_id == "d3" else NO_ANSWER

    def extract_one(self, video):
        from dataclasses import replace

        return replace(super().extract_one(video), fallback=self.fallback(video))


class Babbling(Unreliable):
    def fallback(self, video):
        return "the answer was not JSON alone"


def test_what_fell_back_is_told_also_by_a_run_that_reuses_it(table, tmp_path, monkeypatch):
    monkeypatch.setattr("mmsearch.data.prepare_sentences.KeySentenceExtractor", Babbling)
    first = prepare(table, tmp_path / "corpus", settings())
    monkeypatch.undo()
    again = prepare(table, tmp_path / "corpus", settings())
    assert again.num_reused == 6
    assert first.fallbacks == again.fallbacks == {"the answer was not JSON alone": 5}
    assert again.num_unanswered == 0


def test_what_a_model_did_not_answer_is_asked_again(table, tmp_path, monkeypatch):
    out = tmp_path / "corpus"
    monkeypatch.setattr("mmsearch.data.prepare_sentences.KeySentenceExtractor", Unreliable)
    summary = prepare(table, out, settings())
    assert (summary.fallbacks, summary.num_unanswered) == ({NO_ANSWER: 4, REFUSED: 1}, 5)
    assert PreparedCorpus.open(out).read([0])[0].key_sentences is not None
    unanswered = [json.loads(path.read_text())["unanswered"] for path in (out / SENTENCES).glob("0*.json")]
    assert sum(unanswered) == 5
    monkeypatch.undo()
    before = {name for name in files_of(out) if name.endswith(".parquet")}
    prepare(table, out, settings())
    assert not files_of(out).keys() & before
    assert all(json.loads(path.read_text())["unanswered"] == 0 for path in (out / SENTENCES).glob("0*.json"))


def test_the_corpus_of_before_is_whole_while_a_model_is_asked_again(table, tmp_path, monkeypatch):
    out = tmp_path / "corpus"
    monkeypatch.setattr("mmsearch.data.prepare_sentences.KeySentenceExtractor", Unreliable)
    prepare(table, out, settings())
    monkeypatch.undo()
    before = PreparedCorpus.open(out).read([0])[0].key_sentences

    class Killed(KeySentenceExtractor):
        """Chooses other sentences, and dies in the second shard."""

        def extract_one(self, video):
            from dataclasses import replace

            if video.doc_id == "d3":
                raise KeyboardInterrupt
            return replace(super().extract_one(video), sentences=("another choice",))

    monkeypatch.setattr("mmsearch.data.prepare_sentences.KeySentenceExtractor", Killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(table, out, settings())
    PreparedCorpus.open(out).verify()
    assert PreparedCorpus.open(out).read([0])[0].key_sentences == before
    monkeypatch.undo()
    prepare(table, out, settings())
    corpus = PreparedCorpus.open(out)
    corpus.verify()
    assert corpus.read([0])[0].key_sentences == "another choice"  # the first shard was done
    assert len(list((out / SENTENCES).glob("0*.parquet"))) == len(corpus.shards)


def test_frequencies_of_nothing_are_not_kept_and_those_of_a_small_part_are_told(table, tmp_path, caplog):
    out, whole = tmp_path / "corpus", table.read_text()
    table.write_text(json.dumps({"doc_id": "silent", "title": "no speech"}) + "\n")
    prepare(table, out, settings())
    table.write_text(whole)
    prepare(table, out, settings())
    counted = out / SENTENCES / "document_frequencies.json"
    assert json.loads(counted.read_text())["num_documents"] == 5
    DocumentFrequencies.of(["today we bake"]).save(counted)
    assert "remove" not in caplog.text
    table.write_text(whole + "".join(json.dumps(row(i, spoken(i))) + "\n" for i in range(10, 16)))
    prepare(table, out, settings())
    assert f"counted once, and the corpus now holds 11; remove {counted}" in caplog.text


def test_a_damaged_record_is_made_again(table, tmp_path):
    out = tmp_path / "corpus"
    prepare(table, out, settings())
    whole = PreparedCorpus.open(out).content_hash
    for path in (out / SENTENCES).glob("0*.json"):
        path.write_text("{")
    next(iter((out / SENTENCES).glob("*.parquet"))).unlink()
    (out / SENTENCES / ".000000-0123456789abcdef.parquet.0123456789abcdef0123456789abcdef.tmp").touch()
    prepare(table, out, settings())
    corpus = PreparedCorpus.open(out)
    corpus.verify()
    assert corpus.content_hash == whole
    assert not list((out / SENTENCES).glob("*.tmp"))


def test_the_corpus_that_was_there_stays_until_the_new_one_is_whole(table, tmp_path, monkeypatch):
    out = tmp_path / "corpus"
    prepare(table, out, settings(off=True))
    before = (out / "corpus.json").read_bytes()

    def fails(*_):
        raise OSError("disk")

    monkeypatch.setattr("mmsearch.data.prepare.choose_key_sentences", fails)
    with pytest.raises(OSError, match="disk"):
        prepare(table, out, settings())
    assert (out / "corpus.json").read_bytes() == before
    PreparedCorpus.open(out).verify()
