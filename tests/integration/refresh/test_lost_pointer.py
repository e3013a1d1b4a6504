"""The small file that names the served generation is lost or damaged: nothing is embedded anew for that."""

import pytest
from typer.testing import CliRunner

from mmsearch.errors import DataError
from mmsearch.index import ForwardIndex, list_generations
from serving.__main__ import app
from serving.refresh import refresh
from serving.settings import RefreshSettings

TITLES = {f"v{i}": f"title {i}" for i in range(6)}


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"garbage")])
def test_a_generation_is_served_again_by_its_number_and_nothing_is_embedded(new_corpus, new_encoder, tmp_path, damage):
    index, corpus, encoder = tmp_path / "index", new_corpus(TITLES), new_encoder()
    settings = RefreshSettings(check_sample=0)
    first = refresh(corpus, encoder, encoder.export, index, settings).generation
    damage(index / "CURRENT")
    encoder.asked.clear()
    with pytest.raises(DataError, match=r"serving publish --index .* --generation 1$"):
        refresh(corpus, encoder, encoder.export, index, settings)
    assert [info.name for info in list_generations(index)] == [first]
    done = CliRunner().invoke(app, ["publish", "--index", str(index), "--generation", "1"])
    assert done.output.split()[-1] == first, done.output
    assert ForwardIndex.open(index).generation == first
    assert not refresh(corpus, encoder, encoder.export, index, settings).published
    assert encoder.asked == []
