"""What is shown of videos is kept, and what strangers make up is not."""

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.values import MAX_ID_CHARS
from serving.service.shelf import Shelf


def test_ids_that_are_not_there_are_not_kept(tiny_corpus):
    shelf = Shelf(tiny_corpus)
    real = next(doc_ids[0] for doc_ids, _ in PreparedCorpus.open(tiny_corpus).content_blocks())
    made_up = ["x" * MAX_ID_CHARS, "x" * (MAX_ID_CHARS + 1), "x" * (1 << 20), *(f"nobody {n}" for n in range(50))]
    found = shelf.look_up([real, *made_up])
    assert found[0] is not None
    assert found[1:] == [None] * len(made_up)
    assert list(shelf._kept) == [real]
    assert shelf.look_up([real])[0] is found[0]
