"""The draw of videos."""

from hypothesis import given
from hypothesis import strategies as st

from mmsearch.sentences.extract import SpokenVideo
from mmsearch.sentences.grading.sample import allocate, draw, language_of


def ids(sample):
    return [video.doc_id for video in sample.videos]


def test_the_draw_depends_on_seed_and_ids_alone(videos):
    first = draw(videos, 5, seed=3)
    assert ids(draw(videos[::-1], 5, seed=3)) == ids(first)
    assert {tuple(sorted(ids(draw(videos, 5, seed=seed)))) for seed in range(8)} != {tuple(sorted(ids(first)))}


def test_a_larger_draw_holds_the_smaller_one(videos):
    assert set(ids(draw(videos, 4))) < set(ids(draw(videos, 9)))


def test_languages_come_as_they_occur_or_alike(videos):
    assert draw(videos, 6).eligible == {"chinese": 4, "other": 8}
    languages = [language_of(video.transcript) for video in draw(videos, 6).videos]
    assert languages == ["chinese"] * 2 + ["other"] * 4
    languages = [language_of(video.transcript) for video in draw(videos, 6, balance="equal").videos]
    assert languages == ["chinese"] * 3 + ["other"] * 3


def test_what_nobody_can_grade_is_left_out_and_counted(videos):
    odd = [SpokenVideo("a", None, "x" * 50), SpokenVideo("b", " ", "x" * 50), SpokenVideo("c", "t", " short ")]
    sample = draw([*odd, *videos], 99, longer_than=5)
    assert (sample.seen, sample.untitled, sample.short) == (15, 2, 1)
    assert not {"a", "b", "c"} & set(ids(sample))
    assert len(sample.videos) == 12


def test_halves_of_characters_and_long_transcripts_are_tamed():
    (video,) = draw([SpokenVideo("d\ud800", "t\udfff", "ab\ud83d" + "x" * 99)], 1, max_transcript_chars=5).videos
    assert video == SpokenVideo("d?", "t?", "ab?xx")


def test_languages():
    assert language_of("今天我们来看 OpenCV 怎么用") == "chinese"
    assert language_of("a word 土 in English") == "other"
    assert language_of("") == language_of("1234 !?") == "other"


@given(
    st.dictionaries(st.sampled_from(["chinese", "other", "third"]), st.integers(1, 500), min_size=1),
    st.integers(1, 600),
    st.sampled_from(["proportional", "equal"]),
)
def test_allocation_gives_all_that_there_is_to_give(eligible, number, balance):
    taken = allocate(eligible, number, balance)
    total = sum(eligible.values())
    assert sum(taken.values()) == min(number, total)
    assert all(0 <= taken[name] <= eligible[name] for name in eligible)
    if number >= len(eligible):
        assert min(taken.values()) >= 1
        if balance == "proportional":
            wanted = {name: min(number, total) * count / total for name, count in eligible.items()}
            assert all(abs(taken[name] - wanted[name]) < len(eligible) for name in eligible)
        else:
            assert all(taken[a] == eligible[a] or taken[a] >= taken[b] - 1 for a in eligible for b in eligible)
