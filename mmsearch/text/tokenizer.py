"""The tokenizer: trained on the corpus's own text, any Hugging Face tokenizer folder, or CLIP's.

Normalisation is part of `tokenizer.json` and so of every fingerprint. A trained tokenizer takes NFKC, removes control
and zero-width characters, folds white space and case, and splits Chinese into characters. What cannot be UTF-8 (lone
surrogates) is dropped, and only the first characters of a long text are read, before the tokenizer sees it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from tokenizers import Regex, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as RustTokenizer

from mmsearch.config import Settings
from mmsearch.errors import ConfigError, DataError
from mmsearch.files import read_json, write_bytes
from mmsearch.hub import locate
from mmsearch.text.clip_vocabulary import clip_tokenizer

Int64 = npt.NDArray[np.int64]

_WANTED = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")

PAD, UNKNOWN, START = "[PAD]", "[UNK]", "[CLS]"
#: Characters read of a text for each token that will be kept: words are far shorter, runs of symbols may not be.
_CHARACTERS_PER_TOKEN = 24
#: Zero-width and bidirectional marks: invisible, and a favourite of keyword cheaters.
_INVISIBLE = Regex(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)


class TokenizerSettings(Settings):
    """Where the tokenizer comes from. Pretrained text towers need their own."""

    kind: Literal["trained", "folder", "open_clip"] = "trained"
    """`trained` on the queries and the corpus; from `folder`, which may be given alone; or CLIP's, as open_clip has
    it."""
    folder: Path | None = None
    """A folder or hub name with `tokenizer.json` (any Hugging Face tokenizer) or `vocab.txt` (BERT, Chinese-CLIP)."""
    vocab_size: int = Field(default=8000, ge=16)
    """Size of the vocabulary when one is trained."""
    min_count: int = Field(default=2, ge=1)
    """A pair of pieces seen less often is not merged when one is trained."""

    @model_validator(mode="before")
    @classmethod
    def _folder_alone(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("folder") is not None:
            return {"kind": "folder"} | given
        return given

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.kind == "folder") != (self.folder is not None):
            raise ValueError("kind 'folder' and `folder` go together: give both, or the folder alone, or neither")
        return self

    def load(self) -> Tokenizer | None:
        """Give the tokenizer; None where one is to be trained.

        Raises:
            ConfigError: the folder is neither a local path nor in the hub.
            DataError: it holds no tokenizer.
        """
        if self.kind == "open_clip":
            return Tokenizer.open_clip()
        return None if self.folder is None else Tokenizer.load(locate(str(self.folder), "tokenizer", _WANTED))


@dataclass(frozen=True, slots=True)
class TextTokens:
    """What is read of a text.

    Args:
        tokens: as they stand in the vocabulary, after normalisation, without the special ones around every text.
        truncated: whether the text goes on after them, and the rest is not read.
    """

    tokens: tuple[str, ...]
    truncated: bool


class Tokenizer:
    """Turns texts into ids. Safe to share between threads: encoding changes no state."""

    def __init__(self, rust: RustTokenizer) -> None:
        rust.no_truncation()
        rust.no_padding()
        self._rust = rust
        self._before, self._after = _around(rust)
        if not self._before and not self._after:
            start = rust.token_to_id(START)
            self._before = [] if start is None else [start]
        pad = next((i for name in (PAD, "<pad>", "<|endoftext|>") if (i := rust.token_to_id(name)) is not None), 0)
        self.pad_id: int = pad

    @property
    def vocab_size(self) -> int:
        """Number of ids, special ones and added ones included."""
        return int(self._rust.get_vocab_size(with_added_tokens=True))

    @property
    def num_special(self) -> int:
        """Number of special tokens around every text: a row of no more tokens than these holds no text."""
        return len(self._before) + len(self._after)

    @classmethod
    def train(cls, texts: Iterable[str], *, vocab_size: int, min_count: int = 2) -> Tokenizer:
        """Learn byte-pair merges over characters (arXiv:1508.07909); the same texts give the same bytes.

        Not WordPiece: its trainer numbers word pieces in the order of a randomly seeded hash map, so two runs on the
        same texts differ.
        """
        rust = RustTokenizer(models.BPE(unk_token=UNKNOWN))
        rust.normalizer = normalizers.Sequence(
            [
                normalizers.NFKC(),
                normalizers.Replace(_INVISIBLE, ""),
                normalizers.BertNormalizer(
                    clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=True
                ),
            ]
        )
        rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=min_count,
            limit_alphabet=max(vocab_size * 3 // 4, 1),  # rare Chinese characters must not push all words out
            special_tokens=[PAD, UNKNOWN, START],
            show_progress=False,
        )
        rust.train_from_iterator((_printable(text) for text in texts), trainer)
        return cls(rust)

    @classmethod
    def open_clip(cls) -> Tokenizer:
        """Give CLIP's tokenizer; see `mmsearch.text.clip_vocabulary` for what differs from open_clip's own."""
        return cls(clip_tokenizer())

    @classmethod
    def load(cls, folder: Path | str) -> Tokenizer:
        """Read a tokenizer folder; of a `vocab.txt`, `tokenizer_config.json` says whether case and accents count.

        Raises:
            DataError: there is neither `tokenizer.json` nor `vocab.txt`, or it cannot be read.
        """
        folder = Path(folder)
        try:
            if (folder / "tokenizer.json").is_file():
                return cls(RustTokenizer.from_file(str(folder / "tokenizer.json")))
            if (folder / "vocab.txt").is_file():
                return cls(_bert_tokenizer(folder / "vocab.txt"))
        except Exception as error:  # the Rust side raises bare Exception
            raise DataError(f"{folder}: the tokenizer cannot be read: {error}") from error
        raise DataError(
            f"{folder}: holds neither tokenizer.json nor vocab.txt; give a Hugging Face tokenizer folder (transformers "
            f"writes tokenizer.json: AutoTokenizer.from_pretrained(...).save_pretrained(DIR))"
        )

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` into a folder."""
        write_bytes(folder / "tokenizer.json", self.to_bytes())

    def to_bytes(self) -> bytes:
        """Give everything that decides the ids (normalisation, vocabulary, rules) as bytes, for fingerprints."""
        return json.dumps(json.loads(self._rust.to_str()), ensure_ascii=False, sort_keys=True).encode()

    def encode_batch(self, texts: Sequence[str], max_length: int) -> tuple[Int64, Int64]:
        """Give token ids and masks of texts.

        Args:
            texts: any strings; an empty one becomes the start token alone.
            max_length: tokens kept of a text, the special ones included; the rest is cut off.

        Returns:
            ids and mask (1 = real), both [B, L] with L the longest text of the batch (at least 1).
        """
        room = self._room(max_length)
        short = [_printable(text, max_length * _CHARACTERS_PER_TOKEN) for text in texts]
        encoded = self._rust.encode_batch_fast(short, add_special_tokens=False)
        rows = [[*self._before, *one.ids[:room], *self._after] for one in encoded]
        width = max((len(row) for row in rows), default=1) or 1
        ids = np.full((len(rows), width), self.pad_id, np.int64)
        mask = np.zeros((len(rows), width), np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        return ids, mask

    def read(self, text: str, max_length: int) -> TextTokens:
        """Give what `encode_batch` reads of a text, in words: for people."""
        room, max_chars = self._room(max_length), max_length * _CHARACTERS_PER_TOKEN
        tokens = self._rust.encode(_printable(text, max_chars), add_special_tokens=False).tokens
        return TextTokens(tuple(tokens[:room]), len(tokens) > room or len(text.strip()) > max_chars)

    def _room(self, max_length: int) -> int:
        """Give how many tokens there may be beside the special ones."""
        room = max_length - self.num_special
        if room < 1:
            raise ConfigError(f"max_length {max_length} leaves no room for text; give at least {max_length - room + 1}")
        return room


def _around(rust: RustTokenizer) -> tuple[list[int], list[int]]:
    """Give what the post-processor puts before and after every text: [CLS] and [SEP], say, or nothing and </s>."""
    bare, whole = rust.encode("a", add_special_tokens=False).ids, rust.encode("a").ids
    places = range(len(whole) - len(bare) + 1)
    found = (n for n in places if whole[n : n + len(bare)] == bare)
    before = next(found, 1) if bare else 1  # a vocabulary may lack even this letter; most begin with a special token
    return whole[:before], whole[before + len(bare) :]


def _printable(text: str, max_chars: int | None = None) -> str:
    """Cut a text to its first characters and drop what UTF-8 cannot hold."""
    if max_chars is not None and len(text) > max_chars:
        text = text.lstrip()[:max_chars]
    return text.encode("utf-8", "ignore").decode("utf-8")


def _bert_tokenizer(vocab: Path) -> RustTokenizer:
    from tokenizers.implementations import BertWordPieceTokenizer

    beside = vocab.with_name("tokenizer_config.json")
    config = read_json(beside) if beside.is_file() else {}
    bert: RustTokenizer = BertWordPieceTokenizer(
        str(vocab),
        lowercase=config.get("do_lower_case", True),
        strip_accents=config.get("strip_accents"),
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
    )._tokenizer
    return bert
