"""Why everything is embedded again, in words that name the setting or the model."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from mmsearch.types import Space
from serving.as_served import SettledSettings, settle
from serving.difference import missing_from, why_anew
from serving.settings import RefreshSettings

PLAIN = (Space("cover", 8, "aaaa"), Space("content", 8, "bbbb"))
SINGLES = (*PLAIN, Space("content.title", 8, "cccc"), Space("content.ocr", 8, "dddd"))
CODES = (PLAIN[0], replace(PLAIN[1], num_codes=4))


def holding(spaces, dtype="float16"):
    return SimpleNamespace(spaces=spaces, dtypes=dict.fromkeys([space.name for space in spaces], dtype))


@pytest.mark.parametrize(
    ("served", "spaces", "changes", "reason"),
    [
        (PLAIN, PLAIN, {}, None),
        (PLAIN, PLAIN, {"anew": True}, "anew=true"),
        (PLAIN, PLAIN, {"dtype": "int8"}, "dtype=int8, and vectors are served as float16"),
        (SINGLES, PLAIN, {}, "single_modalities=false, features lost: content.title, content.ocr"),
        (
            PLAIN,
            SINGLES,
            {"single_modalities": True},
            "single_modalities=true, features new: content.title, content.ocr",
        ),
        (SINGLES, PLAIN, {"single_modalities": True}, "features lost: content.title, content.ocr"),
        (PLAIN, PLAIN[1:], {}, "features lost: cover"),
        (PLAIN[:1], SINGLES, {"single_modalities": True}, "features new: content, content.title, content.ocr"),
        (PLAIN, CODES, {"served": "codes"}, "served=codes, codes of a video: content 1 -> 4"),
        (PLAIN, (PLAIN[0], Space("content", 6, "eeee", 4)), {},
         "another model (content bbbb -> eeee of 8 -> 6 numbers); codes of a video: content 1 -> 4"),
        (PLAIN, PLAIN[::-1], {}, "the spaces stand in another order"),
        (tuple(Space(f"s{n}", 4, "a") for n in range(6)), tuple(Space(f"s{n}", 4, "b") for n in range(6)), {},
         "another model (s0 a -> b, s1 a -> b, s2 a -> b, s3 a -> b and 2 more)"),
    ],
)  # fmt: skip
def test_the_reason_names_what_changed(served, spaces, changes, reason):
    assert why_anew(holding(served), spaces, SettledSettings(**changes)) == reason


def test_spaces_that_come_or_go_are_named_in_their_order():
    assert missing_from(SINGLES, PLAIN) == ("content.title", "content.ocr")
    assert missing_from(PLAIN, SINGLES) == ()


def test_what_is_not_told_stays_as_it_is_served():
    told = settle(RefreshSettings(), holding((*CODES, SINGLES[2]), "int8"))
    assert (told.dtype, told.served, told.single_modalities) == ("int8", "codes", True)
    told = settle(RefreshSettings(), holding(PLAIN, "float32"))
    assert (told.dtype, told.served, told.single_modalities) == ("float32", "mean", False)


def test_what_is_told_goes_before_what_is_served():
    given = RefreshSettings(dtype="float32", served="mean", single_modalities=False, batch_size=3)
    told = settle(given, holding((*CODES, SINGLES[2]), "int8"))
    assert (told.dtype, told.served, told.single_modalities, told.batch_size) == ("float32", "mean", False, 3)


def test_a_first_refresh_takes_the_defaults():
    told = settle(RefreshSettings(keep=("cover",)), None)
    assert (told.dtype, told.served, told.single_modalities) == ("float16", "mean", False)
    assert (told.keep, told.publish_every) == (("cover",), None)
    assert settle(told, None) == told
