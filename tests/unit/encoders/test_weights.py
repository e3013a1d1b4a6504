"""Weights: found, read without unpickling, checked against the tower, converted."""

import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mmsearch.encoders.weights import LoadReport, convert, load_into, locate, read_tensors
from mmsearch.errors import ConfigError, DataError

TENSORS = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.tensor([1.0, 2.0])}


class Evil:
    """Its pickle would make a folder when opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return __import__("os").mkdir, (str(self.path),)


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_local_path_stays_as_it_is(tmp_path):
    assert locate(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("source", ["nowhere", "a/b/c", "../x/y", "weights/vit.safetensors", "weights/vit.pth"])
def test_what_is_neither_path_nor_hub_name_is_refused_at_once(source):
    with pytest.raises(ConfigError, match="no such file or folder, and not a hub name"):
        locate(source)


def test_a_hub_name_without_network_says_what_to_run(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"hf download org/name --include '\*.json' .* --local-dir DIR"):
        locate("org/name")


def test_a_cached_hub_name_is_found_offline(monkeypatch, tmp_path):
    snapshot = tmp_path / "models--org--name" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    save_file(TENSORS, snapshot / "model.safetensors")
    refs = tmp_path / "models--org--name" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    assert same(read_tensors(locate("org/name")), TENSORS)


@pytest.mark.parametrize("name", ["model.safetensors", "open_clip_model.safetensors", "anything.safetensors"])
def test_the_file_of_a_folder_is_read(tmp_path, name):
    save_file(TENSORS, tmp_path / name)
    assert same(read_tensors(tmp_path), TENSORS)
    assert same(read_tensors(tmp_path / name), TENSORS)


def test_the_preferred_layout_wins(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    save_file({"b": torch.zeros(1)}, tmp_path / "open_clip_model.safetensors")
    assert set(read_tensors(tmp_path)) == {"a"}
    assert set(read_tensors(tmp_path, prefer=("open_clip_model.safetensors", "model.safetensors"))) == {"b"}


def shards(folder, weight_map):
    for number, name in enumerate(TENSORS):
        save_file({name: TENSORS[name]}, folder / f"model-{number}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_shards_are_put_together(tmp_path):
    shards(tmp_path, {"weight": "model-0.safetensors", "bias": "model-1.safetensors"})
    assert same(read_tensors(tmp_path), TENSORS)


def test_a_shard_must_lie_beside_its_index(tmp_path):
    shards(tmp_path, {"weight": "../model-0.safetensors"})
    with pytest.raises(DataError, match=r"not the name of a \.safetensors file beside it"):
        read_tensors(tmp_path)


def test_a_tensor_that_no_shard_holds_is_named(tmp_path):
    shards(tmp_path, {"weight": "model-0.safetensors", "gone": "model-1.safetensors"})
    with pytest.raises(DataError, match="the shards lack gone"):
        read_tensors(tmp_path)


def test_a_broken_index_is_refused(tmp_path):
    shards(tmp_path, ["weight"])
    with pytest.raises(DataError, match="no 'weight_map'"):
        read_tensors(tmp_path)


def test_several_files_without_an_index_are_ambiguous(tmp_path):
    save_file(TENSORS, tmp_path / "a.safetensors")
    save_file(TENSORS, tmp_path / "b.safetensors")
    with pytest.raises(ConfigError, match=r"holds a.safetensors, b.safetensors; name the file"):
        read_tensors(tmp_path)


def test_an_empty_folder_says_how_to_convert(tmp_path):
    with pytest.raises(ConfigError, match=r"python -m training convert pytorch_model.bin .*/model.safetensors"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".pyth", ".ckpt"])
def test_pickles_are_not_opened(tmp_path, suffix):
    path = tmp_path / f"pytorch_model{suffix}"
    torch.save({"weight": Evil(tmp_path / "ran")}, path)
    for given in (path, tmp_path):
        with pytest.raises(ConfigError, match="may run code when opened; convert it once with: python -m training"):
            read_tensors(given)
    assert not (tmp_path / "ran").exists()


def test_a_truncated_file_is_named(tmp_path):
    save_file(TENSORS, tmp_path / "model.safetensors")
    data = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[:-5])
    with pytest.raises(DataError, match=r"model.safetensors: cannot be read as safetensors"):
        read_tensors(tmp_path)


def test_loading_reports_and_casts():
    layer = nn.Linear(3, 2)
    before = layer.bias.detach().clone()
    report = load_into(layer, {"weight": TENSORS["weight"].half(), "head": torch.zeros(1)}, "here")
    assert report == LoadReport("here", loaded=1, missing=("bias",), unexpected=("head",))
    assert torch.equal(layer.weight, TENSORS["weight"])
    assert layer.weight.dtype == torch.float32
    assert torch.equal(layer.bias, before)


def test_every_mismatch_is_listed_and_nothing_is_taken():
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    wrong = {"weight": torch.zeros(2, 4), "bias": torch.zeros(2, dtype=torch.int8)}
    with pytest.raises(ConfigError) as raised:
        load_into(layer, wrong, "here")
    assert "weight: the file has [2, 4], the tower [2, 3]" in str(raised.value)
    assert "bias: the file has torch.int8, the tower torch.float32" in str(raised.value)
    assert torch.equal(layer.weight, before)


def test_nothing_that_fits_is_an_error():
    with pytest.raises(ConfigError, match=r"not one name fits. The tower has bias, weight; the file has x"):
        load_into(nn.Linear(3, 2), {"x": torch.zeros(1)}, "here")


def test_the_log_names_the_first_eight(caplog):
    names = tuple(f"n{number}" for number in range(10))
    with caplog.at_level(logging.INFO, "mmsearch"):
        LoadReport("here", 3, names, ()).log()
        LoadReport("there", 3, (), ()).log()
    first, second, third = caplog.records
    assert first.message == "weights from here: 3 loaded, 10 missing, 0 unexpected"
    assert second.levelname == "WARNING"
    assert second.message.endswith("n0, n1, n2, n3, n4, n5, n6, n7 and 2 more")
    assert (third.levelname, third.message) == ("INFO", "weights from there: 3 loaded, 0 missing, 0 unexpected")


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_pickle_is_converted(tmp_path, wrapper, prefix):
    tied = {f"{prefix}{name}": tensor for name, tensor in TENSORS.items()} | {f"{prefix}tied": TENSORS["weight"].T}
    torch.save(tied if wrapper is None else {wrapper: tied, "epoch": 3}, tmp_path / "in.pt")
    assert convert(tmp_path / "in.pt", tmp_path / "out.safetensors") == 3
    assert same(load_file(tmp_path / "out.safetensors"), TENSORS | {"tied": TENSORS["weight"].T})


def test_code_in_a_pickle_does_not_run(tmp_path):
    torch.save({"weight": Evil(tmp_path / "ran")}, tmp_path / "in.pt")
    with pytest.raises(ConfigError, match="holds more than tensors, which may run code"):
        convert(tmp_path / "in.pt", tmp_path / "out.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.pt"]


def test_a_pickle_without_tensors_or_without_sense_is_named(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ConfigError, match="holds no mapping of names to tensors"):
        convert(tmp_path / "list.pt", tmp_path / "out.safetensors")
    with pytest.raises(DataError, match="no such file"):
        convert(tmp_path / "gone.pt", tmp_path / "out.safetensors")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "list.pt").read_bytes()[:100])
    with pytest.raises((ConfigError, DataError), match=r"cut\.pt"):
        convert(tmp_path / "cut.pt", tmp_path / "out.safetensors")
