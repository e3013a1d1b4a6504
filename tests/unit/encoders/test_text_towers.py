"""What every text tower does: padding, students, ties, recomputing, export, loading what was trained here."""

import logging
import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from torch import nn

from mmsearch.encoders.text.bert import BertTextSettings
from mmsearch.encoders.text.layers import evenly_spaced_layers
from mmsearch.encoders.text.open_clip_text import OpenClipTextSettings
from mmsearch.encoders.text.transformer import TransformerTextSettings
from mmsearch.errors import ConfigError

VOCABULARY, LONGEST = 60, 12
SIZES = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
SIZES |= {"vocab_size": VOCABULARY, "max_position_embeddings": LONGEST}
CLIP_TEXT = {"width": 16, "heads": 2, "layers": 4, "vocab_size": VOCABULARY, "context_length": LONGEST}


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


def clip_settings(**changes):
    return OpenClipTextSettings(text=CLIP_TEXT, embed_dim=6, **changes)


def tower_of(name):
    torch.manual_seed(0)
    if name == "bert":
        config = SIZES | {"model_type": "chinese_clip", "projection_dim": 6, "pad_token_id": 0}
        tower = BertTextSettings(config=config).build(VOCABULARY)
    elif name == "open_clip":
        tower = clip_settings().build(VOCABULARY)
    else:
        sizes = {"width": 16, "depth": 4, "heads": 2, "max_length": LONGEST}
        tower = TransformerTextSettings(**sizes).build(VOCABULARY)
    return shaken(tower)


TOWERS = ("transformer", "bert", "open_clip")


def layers_of(tower):
    found = [m for m in tower.modules() if isinstance(m, nn.ModuleList)]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("name", TOWERS)
def test_padding_never_matters(name):
    tower, (ids, mask) = tower_of(name), texts()
    other = torch.where(mask, ids, torch.randint(0, VOCABULARY, ids.shape))
    assert not torch.equal(ids, other)
    torch.testing.assert_close(tower(other, mask)[mask], tower(ids, mask)[mask])
    torch.testing.assert_close(tower(ids[1:2, :3], mask[1:2, :3])[0], tower(ids, mask)[1, :3])


@pytest.mark.parametrize(
    ("total", "kept", "expected"),
    [(12, 3, [3, 7, 11]), (12, 6, [1, 3, 5, 7, 9, 11]), (12, 12, list(range(12))), (5, 2, [1, 4]), (3, 1, [2])],
)
def test_layers_are_evenly_spaced_and_end_with_the_last(total, kept, expected):
    assert evenly_spaced_layers(total, kept) == expected


@pytest.mark.parametrize("name", TOWERS)
def test_a_student_has_evenly_spaced_layers_of_its_own(name):
    teacher = tower_of(name)
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    student = teacher.evenly_spaced(2)
    assert type(student) is type(teacher)
    assert (student.depth, teacher.depth) == (2, 4)
    for mine, theirs in zip(layers_of(student), (1, 3), strict=True):
        torch.testing.assert_close(mine.state_dict(), layers_of(teacher)[theirs].state_dict())
    with torch.no_grad():
        for weight in student.parameters():
            weight.zero_()
    torch.testing.assert_close(teacher.state_dict(), before)
    with pytest.raises(ConfigError, match="5 layers cannot be taken from a teacher of 4"):
        teacher.evenly_spaced(5)


@pytest.mark.parametrize("name", TOWERS)
def test_embeddings_are_tied_by_assignment(name):
    tower, other, (ids, mask) = tower_of(name), shaken(tower_of("transformer")), texts()
    before = tower(ids, mask)
    tower.embed = other.embed
    assert not torch.allclose(tower(ids, mask)[mask], before[mask])
    names = [n for n, p in tower.named_parameters() if p is other.embed.weight]
    assert names == ["embed.weight"]
    tower(ids, mask)[mask].sum().backward()
    assert other.embed.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", TOWERS)
def test_recomputed_gradients_are_the_same_and_layers_run_twice(name):
    tower, (ids, mask) = tower_of(name).train(), texts()
    weights = torch.randn(3, 8, 16)
    calls = []
    norm = next(m for m in layers_of(tower)[0].modules() if isinstance(m, nn.LayerNorm))
    norm.register_forward_hook(lambda *_: calls.append(1))

    def gradients():
        tower.zero_grad()
        calls.clear()
        (tower(ids, mask) * weights)[mask].sum().backward()
        return {n: p.grad.clone() for n, p in tower.named_parameters()}, len(calls)

    plain, once = gradients()
    tower.set_checkpointing(True)
    recomputed, twice = gradients()
    tower.set_checkpointing(False)
    assert (once, twice, gradients()[1]) == (1, 2, 1)
    torch.testing.assert_close(recomputed, plain)


@pytest.mark.parametrize("name", TOWERS)
def test_recomputing_follows_a_student(name):
    teacher, (ids, mask) = tower_of(name).train(), texts()
    teacher.set_checkpointing(True)
    student = teacher.evenly_spaced(1)
    student(ids, mask)[mask].square().sum().backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None for p in layers_of(student).parameters())


@pytest.mark.parametrize("name", ["bert", "open_clip"])  # our own is exported with every model
def test_exported_it_gives_the_same_tokens_for_any_batch_and_length(name, tmp_path):
    tower = tower_of(name).evenly_spaced(1).eval()
    ids, mask = texts()
    dims = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", min=1, max=tower.max_length)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        torch.onnx.export(
            tower,
            (ids, mask),
            tmp_path / "tower.onnx",
            input_names=["ids", "mask"],
            dynamic_shapes=(dims, dims),
            opset_version=18,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(tmp_path / "tower.onnx")
    for size in ((1, 1), (3, 5), (2, LONGEST)):
        ids = torch.randint(0, VOCABULARY, size)
        mask = torch.arange(size[1]) < torch.randint(1, size[1] + 1, size[:1])[:, None]
        (tokens,) = session.run(None, {"ids": ids.numpy(), "mask": mask.numpy()})
        with torch.no_grad():
            expected = tower(ids, mask)
        np.testing.assert_allclose(tokens[mask.numpy()], expected[mask].numpy(), atol=1e-4)


@pytest.mark.parametrize("name", TOWERS)
def test_the_teacher_of_a_model_of_ours_is_loaded_from_its_folder(name, tmp_path):
    trained, (ids, mask) = tower_of(name), texts()
    model = nn.ModuleDict({"document": nn.ModuleDict({"text": tower_of("transformer")})})
    model["document"].text.embed = trained.embed  # tied: the file holds it once, under the other name
    model["teacher"] = nn.ModuleDict({"text": trained})
    save_model(model, str(tmp_path / "model.safetensors"))
    assert "teacher.text.embed.weight" not in load_file(tmp_path / "model.safetensors")
    fresh = shaken(tower_of(name))
    assert not torch.equal(fresh(ids, mask), trained(ids, mask))
    report = fresh.load(str(tmp_path))
    assert (report.missing, report.unexpected) == ((), ())
    torch.testing.assert_close(fresh(ids, mask), trained(ids, mask))


@pytest.mark.parametrize("name", TOWERS)
def test_a_file_of_a_tower_is_loaded(name, tmp_path):
    trained = tower_of(name)
    save_file({k: v.contiguous() for k, v in trained.state_dict().items()}, tmp_path / "tower.safetensors")
    fresh = shaken(tower_of(name))
    report = fresh.load(str(tmp_path / "tower.safetensors"))
    assert (report.missing, report.unexpected) == ((), ())
    torch.testing.assert_close(fresh.state_dict(), trained.state_dict())
