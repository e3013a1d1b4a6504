"""Training and embedding on a GPU, where there is one."""

import numpy as np
import pytest
import torch

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.models import load_document_encoder
from training.config import FitSettings
from training.fit import fit

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_trains_and_embeds_as_a_cpu_does(precision, tiny_world, tiny_corpus, tiny_model, tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    tree = {
        "run": {"dir": tmp_path / "run", "device": "cuda", "precision": precision},
        "data": {"corpus": tiny_corpus, "interactions": tiny_world / "interactions.jsonl"},
        "tokenizer": {"vocab_size": 200},
        "model": tiny_model,
        "stages": [{"name": "clicks", "task": {"type": "contrastive"}, "steps": 5, "batch_size": 6}],
    }
    run = fit(FitSettings.model_validate(tree))
    videos = PreparedCorpus.open(tiny_corpus).read(range(24))
    on_gpu, on_cpu = (load_document_encoder(run, device).encode(videos) for device in ("cuda", "cpu"))
    for name, embedded in on_cpu.items():
        cosines = (embedded.vectors * on_gpu[name].vectors).sum(1)[embedded.present]
        np.testing.assert_array_less(0.9999, cosines)
