"""Every file of configs/train learns for two steps a stage, at reduced size, and what it promises holds.

A row of `SMALL` shrinks a file; a file without a row fails. Pretrained folders are tiny ones, saved here.
"""

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from mmsearch.config import load_settings
from mmsearch.encoders.video import VideoSwinSettings, X3DSettings
from mmsearch.files import hash_file
from mmsearch.models.checkpoint import load_model
from mmsearch.torchvision_guard import guard_torchvision
from training.config import FitSettings
from training.fit import fit
from training.optim import layer_depths
from training.stages import trained_spaces

guard_torchvision()
import transformers  # noqa: E402  (the guard comes first)

CONFIGS = Path(__file__).parents[3] / "configs" / "train"
FILES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))

WORDS = ("the", "red", "green", "blue", "yellow", "ball", "kite", "car", "fish", "cup", "boat", "here", "is", "a", "on")
SWIN = {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": [1, 2, 2], "stochastic_depth_prob": 0.0}
X3D = {"width_factor": 0.5, "depth_factor": 1.0}

#: The tiny corpus has 2 frames of 16 px.
TIMM = ["document.image.image_size=16", "num_frames=2", "document.frames.max_frames=2"]
PATCHES = [*TIMM, "document.image.args.patch_size=8"]
CHINESE = [*TIMM, "dim=16", "document.image.folder={clip}", "query.teacher.folder={clip}"]
FUSED = ["document.text.folder={texts}", "document.fusion.depth=1", "document.fusion.heads=2", "document.cover_grid=2"]
OVER_TIME = ["document.frames.depth=1", "document.frames.heads=2"]
CLIPS = [
    *["document.image.image_size=16", "num_frames=2", "dim=16", "query.teacher.folder={clip}"],
    "document.image.args={patch_size: 8, embed_dim: 16, depth: 1, num_heads: 2}",
]

#: By file: settings of the model that shrink it (`{…}` = a folder of the fixture `pretrained`).
SMALL = {
    "demo": PATCHES,
    "cross": PATCHES,
    "compatible": [*PATCHES, "dim=16"],  # as the index that it is compatible with
    "exercises": PATCHES,
    "fusion_compare": PATCHES,
    "fusion_compare_exercises": PATCHES,
    "photos": TIMM,
    "mae_vit_b16": [
        *TIMM,
        "document.image.args={patch_size: 4, embed_dim: 16, depth: 2, num_heads: 2, global_pool: avg}",
    ],
    "cover_chinese_clip_l14_336": CHINESE,
    "frames_videoclip": [*CHINESE, *OVER_TIME],
    "frames_video_swin": [*CLIPS, f"document.frames.args={SWIN}", "document.frames.weights={swin}"],
    "frames_x3d": [*CLIPS, *(f"document.frames.{k}={v}" for k, v in X3D.items()), "document.frames.weights={x3d}"],
    "perception": [*CHINESE, *FUSED],
    "content": [*CHINESE, *OVER_TIME, *FUSED],
}
#: Files whose first stage starts from the run of another file.
PARENTS = {"cross": "demo", "perception": "cover_chinese_clip_l14_336", "content": "frames_videoclip"}


def save_chinese_clip(folder, text_layers):
    """Save a Chinese-CLIP of transformers, random and tiny, with its vocabulary; give it."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in vocabulary), encoding="utf-8")
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
    text = {"num_hidden_layers": text_layers, "vocab_size": len(vocabulary), "max_position_embeddings": 160}
    vision = {"num_hidden_layers": 2, "patch_size": 8, "image_size": 16}
    config = transformers.ChineseCLIPConfig(text_config=sizes | text, vision_config=sizes | vision, projection_dim=16)
    torch.manual_seed(3)
    model = transformers.ChineseCLIPModel(config).eval()
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """Folders of pretrained weights by the name that rows call them: `clip` has the 12 text layers of the real one."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("clip", "texts", "swin", "x3d")}
    save_chinese_clip(folders["clip"], text_layers=12)
    save_chinese_clip(folders["texts"], text_layers=1)
    for name, settings in (("swin", VideoSwinSettings(args=SWIN)), ("x3d", X3DSettings(**X3D))):
        torch.manual_seed(4)
        save_file(settings.build(16, 2, 16).trunk.state_dict(), folders[name] / "model.safetensors")
    return folders


@pytest.fixture(scope="module")
def shrunk(tiny_world, tiny_corpus, old_index, pretrained):
    """Give the settings of a file at reduced size, to run into a folder."""

    def small(name, folder, *more, parent=None):
        path = CONFIGS / f"{name}.yaml"
        whole = load_settings(FitSettings, path)
        run = ["engine={type: plain}", "precision=fp32", "device=cpu", "num_threads=1", f"dir={folder}"]
        words = [f"run.{text}" for text in [*run, "log_every=1", "save_every=2", "validate_every=2"]]
        words += [f"model.{filled(text, pretrained)}" for text in SMALL[name]]
        words += ["run.activation_checkpointing=false"] if name in PARENTS else []  # the parents have done so
        words += [f"tokenizer.folder={pretrained['clip']}"] if whole.tokenizer.folder else []
        words += data_words(whole.data, tiny_world, tiny_corpus)
        words += [text for number, stage in enumerate(whole.stages) for text in stage_words(number, stage)]
        if name == "compatible":
            words.append(f"stages.0.task.compatible.index={old_index}")
        words += [f"stages.0.start_from.run={parent}"] if parent else []
        return load_settings(FitSettings, path, [*words, *more])

    return small


def filled(text, folders):
    """Put a folder where a row calls it by its name."""
    key, _, value = text.partition("=")
    return f"{key}={folders[value[1:-1]]}" if value[1:-1] in folders else text


def data_words(data, world, corpus):
    """The tiny tables and the tiny corpus in place of those that a file names."""
    tables = {"videos": "videos", "interactions": "interactions", "judgments": "judgments_train"}
    tables |= {"val_judgments": "judgments_val", "val_interactions": "interactions"}
    named = [f"data.{key}={world / table}.jsonl" for key, table in tables.items() if getattr(data, key) is not None]
    named += [f"data.val_corpus={corpus}"] if data.val_interactions is not None else []
    return [*named, f"data.corpus={corpus}", "data.root=null", "data.holdout=[]"]


def stage_words(number, stage):
    """Two steps, of a batch that still needs the chunks, the replay and the warm-up that the file asks for."""
    pairs = 6 * getattr(stage.task, "queries_per_video", 1)
    graded = stage.task.type == "graded" or getattr(stage.task, "pairs", "") == "grades"
    sizes = ["steps=2", f"batch_size={2 if graded else pairs}", "optim.warmup_steps=1"]
    if graded:
        sizes.append(f"task.videos_per_query={8 if stage.task.type == 'cross' else 3}")  # of different grades
    if stage.task.type == "mae":
        sizes += ["task.decoder_width=16", "task.decoder_heads=2", "task.decoder_depth=1"]
    if stage.chunk_size is not None:
        sizes.append("chunk_size=4")
    if stage.replay is not None:
        sizes.append("replay.share=0.5")
    return [f"stages.{number}.{text}" for text in sizes]


@pytest.fixture(scope="module")
def fitted(shrunk, tmp_path_factory):
    """Run a file once, after the file that it starts from; give its settings and folder."""
    found = {}

    def run(name):
        if name not in found:
            parent = run(PARENTS[name])[1] if name in PARENTS else None
            settings = shrunk(name, tmp_path_factory.mktemp(name) / "run", parent=parent)
            found[name] = settings, fit(settings)
        return found[name]

    return run


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", FILES)
def test_it_runs_all_stages_and_leaves_a_model(name, fitted):
    assert name in SMALL, f"{name}.yaml needs a row in SMALL"
    settings, folder = fitted(name)
    model, _ = load_model(folder)
    assert model.spaces == trained_spaces(settings)
    assert all(p.isfinite().all() for p in model.parameters())
    stages = json.loads((folder / "lineage.json").read_text())["stages"]
    assert [stage["name"] for stage in stages] == [stage.name for stage in settings.stages]
    trained = [line for line in read_lines(folder / "metrics.jsonl") if line["kind"] == "train"]
    assert [line["stage"] for line in trained] == [stage.name for stage in settings.stages for _ in range(2)]
    assert all(math.isfinite(line["loss"]) and line["grad_norm"] > 0 for line in trained)


def still(stages):
    """A step a stage that moves nothing: the run leaves what it began with."""
    return [f"stages.{n}.{text}" for n in range(stages) for text in ("optim.lr=1e-12", "steps=1")]


def test_chinese_clip_is_what_training_starts_from(shrunk, pretrained, tmp_path):
    """Covers and queries match as in Chinese-CLIP itself; the student is layers 4, 8 and 12 of 12."""
    theirs = transformers.ChineseCLIPModel.from_pretrained(pretrained["clip"]).eval()
    model, tokenizer = load_model(fit(shrunk("cover_chinese_clip_l14_336", tmp_path / "run", *still(3))))
    pictures = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    with torch.no_grad():
        ours = model.document.heads["cover"](model.document.image.pool(model.document.image(pictures)))
        normalised = model.document.image.normalised(pictures)
        expected = theirs.get_image_features(pixel_values=normalised).pooler_output
        torch.testing.assert_close(F.normalize(ours, dim=-1), F.normalize(expected, dim=-1), rtol=1e-4, atol=1e-5)
        ids, mask = map(torch.from_numpy, tokenizer.encode_batch(["the red ball", "boat"], 52))
        assert ids[0].tolist() == [2, 5, 6, 10, 3]  # [CLS] the red ball [SEP]
        expected = theirs.get_text_features(input_ids=ids, attention_mask=mask).pooler_output
        ours = model.teacher(ids, mask.bool())["cover"]
        torch.testing.assert_close(ours, F.normalize(expected, dim=-1), rtol=1e-4, atol=1e-5)
    assert model.log_scale["cover"].item() == pytest.approx(math.log(100))
    for own, number in zip(model.student.text.bert.encoder.layer, (3, 7, 11), strict=True):
        for name, parameter in theirs.text_model.encoder.layer[number].named_parameters():
            torch.testing.assert_close(own.get_parameter(name), parameter)


def test_layers_learn_the_slower_the_lower(fitted):
    model, _ = load_model(fitted("cover_chinese_clip_l14_336")[1])
    depths = layer_depths([name for name, _ in model.named_parameters()])
    assert depths["teacher.text.embed.weight"] == 12
    assert depths["teacher.text.bert.encoder.layer.0.output.dense.weight"] == 11
    assert depths["document.image.vision_model.embeddings.patch_embedding.weight"] == 2
    assert depths["teacher.heads.cover.weight"] == depths["document.heads.cover.weight"] == 0


@pytest.mark.parametrize(("name", "weights"), [("frames_video_swin", "swin"), ("frames_x3d", "x3d")])
def test_clip_towers_start_from_their_weights(name, weights, shrunk, pretrained, tmp_path):
    model, _ = load_model(fit(shrunk(name, tmp_path / "run", *still(2))))
    saved = load_file(pretrained[weights] / "model.safetensors")
    for key, parameter in model.document.frame.trunk.named_parameters():
        torch.testing.assert_close(parameter, saved[key])


@pytest.mark.parametrize("name", PARENTS)
def test_it_starts_from_the_run_before(name, fitted):
    parent_folder = fitted(PARENTS[name])[1]
    stage = json.loads((fitted(name)[1] / "lineage.json").read_text())["stages"][0]
    assert stage["parent"]["hash"] == hash_file(parent_folder / "model.safetensors")
    parts = stage["parent"]["parts"]
    assert not parts or {"document.image", "teacher", "student"} <= set(parts)


def test_masked_covers_are_drawn_and_start_the_next_run(fitted, shrunk, tmp_path):
    _, folder = fitted("mae_vit_b16")
    assert (folder / "pictures" / "00000002.png").is_file()
    again = ["model.document.image.args={patch_size: 4, embed_dim: 16, depth: 2, num_heads: 2, global_pool: avg}"]
    settings = shrunk("demo", tmp_path / "run", *again, *still(3), f"model.document.image.weights={folder}")
    before, after = load_model(folder)[0].document.image, load_model(fit(settings))[0].document.image
    for name, parameter in after.named_parameters():
        torch.testing.assert_close(parameter, before.get_parameter(name))
