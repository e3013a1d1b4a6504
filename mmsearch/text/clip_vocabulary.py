"""CLIP's tokenizer, as open_clip's `SimpleTokenizer` computes it, in a form that needs neither open_clip nor torch.

The vocabulary is the one that open_clip ships. Equal ids for ordinary text: letters of any script, emoji, full-width
signs, curly quotes, f-ligatures, the common HTML entities. What differs, for it cannot be written as rules of a
`tokenizer.json`:

- wrongly decoded text ("Ã©" for "é") is not mended, and half-width katakana, hangul and digraph letters ("ǆ") stay;
- other HTML entities ("&copy;") and terminal escape sequences are not decoded;
- a capital sigma at the end of a word becomes σ, not ς; the mark U+0345 is no letter;
- "<end_of_text>" in a text is spelled out, where open_clip takes it for the end: texts are not trusted.
"""

from __future__ import annotations

import gzip
import importlib.util
import unicodedata
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from mmsearch.errors import DataError, MissingExtraError

START, END = "<|startoftext|>", "<|endoftext|>"
#: 256 bytes, each also at the end of a word, two special tokens: the rest of the 49,408 ids are merges.
_NUM_MERGES = 49_408 - 2 * 256 - 2
_FULL_WIDTH = {chr(i): unicodedata.normalize("NFKC", chr(i)) for i in (*range(0xFF01, 0xFF5F), *range(0xFFE0, 0xFFE7))}
_LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "ſt", "ﬆ": "st"}
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&apos;": "'", "&nbsp;": " "}
_AMPERSANDS = Regex("&(amp;)+")  # escaped again and again
_CONTROLS = Regex("[\u0000-\u0008\u000b\u000e-\u001f\u007f\u206a-\u206f\ufeff\ufff9-\ufffc]")
_PIECES = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")


def clip_tokenizer() -> Tokenizer:
    """Build CLIP's tokenizer (arXiv:2103.00020, section 2.4): 49,408 ids, a start and an end token around every text.

    Raises:
        MissingExtraError: open_clip, which ships the vocabulary, is absent.
        DataError: its vocabulary is not the one of CLIP.
    """
    letters = _byte_letters()
    merges = _read_merges(_vocabulary_file())
    pieces = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    rust = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>"))
    rust.normalizer = _cleaning()
    rust.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_PIECES, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    rust.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, vocabulary[START]), (END, vocabulary[END])]
    )
    return rust


def _cleaning() -> normalizers.Normalizer:
    replaced = _ENTITIES | _LIGATURES | _FULL_WIDTH
    return normalizers.Sequence(
        [
            normalizers.Replace(_AMPERSANDS, "&"),
            *(normalizers.Replace(found, instead) for found, instead in replaced.items()),
            normalizers.Replace(Regex("[\u02bc\u2018-\u201b]"), "'"),
            normalizers.Replace(Regex("[\u201c-\u201f]"), '"'),
            normalizers.Replace(_CONTROLS, ""),
            normalizers.NFC(),
            normalizers.Lowercase(),
        ]
    )


def _byte_letters() -> list[str]:
    """Give the letter that stands for each byte, in the order of the ids: printable Latin-1 first (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = 256 - len(printable)
    return [*map(chr, printable), *(chr(256 + i) for i in range(others))]


def _vocabulary_file() -> Path:
    spec = importlib.util.find_spec("open_clip")  # found, not imported: importing it brings torch
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            "the tokenizer of kind 'open_clip' needs the library 'open_clip', which ships its vocabulary; install it "
            "with: pip install 'mmsearch[train]'"
        )
    return Path(spec.origin).parent / "bpe_simple_vocab_16e6.txt.gz"


def _read_merges(path: Path) -> list[tuple[str, str]]:
    try:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: the vocabulary of CLIP cannot be read: {error}; reinstall open_clip_torch") from error
    merges: list[tuple[str, str]] = []
    for number, line in enumerate(lines[1 : _NUM_MERGES + 1], start=2):
        pair = line.split()
        if len(pair) != 2:
            raise DataError(f"{path}:{number}: is no merge of two pieces; reinstall open_clip_torch")
        merges.append((pair[0], pair[1]))
    if len(merges) != _NUM_MERGES:
        raise DataError(f"{path}: holds {len(merges)} merges, CLIP has {_NUM_MERGES}; reinstall open_clip_torch")
    return merges
