"""The tokenizer: determinism, one normalisation, bounded work, foreign folders."""

import subprocess
import sys
import time

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.errors import ConfigError, DataError
from mmsearch.text import Tokenizer

TEXTS = ["红色的皮球 bouncing on the beach"] * 3 + ["hello world, blue ball"] * 3 + ["How to cook 面条"] * 2
TOKENIZER = Tokenizer.train(TEXTS, vocab_size=120)


def ids(*texts, max_length=16):
    return TOKENIZER.encode_batch(texts, max_length)[0].tolist()


def test_two_processes_learn_the_same_bytes():
    script = f"from mmsearch.text import Tokenizer as T; print(T.train({TEXTS!r}, vocab_size=120).to_bytes().hex())"
    found = {subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout for _ in range(2)}
    assert found == {(TOKENIZER.to_bytes().hex() + "\n").encode()}


def test_equal_under_nfkc_case_white_space_and_invisible_marks():
    plain = ids("blue ball 红色")
    for twin in ("BLUE  Ball\t红色", "ｂｌｕｅ ball 红色", "bl\u200bue ball\u202e 红色 ", "blue\u00a0ball\n红色"):
        assert ids(twin) == plain


def test_rows_are_padded_and_masked():
    found, mask = TOKENIZER.encode_batch(["blue ball", ""], 16)
    assert mask.sum(1).tolist() == [found.shape[1], 1]
    assert (found[1, 1:] == TOKENIZER.pad_id).all()
    assert TOKENIZER.encode_batch([], 16)[0].shape == (0, 1)


def test_long_texts_are_cut_to_max_length():
    assert TOKENIZER.encode_batch(["ball " * 100], 7)[0].shape == (1, 7)


def test_ten_megabytes_cost_no_more_than_a_line():
    huge = "红 ball " * 1_600_000
    start = time.process_time()
    assert TOKENIZER.encode_batch([huge], 16)[0].shape == (1, 16)
    assert time.process_time() - start < 0.5


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=60))
def test_any_string_has_ids_in_range(text):
    found, mask = TOKENIZER.encode_batch([text], 12)
    assert found.dtype == mask.dtype == np.int64
    assert 1 <= found.shape[1] <= 12
    assert 0 <= found.min() <= found.max() < TOKENIZER.vocab_size


def test_saved_and_loaded_it_is_the_same(tmp_path):
    TOKENIZER.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.to_bytes() == TOKENIZER.to_bytes()
    assert again.encode_batch(["红色 ball"], 8)[0].tolist() == ids("红色 ball")


def test_a_bert_vocabulary_works_and_brings_its_own_special_tokens(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nblue\nball\n红\n", encoding="utf-8")
    bert = Tokenizer.load(tmp_path)
    assert bert.encode_batch(["Blue ball 红 unseen", "ball"], 6)[0].tolist() == [[2, 5, 6, 7, 1, 3], [2, 6, 3, 0, 0, 0]]
    assert bert.encode_batch(["blue blue blue blue"], 4)[0].tolist() == [[2, 5, 5, 3]]


def test_a_folder_without_a_tokenizer_says_what_is_missing(tmp_path):
    with pytest.raises(DataError, match=r"neither tokenizer.json nor vocab.txt"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{broken")
    with pytest.raises(DataError, match="cannot be read"):
        Tokenizer.load(tmp_path)


def test_no_room_for_text_is_a_configuration_error():
    with pytest.raises(ConfigError, match="at least 2"):
        TOKENIZER.encode_batch(["ball"], 1)


@pytest.mark.parametrize(
    ("template", "expected"),
    [("<s> $A </s>", [0, 3, 1]), ("$A </s>", [3, 1]), ("<s> $A", [0, 3]), ("<s> </s> $A </s>", [0, 1, 3, 1])],
)
def test_special_tokens_stand_where_the_folder_puts_them(tmp_path, template, expected):
    rust = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<s>": 0, "</s>": 1, "<unk>": 2, "ball": 3}, "<unk>"))
    special = [("<s>", 0), ("</s>", 1)]
    rust.post_processor = tokenizers.processors.TemplateProcessing(single=template, special_tokens=special)
    rust.save(str(tmp_path / "tokenizer.json"))
    assert Tokenizer.load(tmp_path).encode_batch(["ball"], 8)[0].tolist() == [expected]
