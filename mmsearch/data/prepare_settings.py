"""The settings of `mmsearch prepare`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mmsearch.config import Settings
from mmsearch.data.decoders import DecoderName
from mmsearch.data.images import Fit
from mmsearch.data.media import MediaLimits
from mmsearch.recognition.ocr import OcrSettings
from mmsearch.recognition.speech import RecogniserSettings, SpeechSettings
from mmsearch.sentences import SentenceSettings

#: Settings that no shard depends on.
_HOW = ("num_workers", "sentences", "retry_failed", "max_lost_share")


class PrepareSettings(Settings):
    """How a videos table becomes a prepared corpus."""

    num_frames: int = Field(8, ge=1, le=1024)
    """Frames of every video: those at the centres of so many equal parts."""
    image_size: int = Field(224, ge=8, le=4096)
    """Edge of the square that every picture becomes, in pixels."""
    fit: Fit = "squash"
    """How it becomes a square: `squash` changes proportions, `crop` keeps the centre, `pad` adds black bars."""
    jpeg_quality: int = Field(90, ge=1, le=95)
    """Quality of the stored pictures."""
    decoder: DecoderName = "pyav"
    """Video library. All give the same frames; `pyav` reads every container."""
    num_workers: int | None = Field(None, ge=1)
    """Processes that decode; null = one for each processor. The result does not depend on it."""
    shard_size: int = Field(1024, ge=1)
    """Rows of the table that go into one file, and that are done again when a run was interrupted within them."""
    row_group_size: int = Field(64, ge=1)
    """Videos that are read together."""
    on_error: Literal["stop", "quarantine"] = "stop"
    """Bad rows of the table: end the run, or list them in `rejected_rows.jsonl`."""
    on_bad_media: Literal["reject", "drop_modality"] = "reject"
    """A broken file: leave its video out, or keep the video without that modality. Both are listed."""
    retry_failed: bool = False
    """Videos that a worker did not get through (time, memory, a crash, a disk's error): try them again."""
    max_lost_share: float = Field(0.5, ge=0, le=1)
    """Where files of more than this share of the corpus (and of 20 videos) are gone, the corpus stays as it was."""
    limits: MediaLimits = MediaLimits()
    """What one file may cost."""
    ocr: OcrSettings = OcrSettings()
    """How text in pictures is read where the table has no `cover_ocr` or `content_ocr`; by default it is not."""
    speech: SpeechSettings | None = None
    """How speech is recognised in the sound of the video where the table has no `asr`; null = it is not."""
    sentences: SentenceSettings | None = None
    """How key sentences are chosen from transcripts, which towers then read in their place; null = none are."""

    @property
    def max_wall_s(self) -> float:
        """Seconds for one video, with what recognition may take."""
        return self.limits.max_wall_s + sum(one.extra_wall_s for one in self._recognition)

    @property
    def max_memory_bytes(self) -> int:
        """Private memory of one worker process, with what recognition may take."""
        return self.limits.max_memory_bytes + sum(one.extra_memory_bytes for one in self._recognition)

    @property
    def _recognition(self) -> list[OcrSettings | RecogniserSettings]:
        """The recognisers that are on."""
        return [*([self.ocr] if self.ocr.is_on else []), *([self.speech] if self.speech is not None else [])]

    def for_record(self) -> dict[str, Any]:
        """Give the settings that the result depends on, as JSON values; what is off is not among them."""
        chosen = {} if self.sentences is None else {"sentences": self.sentences.for_record()}
        return self.for_shards() | chosen

    def for_shards(self) -> dict[str, Any]:
        """Give those that the shards depend on: all but how key sentences are chosen, which stand beside them."""
        off = {name for name, is_on in (("ocr", self.ocr.is_on), ("speech", self.speech is not None)) if not is_on}
        return self.model_dump(mode="json", exclude={*_HOW, *off})
