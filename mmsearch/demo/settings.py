"""What the demo world is made of: every share that makes searching in it hard is one setting."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mmsearch.config import Settings

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class WorldSettings(Settings):
    """The demo world and its simulated searchers. Equal settings give equal bytes."""

    seed: int = 0
    """Another seed is another world of the same kind."""
    videos: int = Field(default=600, ge=24, le=20_000)
    """Number of videos: two thirds train, one eighth val, the rest test."""
    frames_per_second: int = Field(default=10, ge=4, le=30)
    """Frame rate of the films, which last about 2 to 4 seconds."""

    chinese: Share = 0.5
    """Share of videos and of queries in Chinese; the others are English."""
    vague_title: Share = 0.25
    """Share of honest videos whose title names nothing ("wait for the end")."""
    clickbait: Share = 0.15
    """Share of videos whose title and cover promise an object and a colour that the frames do not hold."""
    other_cover: Share = 0.2
    """Share of honest videos whose cover shows another object, colour and scene than title and frames."""
    themed_account: Share = 0.4
    """Share of accounts that are named after the object of the video; the others tell nothing."""
    slogan: Share = 0.5
    """Share of covers whose drawn text names object and colour; the others carry hype."""
    speech_only: Share = 0.85
    """Share of videos whose topic is named in the speech alone; else a title that is not vague tells it too."""
    screen_only: Share = 0.85
    """Share of videos whose place is named on the screen alone; else a title that is not vague tells it too."""
    spoken_object: Share = 0.3
    """Share of speeches that name the object as well as the topic."""
    missing: Share = 0.06
    """Share of videos that lack a title; likewise, independently: account, cover, film, on-screen text, speech."""

    asr_noise: Share = 0.05
    """Share of spoken words (Chinese: characters) that the speech recogniser drops, doubles or mishears."""
    ocr_noise: Share = 0.03
    """Share of drawn characters that the text recogniser drops or confuses."""

    train_intents: int = Field(default=1_500, ge=1)
    """Number of different things that searchers look for in the click log."""
    sessions: int = Field(default=4_000, ge=1)
    """Number of searches in the click log; an intent is searched again in other words."""
    results: int = Field(default=10, ge=1, le=50)
    """Number of videos shown for a search."""
    position_bias: float = Field(default=0.8, ge=0.0)
    """A searcher looks at position k with probability k ** -position_bias; 0 = at all of them."""
    careless_clicks: Share = 0.04
    """Probability of clicking a looked-at video that promises nothing that was asked for."""

    judged_train: int = Field(default=500, ge=1)
    """Number of judged queries over training videos."""
    judged_val: int = Field(default=40, ge=1)
    """Number of judged queries over val videos."""
    judged_test: int = Field(default=80, ge=1)
    """Number of judged queries over test videos."""
    judged_per_query: int = Field(default=20, ge=2)
    """Number of judged videos of a query, or all videos of the split where it has fewer."""
