"""A post put into words: the row of the videos table, and the texts to draw."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from mmsearch.demo import noise, wording
from mmsearch.demo.chance import stream
from mmsearch.demo.film import shot_lengths
from mmsearch.demo.latent import Post
from mmsearch.demo.settings import WorldSettings
from mmsearch.demo.vocabulary import Attribute
from mmsearch.types import Modality, Video


@dataclass(frozen=True, slots=True)
class Listing:
    """A post with its words.

    Args:
        post: the post.
        video: its row in the videos table, with paths relative to the table.
        slogan: the text on its cover.
        captions: the texts in its film.
    """

    post: Post
    video: Video
    slogan: str
    captions: tuple[str, str]


def film_chance(settings: WorldSettings, post: Post) -> Random:
    """Give the random numbers of a film from their start."""
    return stream(settings.seed, "film", post.doc_id)


def list_post(settings: WorldSettings, post: Post) -> Listing:
    """Word a post. What is missing in `post.shows` is None in the row."""
    chance = stream(settings.seed, "words", post.doc_id)
    shows, language = post.shows, post.language
    title = wording.title(shows.get(Modality.TITLE, {}), language, chance, bait=post.clickbait)
    account = wording.account(shows.get(Modality.ACCOUNT, {}), language, chance)
    slogan = wording.slogan(shows.get(Modality.COVER_OCR, {}), language, chance)
    captions = wording.captions({Attribute.PLACE: post.truth[Attribute.PLACE]}, language, chance)
    content_ocr = noise.recognise(" ".join(captions), settings.ocr_noise, chance)
    spoken = shows.get(Modality.ASR, {Attribute.TOPIC: post.truth[Attribute.TOPIC]})
    asr = noise.transcribe(wording.speech(spoken, language, chance), language, settings.asr_noise, chance)
    texts = {
        Modality.TITLE: title,
        Modality.ACCOUNT: account,
        Modality.COVER: f"covers/{post.doc_id}.jpg",
        Modality.COVER_OCR: noise.recognise(slogan, settings.ocr_noise, chance),
        Modality.FRAMES: f"video/{post.doc_id}.mp4",
        Modality.CONTENT_OCR: content_ocr,
        Modality.ASR: asr,
    }
    present = {modality: text or None for modality, text in texts.items() if modality in shows}
    rate = settings.frames_per_second
    video = Video(
        doc_id=post.doc_id,
        title=present.get(Modality.TITLE),
        account=present.get(Modality.ACCOUNT),
        cover=present.get(Modality.COVER),
        video=present.get(Modality.FRAMES),
        cover_ocr=present.get(Modality.COVER_OCR),
        content_ocr=present.get(Modality.CONTENT_OCR),
        asr=present.get(Modality.ASR),
        duration_s=sum(shot_lengths(rate, film_chance(settings, post))) / rate,
        published_at=post.published_at,
    )
    return Listing(post, video, slogan, captions)
