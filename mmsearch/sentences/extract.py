"""Key sentences of many videos: by terms, or by a language model with the cache and the greedy choice behind it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal

from mmsearch import logs
from mmsearch.sentences.asked import Asked, ask
from mmsearch.sentences.breaker import Breaker, NotAskedError
from mmsearch.sentences.cache import AnswerCache
from mmsearch.sentences.frequencies import LONGEST_TITLE, DocumentFrequencies
from mmsearch.sentences.greedy import choose_greedy
from mmsearch.sentences.guarded import GuardedModel
from mmsearch.sentences.models import LanguageModel, ModelRefusedError, ModelUnavailableError
from mmsearch.sentences.settings import SentenceSettings
from mmsearch.sentences.split import split_sentences
from mmsearch.sentences.tally import Tally

#: Begin `KeySentences.fallback` where another try may go better.
NO_ANSWER = "the model did not answer"
REFUSED = "the model did not take the prompt"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SpokenVideo:
    """What is read of a video: its title, where it has one, and the words that are spoken in it."""

    doc_id: str
    title: str | None
    transcript: str


@dataclass(frozen=True, slots=True)
class KeySentences:
    """The key sentences of a video.

    Args:
        doc_id: the video.
        numbers: which sentences of `split_sentences` they are, from 0, ascending.
        sentences: they themselves, verbatim; one may hold a line end of the transcript.
        method: what chose them; `whole` = all sentences fit the budget, and nothing had to choose.
        fallback: why `method` is `greedy` though a model was wanted, in our words; None where it was not needed.
        num_sentences: sentences of the transcript.
        prompt_tokens: what the model read for it, 0 from the cache.
        completion_tokens: what the model wrote.
    """

    doc_id: str
    numbers: tuple[int, ...]
    sentences: tuple[str, ...]
    method: Literal["whole", "greedy", "select", "likelihood"]
    fallback: str | None
    num_sentences: int
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def text(self) -> str:
        """Give the sentences in the order of the transcript, a line end between two; there may be others within."""
        return "\n".join(self.sentences)

    @property
    def is_final(self) -> bool:
        """Whether asking the model again would change nothing, as far as one can tell."""
        return not (self.fallback or "").startswith((NO_ANSWER, REFUSED))


class KeySentenceExtractor:
    """Choose key sentences, whatever the method; what comes out is made of the transcript's own sentences alone.

    While a model does not answer, videos wait for it, up to `give_up_after_s` (see `Breaker`). Once `extract` was left
    before its end, by an exception for instance, a model is not asked any more: requests under way are cut off.

    Args:
        settings: method, budget, model, cache.
        frequencies: of the corpus, for the weights of terms.
        model: instead of the one that the settings name; it is not closed here.

    Raises:
        ConfigError, MissingExtraError: the model or its library is not there.
    """

    def __init__(
        self, settings: SentenceSettings, frequencies: DocumentFrequencies, model: LanguageModel | None = None
    ) -> None:
        self.settings, self.frequencies = settings, frequencies
        wanted = settings.method != "greedy"
        self._owned = settings.model.build() if wanted and model is None and settings.model is not None else None
        self._breaker = Breaker(settings.give_up_after_s)
        asked = (model or self._owned) if wanted else None
        self._model = None if asked is None else GuardedModel(asked, self._breaker)
        self._cache = AnswerCache(settings.cache) if wanted and settings.cache is not None else None
        self.tally = Tally()

    def __enter__(self) -> KeySentenceExtractor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the cache, and the model that was opened here; log what it came to."""
        self.tally.report()
        self._end()
        if self._cache is not None:
            self._cache.close()

    def _end(self) -> None:
        self._breaker.stop()
        if self._owned is not None:
            self._owned.close()

    def extract(
        self, videos: Iterable[SpokenVideo], total: int | None = None, bar: logs.ProgressBar | None = None
    ) -> Iterator[KeySentences]:
        """Give the key sentences of each video, in order.

        A model is asked about as many videos at a time as it takes (`concurrency`), and the input is read at most
        twice as far ahead. `tally` counts along, also over several calls; it is logged when the extractor closes.

        Args:
            videos: what to read.
            total: how many, for the progress bar.
            bar: a progress bar to move on, instead of one of its own.

        Raises:
            ModelUnavailableError: no answer, and `on_model_failure` is `stop`.
            ConfigError: the model cannot be used as it is set (key, name, no log-probabilities).
        """
        with nullcontext(bar) if bar else logs.progress("key sentences", total, unit="videos") as shown:
            for result in self._in_order(videos):
                self._count(result)
                shown.advance()
                shown.note(self.tally.note)
                yield result

    def extract_one(self, video: SpokenVideo) -> KeySentences:
        """Give the key sentences of one video. Errors as in `extract`."""
        video = replace(video, title=video.title[:LONGEST_TITLE] if video.title else None)
        sentences = split_sentences(
            video.transcript[: self.settings.max_transcript_chars], self.settings.max_sentence_chars
        )
        if sum(map(len, sentences)) + len(sentences) - 1 <= self.settings.max_chars:
            return _result(video, sentences, range(len(sentences)), "whole")
        if self._model is None:
            return self._greedy(video, sentences)
        asked, problem = self._ask(self._model, video, sentences)
        if asked is None or not asked.numbers:
            return self._greedy(video, sentences, asked.problem if asked else problem, asked)
        return _result(video, sentences, asked.numbers, asked.method, None, asked)

    def _ask(self, model: LanguageModel, video: SpokenVideo, sentences: list[str]) -> tuple[Asked | None, str | None]:
        """Ask the model, or the cache; where nothing came of it, the second value says why."""
        try:
            return ask(model, video.title, sentences, self.frequencies, self.settings, self._cache), None
        except ModelRefusedError as error:
            _log.warning("%r: greedy key sentences instead: %s", video.doc_id, error)
            return None, REFUSED
        except ModelUnavailableError as error:
            if self.settings.on_model_failure == "stop" or self._breaker.stopped:
                raise
            if isinstance(error, NotAskedError):
                return None, f"{NO_ANSWER} before"
            _log.warning("%r: greedy key sentences instead: %s", video.doc_id, error)
            return None, NO_ANSWER

    def _greedy(
        self, video: SpokenVideo, sentences: list[str], problem: str | None = None, asked: Asked | None = None
    ) -> KeySentences:
        settings = self.settings
        chosen = choose_greedy(video.title or "", sentences, settings.max_chars, self.frequencies, settings.greedy)
        return _result(video, sentences, chosen, "greedy", problem, asked)

    def _count(self, result: KeySentences) -> None:
        self.tally.methods[result.method] += 1
        self.tally.fallbacks.update([result.fallback] if result.fallback else [])
        self.tally.unfinished.update([result.fallback] if result.fallback and not result.is_final else [])
        self.tally.num_sentences += result.num_sentences
        self.tally.prompt_tokens += result.prompt_tokens
        self.tally.completion_tokens += result.completion_tokens

    def _in_order(self, videos: Iterable[SpokenVideo]) -> Iterator[KeySentences]:
        width = self._model.concurrency if self._model is not None else 1
        if width == 1:
            yield from map(self.extract_one, videos)
            return
        waiting: deque[Future[KeySentences]] = deque()
        pool = ThreadPoolExecutor(width, thread_name_prefix="key-sentences")
        try:
            for video in videos:
                waiting.append(pool.submit(self.extract_one, video))
                if len(waiting) >= 2 * width:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:  # Ctrl-C, an error of a video, or the caller wants no more: do not wait for answers
            self._end()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _result(
    video: SpokenVideo,
    sentences: list[str],
    numbers: Iterable[int],
    method: Literal["whole", "greedy", "select", "likelihood"],
    fallback: str | None = None,
    asked: Asked | None = None,
) -> KeySentences:
    ordered = tuple(sorted(numbers))
    tokens = (asked.prompt_tokens, asked.completion_tokens) if asked else (0, 0)
    texts = tuple(sentences[number] for number in ordered)
    return KeySentences(video.doc_id, ordered, texts, method, fallback, len(sentences), *tokens)
