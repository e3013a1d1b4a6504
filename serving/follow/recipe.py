"""How rows of a stream are prepared: as the corpus was that the index is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mmsearch.config import load_settings
from mmsearch.data.key_sentences import SENTENCES
from mmsearch.data.manifest import Manifest
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.errors import ConfigError
from mmsearch.index import ForwardIndex
from mmsearch.sentences import DocumentFrequencies, KeySentenceExtractor
from serving.follow.settings import FollowSettings


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of preparation, where they come from, and the counts of terms for key sentences, where some are chosen.

    Raises:
        ConfigError: key sentences are chosen, and nobody says how often terms occur.
    """

    settings: PrepareSettings
    where: Path
    frequencies: Path | None

    @classmethod
    def of(cls, index: ForwardIndex, settings: FollowSettings) -> Recipe:
        """Read them from the YAML file or the prepared corpus that the settings name, or else from the index.

        Raises:
            ConfigError: neither is given and the index does not tell, or counts of terms are needed and not found.
            DataError: there is no such corpus.
        """
        corpus = settings.corpus
        if settings.table_settings is not None:
            chosen, where = load_settings(PrepareSettings, settings.table_settings), settings.table_settings
        elif corpus is not None:
            chosen, where = Manifest.read(corpus).settings, corpus
        elif isinstance(told := index.source.get("prepared"), dict):
            chosen, where = _told(told, index), Path(index.generation)
        else:
            raise ConfigError(
                f"rows must be prepared as the videos of the index were, and {index.generation} does not tell how: "
                "give --corpus FOLDER, the prepared corpus that it was refreshed from, or --table-settings CONFIG"
            )
        if chosen.sentences is None:
            return cls(chosen, where, None)
        counted = None if corpus is None else corpus / SENTENCES / "document_frequencies.json"
        frequencies = settings.sentence_frequencies or chosen.sentences.frequencies or counted
        if frequencies is None or not frequencies.is_file():
            raise ConfigError(
                f"{where}: key sentences are chosen by how often terms occur in the corpus, and there is no file of "
                f"that ({frequencies or 'none is named'}); give --corpus, or sentence_frequencies=FILE"
            )
        return cls(chosen, where, frequencies)

    def extractor(self, folder: Path) -> KeySentenceExtractor | None:
        """Open what chooses key sentences; None = towers read whole transcripts.

        Args:
            folder: where the answers of a language model are kept, if one is asked and no other place is set.

        Raises:
            ConfigError, MissingExtraError: the language model or a library is not there.
        """
        chosen = self.settings.sentences
        if chosen is None or self.frequencies is None:
            return None
        if chosen.cache is None and chosen.method != "greedy":
            chosen = chosen.model_copy(update={"cache": folder / "answers.sqlite"})
        return KeySentenceExtractor(chosen, DocumentFrequencies.load(self.frequencies))


def _told(settings: dict[str, Any], index: ForwardIndex) -> PrepareSettings:
    try:
        return PrepareSettings.model_validate(settings)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ConfigError(
            f"{index.generation}: tells of settings of preparation that this mmsearch does not know ({where}: "
            f"{problem['msg']}); give --corpus FOLDER or --table-settings CONFIG"
        ) from None
