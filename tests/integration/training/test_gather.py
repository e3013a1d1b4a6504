"""Several gloo processes against one with the same global batch.

Run as a script, this file is one rank: `test_gather.py RANK RANKS FOLDER` writes what it found to FOLDER.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import nn

from mmsearch.losses.contrastive import info_nce, info_nce_rows
from mmsearch.losses.ranking import listwise_softmax, num_graded_lists, num_graded_pairs, pairwise_logistic
from mmsearch.matching import PolySettings, poly_scores
from mmsearch.nn.distributed import average_gradients, barrier, broadcast_module, gather, rank, sum_over_ranks
from mmsearch.nn.distributed import world_size as num_ranks
from training.gradient_cache import cached_backward
from training.representations import Representations

PAIRS, CHUNK = 12, 3
CASES = ("plain", "masks", "idle_rank", "rank_without_videos", "nothing", "chunks")


class Towers(nn.Module):
    """Queries, videos of two codes, a temperature, and a weight that nobody uses."""

    def __init__(self):
        super().__init__()
        self.query = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 5))
        self.video = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 10))
        self.log_scale = nn.Parameter(torch.tensor(0.5))
        self.unused = nn.Parameter(torch.ones(3))

    def embed(self, chunk):
        queries, videos, present = chunk
        codes = self.video(videos).view(-1, 2, 5)
        return Representations({"teacher/cover": self.query(queries), "codes/cover": codes}, {"cover": present})

    def scores(self, queries, codes):
        return self.log_scale.exp() * poly_scores(queries, codes, PolySettings())


def global_batch(case):
    """Give queries, videos, positives, rows and columns of the whole batch; the same on every rank."""
    random = torch.Generator().manual_seed(CASES.index(case))
    queries, videos = torch.randn(2, PAIRS, 8, generator=random)
    positives = torch.eye(PAIRS, dtype=torch.bool)
    rows, columns = torch.ones(2, PAIRS, dtype=torch.bool)
    if case in ("masks", "chunks"):
        positives |= torch.rand(PAIRS, PAIRS, generator=random) < 0.2
        rows, columns = torch.rand(2, PAIRS, generator=random) < torch.linspace(0.3, 1, PAIRS)
    if case in ("idle_rank", "nothing"):
        rows[PAIRS // 3 if case == "idle_rank" else 0 :] = False
    if case == "rank_without_videos":
        columns[: PAIRS // 2] = False
    return queries, videos, positives, rows, columns


def share_of_loss(model, found, batch):
    """Give this rank's loss: only its own rows and columns of the square."""
    _, _, positives, rows, columns = batch
    everyone = found.gathered()
    size = PAIRS // num_ranks()
    own = torch.arange(rank() * size, (rank() + 1) * size)
    learned = rows & columns
    others = (positives & ~torch.eye(PAIRS, dtype=torch.bool)) | torch.diag(~learned)
    to_video = model.scores(found.vectors["teacher/cover"], everyone.vectors["codes/cover"])
    to_query = model.scores(everyone.vectors["teacher/cover"], found.vectors["codes/cover"]).T
    total = info_nce_rows(to_video, own, others[own] | ~everyone.present["cover"]).sum()
    total = total + info_nce_rows(to_query, own, others[:, own].T).sum()
    count = sum_over_ranks(learned[own].sum())
    return {"loss": num_ranks() * total / (2 * count.clamp(min=1))}


def find_contrastive(case):
    """Give this rank's view of one case after the gradients were averaged."""
    torch.manual_seed(rank())
    model = Towers()
    broadcast_module(model)
    batch = global_batch(case)
    queries, videos, _, _, columns = (part.chunk(num_ranks())[rank()] for part in batch)
    size = CHUNK if case == "chunks" else len(queries)
    chunks = list(zip(queries.split(size), videos.split(size), columns.split(size), strict=True))
    losses = cached_backward(
        model.embed, chunks, lambda found: share_of_loss(model, found, batch), lambda tensor, last: tensor.backward()
    )
    average_gradients(model.parameters(), bucket_bytes=256)
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return found | {"loss": sum_over_ranks(losses["loss"]) / num_ranks()}


def judged():
    """Give scores, grades and queries of the whole batch: 4 queries of 3 rows, the last without different grades."""
    scores = torch.randn(PAIRS, generator=torch.Generator().manual_seed(0))
    return scores, torch.tensor([0, 1, 2, 1, 0, 0, 2, 2, 1, 1, 1, 1]), torch.arange(PAIRS) // 3


def find_graded():
    """Give the mean over ranks of the graded losses, every rank holding whole queries."""
    scores, grades, queries = judged()
    own = queries % num_ranks() == rank()
    mine = scores[own], grades[own], queries[own]
    found = {}
    for loss, number in ((pairwise_logistic, num_graded_pairs), (listwise_softmax, num_graded_lists)):
        count = sum_over_ranks(number(*mine[1:]))
        found[loss.__name__] = sum_over_ranks(num_ranks() * loss(*mine, count=count)) / num_ranks()
    return found


def find_collectives():
    """Give what the collectives make of numbers that differ by rank."""
    values = torch.arange(6.0).view(2, 3).mul(rank() + 1).T.requires_grad_()  # not contiguous, [3, 2]
    gathered = gather(values)
    (gathered * torch.arange(len(gathered))[:, None] * (rank() + 1)).sum().backward()
    some = nn.Parameter(torch.zeros(2, 2).T)
    some.grad = torch.full((2, 2), 4.0) if rank() == 1 else None
    none, half = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(3, dtype=torch.float64))
    half.grad = torch.full((3,), float(rank()), dtype=torch.float64)
    average_gradients([some, none, half])
    barrier()
    return {
        "gathered": gathered.detach(),
        "gradient": values.grad,
        "booleans": gather(torch.tensor([rank() == 0, True])),
        "integers": gather(torch.tensor([[rank()]])),
        "empty": gather(torch.zeros(0, 3)),
        "some": some.grad,
        "none": torch.tensor([none.grad is None]),
        "half": half.grad,
    }


def be_a_rank(number, ranks, folder):
    """Find everything as one rank, and write it down."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=number, world_size=ranks)
    found = {case: find_contrastive(case) for case in CASES}
    found |= {"graded": find_graded(), "collectives": find_collectives()}
    flat = {f"{case}/{name}": value.contiguous() for case, part in found.items() for name, value in part.items()}
    save_file(flat, folder / f"{number}.safetensors")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 3])
def ranks(request, tmp_path_factory):
    """Give what every rank found, by rank."""
    folder = tmp_path_factory.mktemp("ranks")
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    commands = [[sys.executable, __file__, str(n), str(request.param), str(folder)] for n in range(request.param)]
    running = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for command in commands]
    try:
        wait_for(running, time.monotonic() + 90)
    finally:
        for process in running:
            process.kill()
            process.communicate()
    return [load_file(folder / f"{number}.safetensors") for number in range(request.param)]


def wait_for(running, deadline):
    """Wait until all have ended well; the first that failed is shown, for the others wait for it in vain."""
    while any(process.poll() is None for process in running):
        assert time.monotonic() < deadline, "the ranks wait for each other"
        if any(process.poll() for process in running):
            break
        time.sleep(0.05)
    failed = [process.communicate()[1] for process in running if process.poll()]
    assert not failed, failed[0]


def in_one_process(case):
    torch.manual_seed(0)
    model = Towers()
    queries, videos, positives, rows, columns = global_batch(case)
    found = model.embed((queries, videos, columns))
    logits = model.scores(found.vectors["teacher/cover"], found.vectors["codes/cover"])
    loss = info_nce(logits, positives, rows=rows, columns=columns)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return gradients | {"loss": loss.detach()}


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradients_equal_those_of_one_process(ranks, case):
    expected = in_one_process(case)
    assert (expected["loss"] > 0) == (case != "nothing")
    for found in ranks:
        mine = {name.removeprefix(f"{case}/"): found[name] for name in found if name.startswith(f"{case}/")}
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", [pairwise_logistic, listwise_softmax])
def test_graded_losses_equal_those_of_one_process(ranks, loss):
    for found in ranks:
        torch.testing.assert_close(found[f"graded/{loss.__name__}"], loss(*judged()))


def test_gather_puts_ranks_in_order_and_sums_their_gradients(ranks):
    number = len(ranks)
    base = torch.arange(6.0).view(2, 3).T
    for place, found in enumerate(ranks):
        found = {name.removeprefix("collectives/"): value for name, value in found.items()}
        assert torch.equal(found["gathered"], torch.cat([base * (n + 1) for n in range(number)]))
        asked = torch.arange(3.0 * place, 3.0 * place + 3)[:, None] * sum(range(1, number + 1))
        assert torch.equal(found["gradient"], asked.expand(3, 2))
        assert found["booleans"].tolist() == [True, True] + [False, True] * (number - 1)
        assert found["integers"].tolist() == [[n] for n in range(number)]
        assert found["empty"].shape == (0, 3)


def test_gradients_are_averaged_where_some_rank_has_one(ranks):
    number = len(ranks)
    for found in ranks:
        assert torch.equal(found["collectives/some"], torch.full((2, 2), 4.0 / number))
        assert found["collectives/none"].item()
        assert torch.equal(found["collectives/half"], torch.full((3,), (number - 1) / 2, dtype=torch.float64))


if __name__ == "__main__":
    be_a_rank(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
