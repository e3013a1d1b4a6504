"""X3D against what pytorchvideo 0.1.5 gave: names, shapes and counts of its published networks."""

import hashlib

import pytest
import torch

from mmsearch.encoders.video.x3d import X3DSettings
from mmsearch.encoders.video.x3d_blocks import round_width

SHAPES_OF_S = {
    "blocks.0.conv.conv_t.weight": (24, 3, 1, 3, 3),
    "blocks.0.conv.conv_xy.weight": (24, 1, 5, 1, 1),
    "blocks.0.norm.running_var": (24,),
    "blocks.1.res_blocks.0.branch1_conv.weight": (24, 24, 1, 1, 1),
    "blocks.1.res_blocks.0.branch2.conv_a.weight": (54, 24, 1, 1, 1),
    "blocks.1.res_blocks.0.branch2.conv_b.weight": (54, 1, 3, 3, 3),
    "blocks.1.res_blocks.0.branch2.norm_b.1.block.0.weight": (8, 54, 1, 1, 1),
    "blocks.2.res_blocks.0.branch1_norm.weight": (48,),
    "blocks.3.res_blocks.10.branch2.norm_b.1.block.2.bias": (216,),
    "blocks.4.res_blocks.6.branch2.conv_c.weight": (192, 432, 1, 1, 1),
}
#: What pytorchvideo 0.1.5 gave for channels 20 to 23 at weights and pixels of `scattered` numbers.
EXPECTED = [
    [1.9533, 2.37918, 4.13968, 1.08412],
    [2.39398, 3.0301, 3.92201, 0.41578],
    [2.07231, 2.94465, 2.98396, 0.09366],
]
ABSENT = (
    "blocks.1.res_blocks.0.branch1_norm.weight",  # the width stays: projected, not normalised
    "blocks.1.res_blocks.1.branch1_conv.weight",
    "blocks.1.res_blocks.1.branch2.norm_b.1.block.0.weight",  # every other block has no gate
)


@pytest.mark.parametrize(
    ("name", "tensors", "parameters", "digest"),
    [
        ("x3d_xs", 554, 2_006_130, "faa4cbc28d942dfc"),
        ("x3d_s", 554, 2_006_130, "faa4cbc28d942dfc"),
        ("x3d_m", 554, 2_006_130, "faa4cbc28d942dfc"),
        ("x3d_l", 1132, 4_365_240, "cbf6f798159fd16b"),
    ],
)
def test_names_and_shapes_are_pytorchvideos(name, tensors, parameters, digest):
    with torch.device("meta"):
        tower = X3DSettings(name=name).build(16, 4, 160)
    state = tower.trunk.state_dict()
    listing = "".join(f"{key} {tuple(tensor.shape)}\n" for key, tensor in sorted(state.items()))
    assert len(state) == tensors
    assert sum(parameter.numel() for parameter in tower.parameters()) == parameters
    assert hashlib.sha256(listing.encode()).hexdigest()[:16] == digest
    assert tower.width == 192


def test_a_sample_of_names_can_be_read_here():
    with torch.device("meta"):
        state = X3DSettings(name="x3d_s").build(16, 4, 160).trunk.state_dict()
    assert {key: tuple(state[key].shape) for key in SHAPES_OF_S} == SHAPES_OF_S
    assert not set(ABSENT) & set(state)


def scattered(shape, start):
    """Numbers in -1..1 that look random and are the same everywhere."""
    number = torch.arange(start, start + shape.numel())
    return ((number * number * 7919 + number * 104) % 1009).float().div(504).sub(1).view(shape)


def fill(state):
    """Set the tensors to numbers that only their place, kind and shape decide."""
    for place, (name, tensor) in enumerate(sorted(state.items())):
        numbers = scattered(tensor.shape, place)
        if tensor.dim() > 1:
            tensor.copy_(numbers * (3 / tensor[0].numel()) ** 0.5)
        elif name.endswith(("running_var", "weight")):
            tensor.copy_(1 + numbers / 2)
        elif tensor.is_floating_point():
            tensor.copy_(numbers / 5)


def test_outputs_are_pytorchvideos():
    trunk = X3DSettings(name="x3d_s").build(16, 4, 64).trunk.eval()
    with torch.no_grad():
        fill(trunk.state_dict())
        tokens = trunk(scattered(torch.Size((1, 3, 3, 48, 48)), 0))
    assert tokens.shape == (1, 3, 192)
    torch.testing.assert_close(tokens[0, :, 20:24], torch.tensor(EXPECTED), rtol=1e-4, atol=1e-4)


def test_a_fresh_network_starts_with_residual_branches_of_zero():
    trunk = X3DSettings(width_factor=0.5, depth_factor=1.0).build(16, 4, 32).trunk.eval()
    block = trunk.blocks[2].res_blocks[1]
    x = torch.rand(1, 16, 2, 4, 4)
    torch.testing.assert_close(block(x), x)


def test_a_batch_without_frames_does_not_count_in_the_statistics():
    tower = X3DSettings(width_factor=0.5, depth_factor=1.0).build(16, 4, 32).train()
    pixels = torch.randint(0, 256, (2, 4, 3, 32, 32), dtype=torch.uint8)
    before = {name: tensor.clone() for name, tensor in tower.trunk.named_buffers()}
    tower(pixels, torch.zeros(2, 4, dtype=torch.bool), lambda pictures: pictures)
    for name, tensor in tower.trunk.named_buffers():
        assert torch.equal(tensor, before[name]), name
    tower(pixels, torch.ones(2, 4, dtype=torch.bool), lambda pictures: pictures)
    assert not torch.equal(tower.trunk.blocks[0].norm.running_mean, before["blocks.0.norm.running_mean"])
    assert tower.trunk.blocks[0].norm.num_batches_tracked == 1


@pytest.mark.parametrize(
    ("width", "expected"), [(3.375, 8), (12.0, 16), (24, 24), (13.5, 16), (27, 32), (20.0, 24), (9.5, 16)]
)
def test_widths_are_rounded_as_published(width, expected):
    assert round_width(width) == expected
