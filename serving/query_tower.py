"""What is served goes on with its query tower exported anew, in another precision."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mmsearch.errors import DataError
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.query_tower import TowerPrecision
from mmsearch.logs import progress
from mmsearch.models.export import export_query_tower
from mmsearch.models.quantise import quantise_query_tower
from serving.patience import patiently
from serving.plan import precision_of
from serving.refresh_lock import RefreshLock

log = logging.getLogger(__name__)

_BLOCK = 8192


def publish_tower(index_dir: Path, precision: TowerPrecision, model: Path | None = None, *, keep: int = 2) -> str:
    """Publish the served vectors, bit by bit, with a query tower of another precision. No corpus is needed.

    Args:
        index_dir: the index.
        precision: of the query tower's weights.
        model: folder of the model that the vectors are of. None = the served tower is quantised, which has to be fp32.
        keep: how many generations stay at least.

    Returns:
        The name of the generation that is served then: the same as before where it has this precision already.

    Raises:
        DataError: nothing is served, an overlay is served, float32 is asked for without the model, another refresh is
            at work, or the disk refuses.
        FingerprintError: the model is another one than that of the vectors.
        CorruptIndexError: vectors that are served are damaged.
    """
    with RefreshLock(index_dir):
        served = ForwardIndex.open(index_dir)
        if precision_of(served) == precision:
            log.info("%s: the query tower of %s is %s already", index_dir, served.generation, precision)
            return served.generation
        if served.base is not None:
            raise DataError(
                f"{index_dir}: {served.generation} is an overlay; a refresh with query_tower_precision={precision} "
                "makes one generation of all"
            )
        served.verify_query_tower()
        with TemporaryDirectory() as scratch:
            tower = Path(scratch) / "query_tower"
            _export(served, precision, model, tower)
            return _publish(served, index_dir, tower, keep)


def _export(served: ForwardIndex, precision: TowerPrecision, model: Path | None, tower: Path) -> None:
    if model is not None:
        singles = any(space.name.startswith("content.") for space in served.spaces)
        codes = any(space.num_codes > 1 for space in served.spaces)
        export_query_tower(model, tower, single_modalities=singles, codes=codes, precision=precision)
    elif precision == "int8":
        quantise_query_tower(served.query_tower, tower)
    else:
        raise DataError(f"{served.generation}: int8 cannot be turned back into fp32; give the --model")


def _publish(served: ForwardIndex, index_dir: Path, tower: Path, keep: int) -> str:
    (dtype,) = set(served.dtypes.values())
    with (
        patiently(lambda: GenerationWriter(index_dir, served.spaces, dtype=dtype)) as writer,
        progress("copy", served.num_rows, unit="videos") as bar,
    ):
        for start in range(0, served.num_rows, _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, served.num_rows))
            stored = {space.name: served.raw(space.name, rows) for space in served.spaces}
            contents = served.contents(rows) if served.has_contents else None
            writer.add(served.doc_ids[start : start + len(rows)], stored, contents)
            bar.advance(len(rows))
        return writer.publish(query_tower=tower, source=served.source, keep=keep)
