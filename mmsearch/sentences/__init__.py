"""Key sentences of a transcript: split, weighed by terms or by a language model, and always verbatim."""

from mmsearch.sentences.answer import answer_of
from mmsearch.sentences.ask_likelihood import LikelihoodSettings
from mmsearch.sentences.ask_select import SelectSettings, select_prompt
from mmsearch.sentences.extract import NO_ANSWER, REFUSED, KeySentenceExtractor, KeySentences, SpokenVideo
from mmsearch.sentences.frequencies import DocumentFrequencies, counted_text
from mmsearch.sentences.greedy import GreedySettings, choose_greedy
from mmsearch.sentences.models import LanguageModel, LanguageModelSettings
from mmsearch.sentences.settings import SentenceSettings
from mmsearch.sentences.split import split_sentences
from mmsearch.sentences.terms import terms_of

__all__ = [
    "NO_ANSWER",
    "REFUSED",
    "DocumentFrequencies",
    "GreedySettings",
    "KeySentenceExtractor",
    "KeySentences",
    "LanguageModel",
    "LanguageModelSettings",
    "LikelihoodSettings",
    "SelectSettings",
    "SentenceSettings",
    "SpokenVideo",
    "answer_of",
    "choose_greedy",
    "counted_text",
    "select_prompt",
    "split_sentences",
    "terms_of",
]
