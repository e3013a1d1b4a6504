"""Modalities taken away for measuring: the same for every model, nested, and never all."""

from hypothesis import given
from hypothesis import strategies as st

from mmsearch.protocols import PreparedVideo
from mmsearch.types import Modality
from training.comparison.measures import thinned

MODALITIES = st.sets(st.sampled_from(list(Modality)))


def video(doc_id: str, own: set[Modality]) -> PreparedVideo:
    texts = {m: m.value for m in own if m not in (Modality.COVER, Modality.FRAMES)}
    cover = b"cover" if Modality.COVER in own else None
    frames = (b"frame",) if Modality.FRAMES in own else ()
    return PreparedVideo(doc_id, texts, cover, frames, {m: m.value for m in own})


@given(st.text(max_size=8), MODALITIES, st.floats(0, 0.99), st.floats(0, 0.99))
def test_what_is_missing_at_a_share_is_missing_at_every_larger_one(doc_id, own, one, other):
    low, high = sorted((one, other))
    few, many = (set(thinned(video(doc_id, own), share).hashes) for share in (high, low))
    assert few <= many <= own
    assert bool(few) == bool(own)
    assert thinned(video(doc_id, own), 0) == video(doc_id, own)


@given(st.text(max_size=8), MODALITIES, st.floats(0, 0.99))
def test_what_is_gone_is_gone_from_everywhere(doc_id, own, share):
    left = thinned(video(doc_id, own), share)
    assert left == video(doc_id, set(left.hashes))


def test_the_share_is_that_of_the_modalities():
    everything = set(Modality)
    kept = sum(len(thinned(video(str(i), everything), 0.25).hashes) for i in range(1_000))
    assert abs(kept / (1_000 * len(everything)) - 0.75) < 0.02
