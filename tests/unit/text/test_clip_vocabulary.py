"""CLIP's tokenizer: the ids of open_clip's own, without open_clip and without torch."""

import gzip
import subprocess
import sys
import unicodedata

import ftfy
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmsearch.errors import ConfigError, DataError, MissingExtraError
from mmsearch.text import Tokenizer, TokenizerSettings, clip_vocabulary
from mmsearch.torchvision_guard import guard_torchvision

guard_torchvision()
from open_clip.tokenizer import SimpleTokenizer  # noqa: E402 - torchvision cannot be imported before the guard

OURS = Tokenizer.open_clip()
THEIRS = SimpleTokenizer()


def ours(text, max_length=77):
    return OURS.encode_batch([text], max_length)[0][0].tolist()


def theirs(text, max_length=77):
    row = THEIRS(text, context_length=max_length)[0].tolist()
    return row[: row.index(THEIRS.eot_token_id) + 1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a photo of a cat, 2 dogs and 31 birds!",
        "It's the DOG'S; don't, I'LL, we've, I'm, you're",
        "  white\tspace \n\n folded ",
        "#hash_tag @user http://a.b/c?d=e&f",
        "café naïve ÀÉÎ e\u0301 İstanbul straße",
        "红色的皮球，在海滩上！你好？（第１章）￥９９",
        "日本語テキスト 한국어 हिन्दी ไทย עברית",
        "😀😀 🔥!! 👨\u200d👩\u200d👧 🇨🇳",
        "“curly” ‘quotes’ ﬁne",
        "&amp; &lt;b&gt; &quot;x&quot; a&nbsp;b &amp;amp; it&#39;s",
        "a\u0000b\u001f\ufeffc",
        "supercalifragilisticexpialidocious" * 3,
    ],
)
def test_ids_are_those_of_open_clip(text):
    assert ours(text) == theirs(text)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cn", "Co")), max_size=40))
def test_ids_are_those_of_open_clip_wherever_ftfy_mends_nothing(text):
    assume(ftfy.fix_text(text) == unicodedata.normalize("NFC", text) and "&" not in text)
    assume("Σ" not in text and "\u0345" not in text)
    assert ours(text) == theirs(text)


def test_letters_of_every_script_have_the_ids_of_open_clip():
    places = range(0, 0x20000, 37)
    letters = [chr(i) for i in places if unicodedata.category(chr(i)) not in ("Cs", "Cn", "Co", "Cc")]
    unmended = [c for c in letters if ftfy.fix_text(c) == unicodedata.normalize("NFC", c)]
    assert len(unmended) > 2000
    assert [ours(f"a{c}b {c}") for c in unmended] == [theirs(f"a{c}b {c}") for c in unmended]


def test_a_long_text_keeps_its_end_token():
    text = "one two three four five six"
    assert ours(text, 5) == theirs(text, 5)
    assert ours(text, 5)[-1] == THEIRS.eot_token_id


def test_an_end_token_in_a_text_is_text():
    for name in ("<end_of_text>", clip_vocabulary.END):
        assert ours(f"a {name} b").count(THEIRS.eot_token_id) == 1


def test_it_has_all_ids_and_pads_with_the_end_token():
    assert OURS.vocab_size == THEIRS.vocab_size == 49408
    ids, mask = OURS.encode_batch(["a red ball", "ball"], 77)
    assert mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert (ids[1, 2:] == THEIRS.eot_token_id).all()


def test_saved_it_needs_no_open_clip(tmp_path):
    OURS.save(tmp_path)
    assert Tokenizer.load(tmp_path).encode_batch(["红色 ball"], 9)[0].tolist() == [ours("红色 ball")]


def test_building_it_imports_neither_torch_nor_open_clip():
    script = "import sys; from mmsearch.text import Tokenizer; Tokenizer.open_clip(); print(sys.modules.keys())"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout
    assert "'mmsearch.text.clip_vocabulary'" in loaded
    assert "'torch'" not in loaded
    assert "'open_clip'" not in loaded


def test_without_open_clip_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(clip_vocabulary.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"mmsearch\[train\]"):
        Tokenizer.open_clip()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no gzip", "cannot be read"),
        (gzip.compress(b"#version\na b\nc\n", mtime=0), ":3: is no merge of two pieces"),
        (gzip.compress(b"#version\na b\nc d", mtime=0), "holds 2 merges, CLIP has 48894"),
    ],
)
def test_a_broken_vocabulary_is_named(tmp_path, monkeypatch, data, message):
    (tmp_path / "vocabulary.gz").write_bytes(data)
    monkeypatch.setattr(clip_vocabulary, "_vocabulary_file", lambda: tmp_path / "vocabulary.gz")
    with pytest.raises(DataError, match=message):
        Tokenizer.open_clip()


def test_settings_choose_the_tokenizer(tmp_path):
    OURS.save(tmp_path)
    assert TokenizerSettings().load() is None
    assert TokenizerSettings(vocab_size=100).kind == "trained"
    assert TokenizerSettings(kind="open_clip").load().to_bytes() == OURS.to_bytes()
    given = TokenizerSettings(folder=tmp_path)
    assert given.kind == "folder"
    assert given.load().to_bytes() == OURS.to_bytes()
    assert TokenizerSettings.model_validate(given.model_dump(mode="json")) == given


@pytest.mark.parametrize("wrong", [{"kind": "folder"}, {"kind": "open_clip", "folder": "x"}])
def test_settings_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(ValueError, match="go together"):
        TokenizerSettings(**wrong)


def test_a_folder_that_is_nowhere_is_named():
    with pytest.raises(ConfigError, match=r"tokenizer '.*nosuchfolder'"):
        TokenizerSettings(folder="./nosuchfolder").load()


@pytest.mark.parametrize(("config", "text"), [("{}", "Blue"), ('{"do_lower_case": false}', "Blue"), (None, "blÜe")])
def test_a_bert_folder_says_whether_case_counts(tmp_path, config, text):
    transformers = pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nblue\nBlue\n红\n色\n", encoding="utf-8")
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(config)
    theirs = transformers.BertTokenizerFast.from_pretrained(tmp_path)([f"{text} 红色 blue"])["input_ids"]
    assert Tokenizer.load(tmp_path).encode_batch([f"{text} 红色 blue"], 16)[0].tolist() == theirs
