"""Published text towers: the numbers of transformers and open_clip on the same random weights, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmsearch.encoders.text.bert import BertTextSettings
from mmsearch.encoders.text.open_clip_text import OpenClipTextSettings
from mmsearch.errors import ConfigError
from mmsearch.torchvision_guard import guard_torchvision

guard_torchvision()
transformers = pytest.importorskip("transformers")
open_clip = pytest.importorskip("open_clip")

VOCABULARY, LONGEST = 60, 12
SIZES = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
SIZES |= {"vocab_size": VOCABULARY, "max_position_embeddings": LONGEST}
CLIP_TEXT = {"width": 16, "heads": 2, "layers": 4, "vocab_size": VOCABULARY, "context_length": LONGEST}
CLIP_IMAGE = {"image_size": 32, "patch_size": 16, "width": 16, "layers": 1, "head_width": 8}


def texts(seed=0):
    """Give ids and masks of three texts of different lengths; the padding holds arbitrary ids."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, VOCABULARY - 1, (3, 8), generator=generator)
    return ids, torch.arange(8) < torch.tensor([8, 3, 1])[:, None]


def shaken(module):
    """Give every weight, biases and norms too, a value that cannot be mistaken for another."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in module.state_dict().values():
            if weight.is_floating_point():
                weight.add_(0.1 * torch.randn_like(weight))
    return module.eval()


def saved(kind, folder):
    """Save a random model of transformers, and give it."""
    if kind == "chinese_clip":
        vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        config = transformers.ChineseCLIPConfig(
            text_config=SIZES, vision_config=vision | {"image_size": 32, "patch_size": 16}, projection_dim=6
        )
        model = transformers.ChineseCLIPModel(config)
    elif kind == "bert":
        model = transformers.BertForMaskedLM(transformers.BertConfig(**SIZES))
    else:
        model = transformers.RobertaModel(transformers.RobertaConfig(**SIZES | {"max_position_embeddings": 14}))
    shaken(model).save_pretrained(folder)
    return model


def bert_tower(kind, folder):
    settings = BertTextSettings(folder=str(folder)).resolve()
    tower = settings.build(VOCABULARY)
    return tower.eval(), tower.load(settings.weights)


def clip_settings(**changes):
    return OpenClipTextSettings(text=CLIP_TEXT, embed_dim=6, **changes)


def clip_model(custom=False):
    kind = open_clip.model.CustomTextCLIP if custom else open_clip.model.CLIP
    return shaken(kind(6, CLIP_IMAGE, CLIP_TEXT))


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_bert_tokens_are_those_of_transformers(kind, tmp_path):
    model, (ids, mask) = saved(kind, tmp_path), texts()
    model = getattr(model, "bert", model)
    clean = ids.masked_fill(~mask, model.config.pad_token_id)  # RoBERTa counts positions by what is no padding
    expected = model(clean, attention_mask=mask.long()).last_hidden_state
    tower, report = bert_tower(kind, tmp_path)
    torch.testing.assert_close(tower(ids, mask)[mask], expected[mask])
    assert (tower.width, tower.depth, tower.max_length) == (16, 4, LONGEST)
    assert tower.projection() is None
    assert report.missing == ()
    assert all(name.startswith(("cls.", "pooler.")) for name in report.unexpected)


def test_chinese_clip_text_features_are_those_of_transformers(tmp_path):
    model, (ids, mask) = saved("chinese_clip", tmp_path), texts()
    expected = model.get_text_features(ids, attention_mask=mask.long()).pooler_output
    tower, report = bert_tower("chinese_clip", tmp_path)
    torch.testing.assert_close(tower(ids, mask)[:, 0] @ tower.projection().T, expected)
    assert (report.missing, report.unexpected) == ((), ())
    assert "text_projection" not in dict(tower.named_parameters())


def test_a_resolved_bert_is_rebuilt_without_its_folder(tmp_path):
    saved("chinese_clip", tmp_path)
    settings = BertTextSettings(folder=str(tmp_path)).resolve()
    assert (settings.width, settings.depth, settings.max_length) == (16, 4, LONGEST)
    assert settings.weights == settings.folder
    assert settings.resolve() is settings
    trained = settings.build(VOCABULARY)
    again = BertTextSettings.model_validate(json.loads(settings.model_dump_json())).model_copy(update={"folder": None})
    again.build(VOCABULARY).load_state_dict(trained.state_dict(), strict=True)


def test_norms_named_as_in_tensorflow_are_taken(tmp_path):
    saved("bert", tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    old = {n.rsplit("LayerNorm", 1)[0] + names.get(n[n.rfind("LayerNorm") :], "") or n: t for n, t in tensors.items()}
    old = {n if n.endswith(("gamma", "beta")) else m: t for (n, t), m in zip(old.items(), tensors, strict=True)}
    assert any(name.endswith("gamma") for name in old)
    expected, _ = bert_tower("bert", tmp_path)
    save_file(old, tmp_path / "model.safetensors")
    tower, report = bert_tower("bert", tmp_path)
    assert report.missing == ()
    torch.testing.assert_close(tower.state_dict(), expected.state_dict())


@pytest.mark.parametrize("custom", [False, True])
def test_open_clip_text_features_are_those_of_open_clip(custom, tmp_path):
    model, (ids, mask) = clip_model(custom), texts()
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    tower = clip_settings().build(VOCABULARY).eval()
    report = tower.load(str(tmp_path))
    assert (report.missing, report.unexpected) == ((), ())
    last = mask.sum(1) - 1
    whole = torch.zeros(3, LONGEST, dtype=torch.int64)
    whole[:, :8] = ids.masked_fill(~mask, 0).scatter(1, last[:, None], VOCABULARY - 1)  # the end has the highest id
    tokens = tower(whole[:, :8], mask)
    pooled = tokens[torch.arange(3), last]
    torch.testing.assert_close(pooled @ tower.projection().T, model.encode_text(whole))
    assert "text_projection" not in dict(tower.named_parameters())


def test_open_clip_sizes_come_from_its_own_list_and_can_be_changed():
    settings = OpenClipTextSettings(name="ViT-L-14", text={"layers": 3})
    assert (settings.width, settings.depth, settings.max_length) == (768, 3, 77)
    assert settings.architecture["embed_dim"] == 768
    assert OpenClipTextSettings(name="ViT-B-32-quickgelu").architecture["quick_gelu"] is True


def test_a_tokenizer_of_another_size_is_refused(tmp_path):
    saved("bert", tmp_path)
    with pytest.raises(ConfigError, match=r"tokenizer has 61 ids, the text tower of .* 60"):
        BertTextSettings(folder=str(tmp_path)).resolve().build(61)
    with pytest.raises(ConfigError, match="tokenizer has 60 ids, the text tower 'ViT-B-32' 49408"):
        OpenClipTextSettings().build(60)


def test_a_bert_without_architecture_says_what_is_missing(tmp_path):
    with pytest.raises(ConfigError, match="needs `folder`"):
        BertTextSettings().resolve()
    with pytest.raises(ConfigError, match="call resolve"):
        BertTextSettings(folder="x").build(60)
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(ConfigError, match="model_type is 't5'"):
        BertTextSettings(folder=str(tmp_path)).resolve()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": "wide"}, "config.json: transformers says: .*hidden_size"),
        ({"hidden_act": "nope"}, "transformers says: 'nope'"),
        ({"num_attention_heads": 3}, "transformers says: .*not a multiple"),
        ({"model_type": "roberta", "pad_token_id": None}, "pad_token_id of its config is None, not a whole number"),
    ],
)
def test_a_config_that_makes_no_sense_is_told(changes, message, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(SIZES | {"model_type": "bert"} | changes))
    with pytest.raises(ConfigError, match=message):
        bert_tower("bert", tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "ViT-Z-99"}, "no such model; it has .*ViT-B-32"),
        ({"name": "xlm-roberta-base-ViT-B-32"}, "take type 'bert' with folder 'xlm-roberta-base'"),
        ({"name": "ViT-B-16-SigLIP"}, "no_causal_mask is set"),
        ({"name": "coca_ViT-B-32"}, "embed_cls is set"),
        ({"text": {"pool_type": "first"}}, "pools 'first'"),
        ({"text": {"vocab_size": 60, "depth": 3}}, "open_clip says: .*depth"),
    ],
)
def test_towers_that_are_no_causal_clip_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        OpenClipTextSettings(**changes).build(60)


def test_weights_of_another_size_are_listed(tmp_path):
    save_file(clip_model().state_dict(), tmp_path / "clip.safetensors")
    tower = OpenClipTextSettings(text=CLIP_TEXT | {"context_length": 9}, embed_dim=6).build(VOCABULARY)
    with pytest.raises(ConfigError, match=r"position: the file has \[12, 16\], the tower \[9, 16\]"):
        tower.load(str(tmp_path / "clip.safetensors"))
