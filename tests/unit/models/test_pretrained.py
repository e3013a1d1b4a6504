"""Models that start from pretrained towers, or from parts of other models."""

import pytest
import torch
from safetensors.torch import save_file

from mmsearch.errors import ConfigError
from mmsearch.models import MatchModel, ModelSettings, save_model
from mmsearch.models.pretrained import load_pretrained, start_from
from mmsearch.text import Tokenizer


def built(tree, seed):
    torch.manual_seed(seed)
    return MatchModel(ModelSettings.model_validate(tree), 50)


def changed(tree, *, image=None, text=None, teacher=None, **query):
    document = tree["document"]
    document = document | {"image": document["image"] | (image or {}), "text": document["text"] | (text or {})}
    query = tree["query"] | {"teacher": tree["query"]["teacher"] | (teacher or {})} | query
    return tree | {"document": document, "query": query}


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train(["red ball"] * 2, vocab_size=50)


@pytest.fixture(scope="module")
def folder(tiny_model, tokenizer, tmp_path_factory):
    out = tmp_path_factory.mktemp("model")
    save_model(out, built(tiny_model, 1), tokenizer)
    return out


@pytest.fixture(scope="module")
def theirs(tiny_model):
    return built(tiny_model, 1).state_dict()


def same(model, theirs):
    """Give the names of the tensors that are the other model's, of those that are not the same in any model."""
    other = MatchModel(model.settings, 50).state_dict()
    own = model.state_dict()
    told = [name for name in own if not torch.equal(other[name], theirs[name])]
    return {name for name in told if torch.equal(own[name], theirs[name])}, set(told)


@pytest.mark.parametrize("part", ["teacher", "student", "document.image", "document.text", "document.fusions.content"])
def test_a_part_is_taken_whole_and_nothing_else(tiny_model, tokenizer, folder, theirs, part):
    model = built(tiny_model, 2)
    report = start_from(model, str(folder), [part], tokenizer)
    taken, told = same(model, theirs)
    wanted = {name for name in told if name.startswith(f"{part}.")}
    tied = {"document.text.embed.weight", "teacher.text.embed.weight"}
    assert taken == (wanted | tied if wanted & tied else wanted)
    assert report.missing == ()
    assert report.unexpected == ()


def test_all_is_taken_without_parts(tiny_model, tokenizer, folder, theirs):
    model = built(tiny_model, 2)
    report = start_from(model, str(folder), [], tokenizer)
    taken, told = same(model, theirs)
    assert taken == told
    assert report.missing == ()


def test_the_parts_of_an_untied_model_come_from_a_tied_one(tiny_model, tokenizer, folder, theirs):
    model = built(changed(tiny_model, tie_embeddings=False), 2)
    start_from(model, str(folder), ["teacher"], tokenizer)
    assert torch.equal(model.teacher.text.embed.weight, theirs["teacher.text.embed.weight"])
    assert not torch.equal(model.document.text.embed.weight, theirs["document.text.embed.weight"])


def test_shapes_and_names_that_do_not_fit_are_told(tiny_model, tokenizer, folder):
    with pytest.raises(ConfigError, match=r"heads\.cover\.weight: the file has \[16, 16\], the tower \[8, 16\]"):
        start_from(built(tiny_model | {"dim": 8}, 2), str(folder), ["student"], tokenizer)
    with pytest.raises(ConfigError, match="holds no weights whose names begin with docment"):
        start_from(built(tiny_model, 2), str(folder), ["docment"], tokenizer)
    with pytest.raises(ConfigError, match="no such file or folder"):
        start_from(built(tiny_model, 2), "not/a/model.safetensors", [], tokenizer)


def test_another_tokenizer_is_refused_for_what_reads_text(tiny_model, folder):
    other = Tokenizer.train(["blue fish"] * 2, vocab_size=50)
    for parts in ([], ["student"], ["document"]):
        with pytest.raises(ConfigError, match=r"another tokenizer.*set tokenizer\.folder="):
            start_from(built(tiny_model, 2), str(folder), parts, other)
    start_from(built(tiny_model, 2), str(folder), ["document.image", "document.fusions"], other)


def test_towers_start_from_the_weights_that_settings_name(tiny_model, folder, theirs, tmp_path):
    image = {n.removeprefix("document.image."): t.clone() for n, t in theirs.items() if n.startswith("document.image.")}
    save_file(
        {n.removeprefix("vit."): t for n, t in image.items() if n.startswith("vit.")}, tmp_path / "vit.safetensors"
    )
    tree = changed(tiny_model, image={"weights": str(tmp_path / "vit.safetensors")}, teacher={"weights": str(folder)})
    model = built(tree, 2)
    reports = load_pretrained(model)
    assert len(reports) == 2
    own = model.state_dict()
    for name in own:
        if name.startswith(("document.image.vit.", "teacher.text.")):
            assert torch.equal(own[name], theirs[name]), name
    assert model.document.text.embed.weight is model.teacher.text.embed.weight, "still tied"
    for student, teacher in ((0, 1), (1, 3)):
        mine, taught = (tower.text.transformer.blocks for tower in (model.student, model.teacher))
        pairs = zip(mine[student].parameters(), taught[teacher].parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs), "the student is made of the loaded teacher"
    assert torch.equal(own["document.heads.content.weight"], own["teacher.heads.content.weight"])


def test_without_weights_nothing_happens(tiny_model):
    model = built(tiny_model, 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert load_pretrained(model) == []
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
