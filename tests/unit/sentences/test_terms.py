"""Terms, counts of documents, and the weights that follow."""

import json
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.errors import ConfigError, DataError, MissingExtraError
from mmsearch.sentences import terms as module
from mmsearch.sentences.frequencies import DocumentFrequencies, counted_text
from mmsearch.sentences.terms import terms_of

TEXTS = st.lists(st.text(alphabet="ab 一二，", max_size=12), max_size=8)


def test_english_is_folded_and_keeps_its_apostrophes():
    assert terms_of("Don't  STOP, Ｆｕｌｌ-width straße!", "bigrams") == ["don't", "stop", "full", "width", "strasse"]


def test_chinese_becomes_neighbouring_characters_without_jieba():
    assert terms_of("学习Python编程，好", "bigrams") == ["学习", "python", "编程", "好"]


def test_chinese_becomes_the_words_of_jieba():
    pytest.importorskip("jieba", exc_type=ImportError)
    assert terms_of("线性代数的向量空间", "jieba") == ["线性代数", "的", "向量", "空间"]


def test_a_long_run_is_bounded():
    assert terms_of("a" * 1000, "bigrams") == ["a" * 64]
    pytest.importorskip("jieba", exc_type=ImportError)
    assert "".join(terms_of("向量" * 5000, "jieba")) == "向量" * 5000


def test_jieba_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "jieba", None)
    module._jieba.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'mmsearch\[text\]'"):
        terms_of("向量", "jieba")
    module._jieba.cache_clear()


def test_jieba_leaves_nothing_in_the_temporary_folder_and_reads_nothing_from_it(tmp_path, monkeypatch):
    pytest.importorskip("jieba", exc_type=ImportError)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    module._jieba.cache_clear()
    assert terms_of("向量空间", "jieba") == ["向量", "空间"]
    assert list(tmp_path.iterdir()) == []


def test_weights_are_those_of_the_formula():
    counted = DocumentFrequencies.of(["a b", "a a c", "a"], "bigrams")
    assert counted.counts == {"a": 3, "b": 1, "c": 1}
    assert counted.idf("a") == pytest.approx(math.log(1 + 0.5 / 3.5))
    assert counted.idf("b") == pytest.approx(math.log(1 + 2.5 / 1.5))
    assert counted.idf("unseen") == pytest.approx(math.log(1 + 3.5 / 0.5))
    assert DocumentFrequencies("bigrams").idf("anything") > 0


@given(TEXTS, TEXTS)
def test_parts_add_up_to_the_whole_in_any_order(first, second):
    whole = DocumentFrequencies.of(first + second, "bigrams")
    parts = DocumentFrequencies.of(second, "bigrams")
    parts.merge(DocumentFrequencies.of(first, "bigrams"))
    assert (parts.counts, parts.num_documents) == (whole.counts, whole.num_documents)
    assert parts.fingerprint == whole.fingerprint


def test_counts_survive_the_disk(tmp_path):
    counted = DocumentFrequencies.of(["向量 a", "half \ud800 of a character"], "bigrams")
    counted.save(tmp_path / "df.json")
    loaded = DocumentFrequencies.load(tmp_path / "df.json")
    assert (loaded.segmenter, loaded.num_documents, loaded.idf("a")) == ("bigrams", 2, counted.idf("a"))
    assert loaded.fingerprint == DocumentFrequencies.load(tmp_path / "df.json").fingerprint


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"format_version": 99},
        {"format_version": 1, "segmenter": "other", "num_documents": 1, "counts": {}},
        {"format_version": 1, "segmenter": "bigrams", "num_documents": -1, "counts": {}},
        {"format_version": 1, "segmenter": "bigrams", "num_documents": 1, "counts": {"a": "many"}},
    ],
)
def test_other_files_are_refused(tmp_path, value):
    (tmp_path / "df.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match=r"df\.json.*count them again"):
        DocumentFrequencies.load(tmp_path / "df.json")


def test_counts_of_different_segmenters_do_not_mix():
    pytest.importorskip("jieba", exc_type=ImportError)
    with pytest.raises(ConfigError, match="count again"):
        DocumentFrequencies("bigrams").merge(DocumentFrequencies("jieba"))


def test_memory_is_bounded_by_forgetting_what_was_seen_once():
    counted = DocumentFrequencies("bigrams", max_terms=10)
    for number in range(100):
        counted.add(f"common word{number}")
    assert counted.counts["common"] == 100
    assert len(counted.counts) <= 10


def test_the_text_by_which_terms_are_counted_is_what_is_read_of_a_video():
    assert counted_text("red panda", "It sleeps.", 4) == "red panda\nIt s"
    assert counted_text(None, "It sleeps.", 99) == "\nIt sleeps."
    assert len(counted_text("a" * 5000, "", 99)) == 1001
