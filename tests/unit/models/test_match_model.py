"""The match model: missing modalities, files, fingerprints, and the exported student."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import ConfigError, CorruptIndexError, DataError, FormatVersionError
from mmsearch.models import MatchModel, ModelSettings, export_query_tower, load_model, save_model
from mmsearch.models.checkpoint import pick_device
from mmsearch.models.document import SPACES
from mmsearch.models.document_encoder import MatchDocumentEncoder
from mmsearch.models.fingerprints import model_spaces
from mmsearch.models.inputs import InputMaker
from mmsearch.protocols import PreparedVideo
from mmsearch.scoring import OnnxQueryEncoder
from mmsearch.text import Tokenizer
from mmsearch.types import Modality


@pytest.fixture(scope="module")
def parts(tiny_model, tiny_corpus):
    videos = PreparedCorpus.open(tiny_corpus).read(range(12))
    tokenizer = Tokenizer.train([text for video in videos for text in video.texts.values()], vocab_size=150)
    torch.manual_seed(0)
    model = MatchModel(ModelSettings.model_validate(tiny_model), tokenizer.vocab_size)
    with torch.no_grad():  # teacher and student must not be equal by luck
        for parameter in model.student.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model.eval(), tokenizer, videos


@pytest.fixture(scope="module")
def folder(parts, tmp_path_factory):
    out = tmp_path_factory.mktemp("model")
    save_model(out, parts[0], parts[1])
    return out


def test_vectors_are_unit_length_and_absent_where_nothing_is(parts):
    model, tokenizer, videos = parts
    empty = PreparedVideo("empty", {}, None, (), {})
    speech = PreparedVideo("speech", {Modality.ASR: "a ball"}, None, (), {})
    found = MatchDocumentEncoder(model, tokenizer).encode([*videos, empty, speech])
    assert set(found) == set(SPACES)
    for embedded in found.values():
        lengths = np.linalg.norm(embedded.vectors, axis=1)
        np.testing.assert_allclose(lengths, embedded.present, atol=1e-5)
        assert not embedded.present[-2]
    assert {name: bool(e.present[-1]) for name, e in found.items()} == {
        "cover": False,
        "frames": False,
        "perception": False,
        "content": True,
    }


def test_a_video_does_not_depend_on_its_neighbours(parts):
    model, tokenizer, videos = parts
    encoder = MatchDocumentEncoder(model, tokenizer, single_modalities=True)
    together = encoder.encode(videos)
    for row in (0, 3, 11):
        alone = encoder.encode([videos[row]])
        for name, embedded in alone.items():
            np.testing.assert_allclose(embedded.vectors[0], together[name].vectors[row], atol=1e-5)


def test_perception_ignores_what_only_a_viewer_gets_to_know(parts):
    model, tokenizer, videos = parts
    video = videos[1]
    other = PreparedVideo("x", {**video.texts, Modality.ASR: "something else"}, video.cover, video.frames[:1], {})
    found = MatchDocumentEncoder(model, tokenizer).encode([video, other])
    np.testing.assert_allclose(*found["perception"].vectors, atol=1e-6)
    assert np.abs(np.subtract(*found["content"].vectors)).max() > 1e-3


def test_a_single_modality_space_sees_that_modality_alone(parts):
    model, tokenizer, videos = parts
    video = videos[1]
    titled = PreparedVideo("x", {Modality.TITLE: video.texts[Modality.TITLE]}, None, (), {})
    found = MatchDocumentEncoder(model, tokenizer, single_modalities=True).encode([video, titled])
    np.testing.assert_allclose(*found["content.title"].vectors, atol=1e-6)
    assert found["content.asr"].present.tolist() == [True, False]


def test_saved_and_loaded_it_is_the_same_model(parts, folder):
    model, tokenizer, videos = parts
    again, its_tokenizer = load_model(folder)
    assert again.document.text.embed is again.teacher.text.embed
    assert model_spaces(again, its_tokenizer) == model_spaces(model, tokenizer)
    first, second = (MatchDocumentEncoder(m, tokenizer).encode(videos)["content"].vectors for m in (model, again))
    np.testing.assert_array_equal(first, second)


def test_fingerprints_follow_what_moves_vectors_and_nothing_else(parts, tiny_model):
    model, tokenizer, _ = parts
    before = {space.name: space.fingerprint for space in model_spaces(model, tokenizer)}
    assert len(set(before.values())) == len(SPACES)

    def changed():
        now = {space.name: space.fingerprint for space in model_spaces(model, tokenizer)}
        return all(now[name] != before[name] for name in before)

    for module, counts in ((model.student, True), (model.document, True), (model.teacher.heads, False)):
        weight = next(module.parameters())
        with torch.no_grad():
            kept = weight.clone()
            weight[0] += 1e-3
            assert changed() == counts
            weight.copy_(kept)
    foreign = Tokenizer.train(["other words", "other words"], vocab_size=50)
    assert {s.fingerprint for s in model_spaces(model, foreign)}.isdisjoint(before.values())
    tree = json.loads(json.dumps(tiny_model))
    tree["document"]["image"]["mean"] = [0.5, 0.5, 0.5]
    other = MatchModel(ModelSettings.model_validate(tree), tokenizer.vocab_size)
    other.load_state_dict(model.state_dict())
    assert {s.fingerprint for s in model_spaces(other, tokenizer)}.isdisjoint(before.values())


def test_the_exported_student_equals_torch(parts, folder, tmp_path):
    model, tokenizer, _ = parts
    export_query_tower(folder, tmp_path / "tower", single_modalities=True)
    encoder = OnnxQueryEncoder.open(tmp_path / "tower")
    queries = ["red ball", "the blue fish on the beach in the forest of the kitchen", "x"]
    found = encoder.encode(queries)
    maker = InputMaker(model.settings, tokenizer)
    with torch.inference_mode():
        for row, query in enumerate(queries):
            inputs = maker.queries([query])
            for space, vector in model.student(inputs.ids, inputs.mask).items():
                np.testing.assert_allclose(found[space][row], vector[0].numpy(), atol=1e-5)
    assert {space.name for space in encoder.spaces} >= {"content.title", "content.asr"}
    np.testing.assert_array_equal(found["content.title"], found["content"])


def test_a_text_of_invisible_marks_is_a_missing_text(parts):
    model, tokenizer, _ = parts
    marks = PreparedVideo("marks", {Modality.TITLE: "\u200b\u200b \u2060"}, None, (), {})
    found = MatchDocumentEncoder(model, tokenizer).encode([marks])
    assert not any(embedded.present.any() for embedded in found.values())


def test_only_trained_spaces_are_embedded_and_exported(parts, tiny_model, tmp_path):
    _, tokenizer, videos = parts
    model = MatchModel(ModelSettings.model_validate(tiny_model), tokenizer.vocab_size, ["perception", "cover"])
    save_model(tmp_path / "run", model, tokenizer)
    again, _ = load_model(tmp_path / "run")
    encoder = MatchDocumentEncoder(again, tokenizer, single_modalities=True)
    assert [space.name for space in encoder.spaces] == list(encoder.encode(videos)) == ["cover", "perception"]
    export_query_tower(tmp_path / "run", tmp_path / "tower", single_modalities=True)
    assert OnnxQueryEncoder.open(tmp_path / "tower").spaces == encoder.spaces


def test_a_picture_of_another_size_says_how_to_prepare(parts):
    model, tokenizer, _ = parts
    out = io.BytesIO()
    Image.new("RGB", (24, 24)).save(out, "JPEG")
    video = PreparedVideo("big", {}, out.getvalue(), (), {})
    with pytest.raises(DataError, match=r"big: .* 24 x 24, the model reads 16 x 16; .* image_size=16"):
        InputMaker(model.settings, tokenizer).documents([video])


def test_broken_and_newer_folders_are_refused(parts, tmp_path):
    model, tokenizer, _ = parts
    with pytest.raises(DataError, match=r"no model\.safetensors"):
        load_model(tmp_path)
    save_model(tmp_path, model, tokenizer)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"format_version": 99}))
    with pytest.raises(FormatVersionError, match="format 99"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"model": config["model"] | {"dim": 8}}))
    with pytest.raises(CorruptIndexError, match="cannot be read into this model"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"format_version": 1}))
    with pytest.raises(FormatVersionError, match="format 1, which had other towers"):
        load_model(tmp_path)
    for broken in ({"format_version": 2}, {"format_version": 2, "model": {"dimm": 8}}):
        (tmp_path / "config.json").write_text(json.dumps(broken))
        with pytest.raises(CorruptIndexError, match=r"config\.json: does not hold the settings"):
            load_model(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(FormatVersionError, match="format None"):
        load_model(tmp_path)


def test_a_device_that_is_not_here_is_a_setting_to_change():
    assert pick_device("cpu") == torch.device("cpu")
    for name in ("gpu", "cuda:99"):
        with pytest.raises(ConfigError, match=f"device '{name}' cannot be used: .*give auto"):
            pick_device(name)
