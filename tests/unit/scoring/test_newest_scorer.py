"""The few lines of `docs/howto/operate-index.md` with which a server follows an index, run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.protocols import Embedded
from mmsearch.scoring import FeatureScorer

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "operate-index.md"


def test_a_server_keeps_its_scorer_until_something_is_published(index_dir, tower, embedded):
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [text for text in blocks if "def newest(" in text]
    exec(block, names)
    first = FeatureScorer.open(index_dir)
    assert names["newest"](index_dir, first) is first
    docs = list(first.index.doc_ids)
    with GenerationWriter(index_dir, ForwardIndex.open(index_dir).spaces, dtype="float32") as writer:
        writer.add(docs, {name: Embedded(-told.vectors, told.present) for name, told in embedded.items()})
        published = writer.publish(query_tower=tower, source={})
    second = names["newest"](index_dir, first)
    assert second.index.generation == published
    assert second.encoder is first.encoder
    before, after = (scorer.score("red panda", docs).values for scorer in (first, second))
    np.testing.assert_allclose(after, -before, atol=1e-6)
