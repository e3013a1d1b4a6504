"""The large configuration builds; settings that do not fit together are refused before anything is made."""

import json
from pathlib import Path

import pytest
import torch

from mmsearch.config import load_settings
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.errors import ConfigError
from mmsearch.models import MatchModel, ModelSettings
from training.config import FitSettings

CONFIGS = Path(__file__).parents[3] / "configs" / "train"


VISION = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}


def test_the_large_model_builds_with_the_sizes_it_names():
    """The architectures stand in the folder of Chinese-CLIP ViT-L/14-336, which a test has not: they are given here."""
    vision = {"model_type": "chinese_clip", "projection_dim": 768, "vision_config": VISION | {"patch_size": 14}}
    text = TEXT | {"model_type": "chinese_clip", "projection_dim": 768, "vocab_size": 21128, "pad_token_id": 0}
    configs = {"document.image": vision, "document.text": text | {"max_position_embeddings": 512}}
    configs["query.teacher"] = configs["document.text"]
    overrides = [f"model.{name}.config={json.dumps(config)}" for name, config in configs.items()]
    settings = load_settings(FitSettings, CONFIGS / "perception.yaml", overrides).model
    with torch.device("meta"):
        model = MatchModel(settings, 21128)
    counted = sum(parameter.numel() for parameter in model.document.image.parameters())
    assert 300e6 < counted < 310e6  # ViT-L/14 at 336 px
    assert model.document.heads["cover"].weight.shape == (768, 1024)
    assert (model.teacher.text.depth, model.student.text.depth) == (12, 3)
    assert model.document.fusions["perception"].num_codes == 5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("query.teacher.width=32", "teacher.width equal to"),
        ("query.student_depth=9", "student_depth is larger"),
        ("lengths.query=64", "lengths.query is larger"),
        ("lengths.asr=64", "longer than"),
        ("num_frames=9", "num_frames is larger"),
        ("document.fusion.heads=3", r"document\.fusion\.heads is 3, which does not divide its width of 16"),
        ("query.teacher.heads=5", r"query\.teacher\.heads is 5"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(tiny_model, tmp_path, override, message):
    import yaml

    path = tmp_path / "model.yaml"
    path.write_text(yaml.safe_dump(tiny_model))
    load_settings(ModelSettings, path)
    with pytest.raises(ConfigError, match=message):
        load_settings(ModelSettings, path, [override])


def test_a_corpus_prepared_otherwise_is_refused(tiny_model):
    settings = ModelSettings.model_validate(tiny_model)
    settings.check_prepared(PrepareSettings(num_frames=2, image_size=16), "corpus")
    with pytest.raises(ConfigError, match=r"fit=crop; the model reads .* fit=squash"):
        settings.check_prepared(PrepareSettings(num_frames=2, image_size=16, fit="crop"), "corpus")
