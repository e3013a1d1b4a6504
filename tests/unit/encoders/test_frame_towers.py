"""What every frame tower promises, tried on all three; then what is particular to per-frame and Video Swin."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmsearch.encoders.video.per_frame import PerFrameSettings
from mmsearch.encoders.video.video_swin import VideoSwinSettings
from mmsearch.encoders.video.x3d import X3DSettings
from mmsearch.errors import ConfigError
from mmsearch.torchvision_guard import guard_torchvision

SWIN = {
    "embed_dim": 12,
    "depths": [2, 1],
    "num_heads": [1, 2],
    "window_size": [2, 4, 4],
    "stochastic_depth_prob": 0.0,
}
SETTINGS = {
    "per_frame": PerFrameSettings(depth=1, heads=2, max_frames=8),
    "video_swin": VideoSwinSettings(args=SWIN),
    "x3d": X3DSettings(width_factor=0.5, depth_factor=1.0),
}
CLIPS = ("video_swin", "x3d")


class Pictures(nn.Module):
    """A picture tower small enough to be read: the mean of three channels, projected; counts what it sees."""

    def __init__(self):
        super().__init__()
        self.project, self.seen = nn.Linear(3, 16), []

    def forward(self, pictures):
        self.seen.append(pictures)
        return self.project(pictures.float().mean((2, 3)) / 255)


def built(kind, frames=4):
    torch.manual_seed(0)
    tower = SETTINGS[kind].build(16, frames, 32).eval()
    with torch.no_grad():  # a fresh residual branch of X3D is zero, and would hide what it does
        for name, parameter in tower.named_parameters():
            if name.endswith("norm_c.weight"):
                parameter.fill_(1.0)
    return tower, Pictures()


def videos(*real, frames=4):
    pixels = torch.randint(0, 256, (len(real), frames, 3, 32, 32), dtype=torch.uint8)
    mask = torch.tensor([[place in places for place in range(frames)] for places in real])
    return pixels, mask


def dirty(pixels, mask):
    """The same videos with NaN in the missing frames."""
    return pixels.float().masked_fill(~mask[:, :, None, None, None], float("nan"))


@pytest.mark.parametrize("kind", SETTINGS)
def test_tokens_have_the_width_and_are_zero_where_masked(kind):
    tower, encode = built(kind)
    out = tower(*videos({0, 1, 2, 3}, {0}, set()), encode)
    positions = 2 if kind == "video_swin" else 4
    assert out.tokens.shape == (3, positions, tower.width)
    assert out.mask.sum(1).tolist() == [positions, 1, 0]
    assert torch.equal(out.tokens.abs().sum(2) > 0, out.mask)


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("real", [{0, 1}, {1, 2}, {0, 3}])
def test_what_stands_at_missing_frames_never_matters(kind, real):
    tower, encode = built(kind)
    pixels, mask = videos(real, set())
    torch.testing.assert_close(tower(dirty(pixels, mask), mask, encode), tower(pixels, mask, encode))


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_video_does_not_depend_on_its_neighbours_and_one_alone_works(kind):
    tower, encode = built(kind)
    pixels, mask = videos({0, 1, 2}, set(), {0, 1, 2, 3})
    together = tower(pixels, mask, encode)
    for row in range(3):
        alone = tower(pixels[row : row + 1], mask[row : row + 1], encode)
        torch.testing.assert_close(alone.tokens[0], together.tokens[row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", SETTINGS)
def test_frames_see_each_other(kind):
    tower, encode = built(kind)
    pixels, mask = videos({0, 1, 2, 3})
    changed = pixels.clone()
    changed[:, 3] = 255 - changed[:, 3]
    before, after = tower(pixels, mask, encode), tower(changed, mask, encode)
    assert (before.tokens[:, 0] - after.tokens[:, 0]).abs().max() > 1e-6


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("frames", [1, 3, 5])
def test_any_number_of_frames_works(kind, frames):
    tower, encode = built(kind, frames)
    out = tower(*videos(set(range(frames)), frames=frames), encode)
    assert out.mask.all()
    assert out.tokens.shape[1] == ((frames + 1) // 2 if kind == "video_swin" else frames)


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("real", [[{0, 1, 2, 3}, {0}], [set(), set()]])
def test_every_parameter_has_a_finite_gradient_even_without_any_frame(kind, real):
    tower, encode = built(kind)
    tower.train()
    pixels, mask = videos(*real)
    out = tower(dirty(pixels, mask), mask, encode)
    (out.tokens.square().sum() + out.tokens.sum()).backward()
    for module in (tower, encode) if kind == "per_frame" else (tower,):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            if any(real) and "relative_position" not in name:
                assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", SETTINGS)
def test_checkpointing_changes_neither_gradients_nor_statistics(kind):
    pixels, mask = videos({0, 1, 2, 3}, {0, 1}, set())
    given = []
    for on in (False, True):
        tower, encode = built(kind)
        tower.train().set_checkpointing(on)
        out = tower(pixels, mask, encode)
        out.tokens.square().sum().backward()
        given.append([out.tokens.detach(), *(p.grad for p in tower.parameters()), *tower.state_dict().values()])
    for plain, again in zip(*given, strict=True):
        torch.testing.assert_close(again, plain)


@pytest.mark.parametrize("kind", SETTINGS)
def test_checkpointing_keeps_fewer_numbers_for_the_backward_pass(kind):
    kept = []
    for on in (False, True):
        tower, encode = built(kind)
        tower.train().set_checkpointing(on)
        sizes = []
        hooks = torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t)
        with hooks:
            tower(*videos({0, 1, 2, 3}), encode)
        kept.append(sum(sizes))
    assert kept[1] < 0.8 * kept[0]


@pytest.mark.parametrize("kind", SETTINGS)
def test_weights_load_from_a_file_and_a_wrong_shape_is_named(kind, tmp_path):
    source, encode = built(kind)
    trunk = source if kind == "per_frame" else source.trunk
    state = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    classifier = {} if kind == "per_frame" else {f"{source.head}proj.weight": torch.zeros(2, 2)}
    save_file(state | classifier, tmp_path / "w.safetensors")
    other = SETTINGS[kind].build(16, 4, 32).eval()
    report = other.load(str(tmp_path / "w.safetensors"))
    assert (report.loaded, report.missing, report.unexpected) == (len(state), (), ())
    pixels, mask = videos({0, 1, 2, 3})
    torch.testing.assert_close(other(pixels, mask, encode), source(pixels, mask, encode))
    name = next(iter(state))
    save_file(state | {name: torch.zeros(1)}, tmp_path / "bad.safetensors")
    with pytest.raises(ConfigError, match=name):
        other.load(str(tmp_path / "bad.safetensors"))


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_model_trained_here_is_read_and_what_it_lacks_is_listed(kind, tmp_path, caplog):
    source, _ = built(kind)
    state = {f"document.frame.{name}": tensor.clone() for name, tensor in source.state_dict().items()}
    lacking = next(iter(state))
    del state[lacking]
    save_file(state | {"teacher.log_scale": torch.zeros(1)}, tmp_path / "model.safetensors")
    other = SETTINGS[kind].build(16, 4, 32).eval()
    report = other.load(str(tmp_path))
    assert (report.loaded, report.unexpected) == (len(state), ())
    assert [lacking] == [f"document.frame.{'' if kind == 'per_frame' else 'trunk.'}{name}" for name in report.missing]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert report.missing[0] in caplog.text
    own = dict(other.named_parameters())
    torch.testing.assert_close(
        {n: own[n] for n in own if f"document.frame.{n}" != lacking},
        {n: p for n, p in source.named_parameters() if f"document.frame.{n}" != lacking},
    )


@pytest.mark.parametrize("kind", SETTINGS)
def test_half_precision_stays_near(kind):
    tower, encode = built(kind)
    pixels, mask = videos({0, 1, 2, 3}, {1})
    whole = tower(pixels, mask, encode).tokens
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = tower(pixels, mask, encode).tokens
    assert (half - whole).norm() < 0.05 * whole.norm()


@pytest.mark.parametrize("kind", CLIPS)
def test_a_missing_frame_is_the_real_one_before_it(kind):
    tower, encode = built(kind)
    pixels, mask = videos({1, 3})
    filled = pixels.clone()
    filled[:, 0], filled[:, 2] = pixels[:, 1], pixels[:, 1]
    whole = tower(filled, torch.ones_like(mask), encode)
    given = tower(pixels, mask, encode)
    assert given.mask.tolist() == ([[True, True]] if kind == "video_swin" else mask.tolist())
    torch.testing.assert_close(given.tokens[given.mask], whole.tokens[given.mask])


@pytest.mark.parametrize("kind", CLIPS)
def test_clip_towers_leave_the_picture_tower_alone(kind):
    tower, encode = built(kind)
    tower(*videos({0, 1}), encode)
    assert encode.seen == []


def test_only_real_frames_are_encoded_and_one_black_picture_where_there_is_none():
    tower, encode = built("per_frame")
    pixels, mask = videos({0, 2}, set(), {3})
    tower(pixels, mask, encode)
    assert torch.equal(encode.seen.pop(), pixels[mask])
    tower(pixels, torch.zeros_like(mask), encode)
    assert torch.equal(encode.seen.pop(), torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


def test_an_untrained_transformer_over_time_leaves_the_pictures_nearly_as_they_are():
    torch.manual_seed(0)
    vectors, mask = torch.randn(8, 64), torch.ones(2, 4, dtype=torch.bool)
    pixels = torch.zeros(2, 4, 3, 8, 8)
    tower = PerFrameSettings(depth=4, heads=4).build(64, 4, 8)
    tokens = tower(pixels, mask, lambda pictures: vectors).tokens.flatten(0, 1)
    assert torch.cosine_similarity(tokens, vectors, dim=1).min() > 0.98
    assert not torch.allclose(tokens, vectors)
    plain = PerFrameSettings(depth=0).build(64, 4, 8)
    assert torch.equal(plain(pixels, mask, lambda pictures: vectors).tokens.flatten(0, 1), vectors)


def test_per_frame_refuses_too_many_frames_and_heads_that_do_not_fit():
    with pytest.raises(ConfigError, match="max_frames is 4, and videos have 6 frames"):
        PerFrameSettings(max_frames=4).build(16, 6, 32)
    with pytest.raises(ConfigError, match=r"heads is 3, which does not divide .* 16"):
        PerFrameSettings(heads=3).build(16, 4, 32)


def test_swin_is_torchvisions_up_to_the_classifier():
    guard_torchvision()
    from torchvision.models.video.swin_transformer import SwinTransformer3d

    torch.manual_seed(0)
    theirs = SwinTransformer3d(patch_size=[2, 4, 4], num_classes=5, **SWIN).eval()
    tower, encode = built("video_swin")
    names = {name for name in theirs.state_dict() if not name.startswith("head.")}
    assert set(tower.trunk.state_dict()) == names
    tower.trunk.load_state_dict({name: theirs.state_dict()[name] for name in names})
    pixels, mask = videos({0, 1, 2, 3}, {0, 1, 2, 3})
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    clips = ((pixels.permute(0, 1, 3, 4, 2) / 255 - mean) / std).permute(0, 4, 1, 2, 3)
    mine = theirs.head(tower(pixels, mask, encode).tokens.mean(1))
    torch.testing.assert_close(mine, theirs(clips))


@pytest.mark.parametrize("name", ["swin3d_t", "swin3d_s", "swin3d_b"])
def test_swin_has_torchvisions_sizes(name):
    guard_torchvision()
    from torchvision.models import video

    with torch.device("meta"):
        theirs = getattr(video, name)().state_dict()
        mine = VideoSwinSettings(name=name).build(16, 4, 32).trunk.state_dict()
    assert {key: t.shape for key, t in mine.items()} == {
        key: t.shape for key, t in theirs.items() if not key.startswith("head.")
    }


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"width": 3}, "no such argument: width; there are depths, embed_dim"),
        ({"window_size": [8, 7]}, r"window_size is \[8, 7\]"),
        ({"depths": [2, 2]}, "one number a stage"),
        ({"num_heads": [3, 5, 12, 24]}, "stage 2 is 192 wide, which its 5 heads do not divide"),
    ],
)
def test_swin_says_which_size_does_not_fit(args, message):
    with pytest.raises(ConfigError, match=message):
        VideoSwinSettings(args=args).build(16, 4, 32)
