"""The corpora of a run: opened, or prepared first from a table into the folder of the run."""

from __future__ import annotations

from pathlib import Path

from mmsearch.data import manifest
from mmsearch.data.prepare import prepare
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import ConfigError, DataError
from mmsearch.nn.distributed import barrier, rank, world_size
from training.config import FitSettings
from training.paths import RunPaths


def open_corpora(settings: FitSettings, paths: RunPaths) -> tuple[PreparedCorpus, PreparedCorpus | None]:
    """Give the corpus to learn from, and that of validation (by pairs, or by rebuilt pictures).

    Raises:
        ConfigError: a corpus was prepared with other pictures than the model reads.
        DataError: a table cannot be read, or there is no corpus.
    """
    data, begun = settings.data, has_begun(paths)
    corpus = _open(settings, data.corpus, data.videos, paths.folder / "corpus", begun=begun)
    if data.val_corpus is None and data.val_videos is None:
        return corpus, None
    return corpus, _open(settings, data.val_corpus, data.val_videos, paths.folder / "val_corpus", begun=begun)


def has_begun(paths: RunPaths) -> bool:
    """Tell whether the folder holds steps of a run. Its corpora are whole then, and stay as they are: a table that has
    grown since, or other settings, belong to another run, which will be refused."""
    return paths.fingerprints.is_file() or any(paths.checkpoints.glob("[0-9]*"))


def _open(settings: FitSettings, given: Path | None, table: Path | None, made: Path, *, begun: bool) -> PreparedCorpus:
    data = settings.data
    folder = made if given is None else data.path(given)
    if given is None and table is not None:
        settings.model.check_prepared(data.prepare, "data.prepare")
        if world_size() > 1 and not (folder / manifest.NAME).is_file():
            raise ConfigError(  # the others would wait for hours, and time out
                f"{data.path(table)}: prepare it before several processes start: mmsearch prepare {data.path(table)} "
                f"--out FOLDER, and give data.corpus=FOLDER (data.val_corpus for validation)"
            )
        if rank() == 0 and not (begun and (folder / manifest.NAME).is_file()):  # does nothing where it is done already
            prepare(data.path(table), folder, data.prepare)
        barrier()
    if not (folder / manifest.NAME).is_file():
        raise DataError(f"{folder}: no prepared corpus is there; `mmsearch prepare VIDEOS --out {folder}` makes it")
    corpus = PreparedCorpus.open(folder)
    settings.model.check_prepared(corpus.settings, folder)
    return corpus
