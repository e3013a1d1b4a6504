"""Backward-compatible training: the term against loops, what is masked, whom it moves, and what is refused."""

import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import ConfigError, CorruptIndexError
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.matching import PolySettings
from mmsearch.models import MatchModel, ModelSettings
from mmsearch.models.document import Codes
from mmsearch.models.inputs import InputMaker
from mmsearch.protocols import Embedded
from mmsearch.text import Tokenizer
from mmsearch.types import Space
from training.augment import AugmentSettings
from training.backward import backward_through
from training.batches import GradedBatches, PairBatches
from training.learner import ChunkedLearner
from training.old_index import OldIndex
from training.pairs import Judged, Pairs
from training.tasks import ContrastiveSettings, GradedSettings
from training.tasks.compatible import OldVectors
from training.tasks.settings import CompatibleSettings

DIM, SHARPNESS = 16, 4.0
#: Of the corpus, d03 is not in the old index, and d06 has nothing in its content.
MISSING, EMPTY = "d03", "d06"
ROWS = np.array([1, 2, 3, 4, 6, 7])


@pytest.fixture(scope="module")
def parts(tiny_model, tiny_corpus):
    corpus = PreparedCorpus.open(tiny_corpus)
    tokenizer = Tokenizer.train([t for v in corpus.read(range(24)) for t in v.texts.values()], vocab_size=150)
    torch.manual_seed(0)
    model = MatchModel(ModelSettings.model_validate(tiny_model), tokenizer.vocab_size)
    return corpus, InputMaker(model.settings, tokenizer), model.eval()


def publish(folder, doc_ids, *, dim=DIM, model="old", base=None):
    """Publish an index of one code in `cover` and three in `content`; of its query tower only what it says."""
    spaces = (Space("cover", dim, f"{model}-cover"), Space("content", dim, f"{model}-content", 3))
    told = [{"name": s.name, "dim": s.dim, "fingerprint": s.fingerprint, "output": s.name} for s in spaces]
    told[1] |= {"num_codes": 3, "selection": "weighted", "sharpness": SHARPNESS}
    tower = folder.with_name(f"{folder.name}-{model}-tower")
    tower.mkdir()
    (tower / "query_tower.json").write_text(json.dumps({"format_version": 2, "max_length": 8, "spaces": told}))
    random = np.random.default_rng(0)
    embedded = {}
    for space in spaces:
        codes = random.standard_normal((len(doc_ids), space.num_codes, dim)).astype(np.float32)
        codes /= np.linalg.norm(codes, axis=-1, keepdims=True)
        there = np.array([doc_id != EMPTY or space.name == "cover" for doc_id in doc_ids])
        embedded[space.name] = Embedded(codes.reshape(len(doc_ids), -1), there)
    with GenerationWriter(folder, spaces, dtype="float32", base=base) as writer:
        writer.add(doc_ids, embedded)
        writer.publish(query_tower=tower, source={})
    return folder


@pytest.fixture(scope="module")
def old_dir(parts, tmp_path_factory):
    doc_ids = [doc_id for doc_id in parts[0].doc_ids if doc_id != MISSING]
    return publish(tmp_path_factory.mktemp("old") / "index", doc_ids)


def task_of(old_dir, kind=ContrastiveSettings, spaces=("cover", "content"), **told):
    compatible = CompatibleSettings(index=old_dir, **told)
    return kind(augment=AugmentSettings(), spaces=list(spaces), compatible=compatible)


def pair_batch(parts, task, *, copies=1, satisfied=True):
    corpus, maker, _ = parts
    rows = ROWS.repeat(copies)
    satisfied = np.resize(np.atleast_1d(satisfied), len(rows))
    pairs = Pairs([f"query {n}" for n in range(len(rows))], np.arange(len(rows)), rows, satisfied, False)
    task = task.model_copy(update={"queries_per_video": copies})
    old = OldIndex(task.compatible, task.spaces, DIM)
    return PairBatches(corpus, pairs, maker, task, batch_size=len(rows), seed=0, old=old)(0)


def naive_score(query, codes, selection):
    each = [float(query @ code) for code in codes]
    if selection == "max":
        return max(each)
    weights = [np.exp(SHARPNESS * one) for one in each]
    return sum(weight * one for weight, one in zip(weights, each, strict=True)) / sum(weights)


def naive_info_nce(queries, codes, pairs, scale, selection, asked):
    """Give InfoNCE in both directions by loops over pairs (query, video), each query belonging to one video.

    Args:
        queries: [B, D].
        codes: of each video, or None where it cannot be found.
        pairs: of the batch.
        scale: of the scores.
        selection: among the codes.
        asked: the queries that say something.
    """
    total, learned = 0.0, 0
    for q, v in pairs:
        if codes[v] is None or q not in asked:
            continue
        learned += 1
        for_query = [scale * naive_score(queries[q], code, selection) for code in codes if code is not None]
        own = scale * naive_score(queries[q], codes[v], selection)
        total += np.log(np.exp(for_query).sum()) - own
        others = [p for p, w in pairs if p in asked and (p == q or w != v)]  # its other queries are no negatives
        for_video = [scale * naive_score(queries[p], codes[v], selection) for p in others]
        total += np.log(np.exp(for_video).sum()) - own
    return total / (2 * learned)


def old_codes(old_dir, parts, space, rows):
    """Read the vectors of corpus rows one by one, as anybody would; None where there are none."""
    index, found = ForwardIndex.open(old_dir), []
    for row in rows:
        vectors, present = index.vectors(space, index.rows([parts[0].doc_ids[row]]))
        found.append(torch.from_numpy(vectors.reshape(-1, DIM)) if present[0] else None)
    return found


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize(("space", "selection"), [("cover", "max"), ("content", "weighted")])
def test_new_queries_find_old_vectors_as_by_loops(parts, old_dir, space, selection, copies):
    model = parts[2]
    batch = pair_batch(parts, task_of(old_dir, weight=0.5), copies=copies)
    given = ChunkedLearner(model)(batch, embed_only=True)
    losses = batch.losses(model, given)
    rows = [parts[0].row_of[name.split(" ")[0]] for name in batch.names][::copies]
    codes = old_codes(old_dir, parts, space, rows)
    assert codes.count(None) == (2 if space == "content" else 1)
    pairs = [(q, q // copies) for q in range(len(batch))]
    for tower in ("teacher", "student"):
        query = given.vectors[f"{tower}/{space}"].detach()
        expected = naive_info_nce(query, codes, pairs, model.scale(space).item(), selection, range(len(batch)))
        assert losses[f"compatible/{tower}/{space}"].item() == pytest.approx(0.5 * expected, rel=1e-4)
    torch.testing.assert_close(losses["loss"], sum(value for name, value in losses.items() if name != "loss"))


def test_clicks_that_did_not_satisfy_do_not_tie_content(parts, old_dir):
    losses = ChunkedLearner(parts[2])(pair_batch(parts, task_of(old_dir), satisfied=False))
    assert losses["compatible/student/content"].item() == 0
    assert losses["compatible/student/cover"].item() > 0


def with_old_queries(batch, silent=()):
    """Give the batch with old query vectors made up here, some of them of queries that say nothing."""
    vectors = torch.nn.functional.normalize(torch.randn(len(batch), DIM, generator=torch.manual_seed(1)), dim=-1)
    vectors[list(silent)] = 0
    old = OldVectors(batch.old.codes, batch.old.polies, dict.fromkeys(batch.old.codes, vectors))
    told = batch.settings.compatible.model_copy(update={"old_queries": True})
    settings = batch.settings.model_copy(update={"compatible": told})
    return type(batch)(**{n: getattr(batch, n) for n in batch.__slots__} | {"old": old, "settings": settings})


def test_old_queries_find_new_vectors_as_by_loops(parts, old_dir):
    model = parts[2]
    batch = with_old_queries(pair_batch(parts, task_of(old_dir)), silent=[2])
    given = ChunkedLearner(model)(batch, embed_only=True)
    loss = batch.losses(model, given)["compatible/documents/content"]
    codes, present = given.vectors["codes/content"].detach(), given.present["content"].tolist()
    found = [code if there else None for code, there in zip(codes, present, strict=True)]
    pairs, asked = [(n, n) for n in range(6)], [0, 1, 3, 4, 5]
    scale = model.scale("content").item()
    expected = naive_info_nce(batch.old.queries["content"], found, pairs, scale, "max", asked)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def moved_by(model, loss):
    model.zero_grad()
    loss.backward()
    return {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def test_it_moves_one_side_and_no_temperature(parts, old_dir):
    model = parts[2]
    batch = with_old_queries(pair_batch(parts, task_of(old_dir)))
    moved = moved_by(model, ChunkedLearner(model)(batch)["compatible/student/cover"])
    assert "student.heads.cover.weight" in moved
    assert all(name.startswith("student.") or "embed" in name for name in moved)
    moved = moved_by(model, ChunkedLearner(model)(batch)["compatible/documents/cover"])
    assert "document.heads.cover.weight" in moved
    assert all(name.startswith("document.") for name in moved)


def test_in_chunks_the_gradient_is_the_same(parts, old_dir):
    model = parts[2]
    batch = with_old_queries(pair_batch(parts, task_of(old_dir)))
    found = []
    for size in (None, 4):
        model.zero_grad()
        losses = backward_through(ChunkedLearner(model), batch, size, lambda tensor, last: tensor.backward())
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        found.append((losses["loss"].detach(), gradients))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)


def test_graded_rows_against_loops(parts, old_dir):
    corpus, maker, model = parts
    judged = Judged(["a", "b"], [np.arange(1, 8), np.arange(2, 5)], [np.arange(7) % 3, np.array([2, 0, 1])])
    task = task_of(old_dir, GradedSettings)
    old = OldIndex(task.compatible, task.spaces, DIM)
    batch = with_old_queries(GradedBatches(corpus, judged, maker, task, batch_size=2, seed=0, old=old)(0))
    given = ChunkedLearner(model)(batch, embed_only=True)
    losses = batch.losses(model, given)
    rows = [corpus.row_of[name.split(" ")[0]] for name in batch.names]
    new = [c if p else None for c, p in zip(given.vectors["codes/content"], given.present["content"], strict=True)]
    kinds = {
        "student": (given.vectors["student/content"], old_codes(old_dir, parts, "content", rows), "weighted"),
        "documents": (batch.old.queries["content"], new, "max"),
    }
    for name, (queries, codes, selection) in kinds.items():
        gaps = []
        for i, q in enumerate(batch.query_of.tolist()):
            for j, other in enumerate(batch.query_of.tolist()):
                if q == other and batch.grades[i] > batch.grades[j] and codes[i] is not None and codes[j] is not None:
                    better, worse = (naive_score(queries[q].detach(), codes[n].detach(), selection) for n in (i, j))
                    gaps.append(np.log1p(np.exp(model.scale("content").item() * (worse - better))))
        assert losses[f"compatible/{name}/content"].item() == pytest.approx(np.mean(gaps), rel=1e-4)


def test_only_spaces_that_are_asked_for_and_there(parts, old_dir):
    one = pair_batch(parts, task_of(old_dir, spaces=["cover"]))
    assert set(one.old.codes) == {"cover"}
    both = pair_batch(parts, task_of(old_dir, spaces=("cover", "perception")))
    assert set(both.old.codes) == {"cover"}, "the old index has no perception"
    assert isinstance(both.old.codes["cover"], Codes)
    assert both.old.polies == {"cover": PolySettings(selection="max", sharpness=10.0)}


def test_what_does_not_fit_is_refused(parts, old_dir, tmp_path):
    with pytest.raises(ConfigError, match=r"has no vectors of perception; it has: content, cover"):
        OldIndex(CompatibleSettings(index=old_dir, spaces=["perception"]), ["perception"], DIM)
    with pytest.raises(ConfigError, match=r"has no vectors of frames or perception"):
        OldIndex(CompatibleSettings(index=old_dir), ["frames", "perception"], DIM)
    narrow = publish(tmp_path / "narrow", ["d01", "d02"], dim=8)
    with pytest.raises(ConfigError, match="cover has dimension 8, and the model 16"):
        OldIndex(CompatibleSettings(index=narrow), ["cover"], DIM)
    with pytest.raises(ValidationError, match=r"compatible\.spaces: frames is not among the task's spaces"):
        task_of(old_dir, spaces=["cover"]).model_validate(
            {"spaces": ["cover"], "compatible": {"index": str(old_dir), "spaces": ["frames"]}}
        )
    with pytest.raises(ValidationError, match="distances alone find no video"):
        ContrastiveSettings.model_validate(
            {"teacher_weight": 0, "student_weight": 0, "compatible": {"index": str(old_dir)}}
        )
    base = ForwardIndex.open(narrow).generation
    publish(narrow, ["d02"], model="new", base=base)
    with pytest.raises(ConfigError, match=rf"holds vectors of two models; give compatible\.generation: {base}"):
        OldIndex(CompatibleSettings(index=narrow), ["cover"], DIM)
    one = OldIndex(CompatibleSettings(index=narrow, generation=base), ["cover"], 8)
    assert one.of(["d02", "d03"], []).codes["cover"].present.tolist() == [True, False]
    vectors = next((narrow / "generations").glob(f"{base}/vectors.cover.npy"))
    vectors.chmod(0o644)
    data = bytearray(vectors.read_bytes())
    data[-1] ^= 1
    vectors.write_bytes(bytes(data))
    with pytest.raises(CorruptIndexError, match=r"vectors\.cover\.npy"):
        OldIndex(CompatibleSettings(index=narrow, generation=base), ["cover"], 8)
