"""How a fusion divides its weights (gates, attention) among the modalities of the videos that it fuses.

Letters: B videos of a batch, K modalities (all of `Modality`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from mmsearch.fusion import Fusion
from mmsearch.metrics.scored import Float64
from mmsearch.metrics.significance import resample
from mmsearch.metrics.statistic import mean_of
from mmsearch.models.match import MatchModel
from mmsearch.report.diagnostics import Estimate, FusionWeights, Share
from mmsearch.types import Modality


@dataclass
class Weighed:
    """What a fusion gave the modalities of the videos that came by.

    Args:
        method: type of the fusion.
        weights: share of every modality, [B, K] a batch; stays empty where the method has no weights.
        tokens: number of tokens of every modality, [B, K] a batch.
    """

    method: str
    weights: list[Float64] = field(default_factory=list)
    tokens: list[Float64] = field(default_factory=list)

    def add(self, fusion: Fusion, tokens: Tensor, mask: Tensor, modality: Tensor) -> None:
        """Take the weights of a batch; arguments are those of `Fusion.forward`."""
        weights = fusion.weights(tokens, mask, modality)
        if weights is not None:
            belongs = F.one_hot(modality.cpu(), len(Modality)).double()
            self.weights.append(weights.cpu().double().numpy())
            self.tokens.append((mask.cpu().double() @ belongs).numpy())

    def shares(self, reads: Sequence[Modality], resamples: int, seed: int) -> FusionWeights | None:
        """Average over the videos that have a modality; intervals are of a bootstrap over all videos.

        Args:
            reads: modalities of the space.
            resamples: bootstrap samples.
            seed: of the bootstrap.

        Returns:
            None where the method has no weights. The share of a modality that no video has is not defined.
        """
        if not self.weights:
            return None
        weights, tokens = np.concatenate(self.weights), np.concatenate(self.tokens)
        has = tokens > 0
        even, by_tokens = has / has.sum(1, keepdims=True).clip(1), tokens / tokens.sum(1, keepdims=True).clip(1)
        places = [list(Modality).index(modality) for modality in reads]
        given = [mean_of("share", np.where(has[:, k], weights[:, k], np.nan)) for k in places]
        samples = resample(given, resamples=resamples, seed=seed)
        found = {
            modality: Share(
                share=Estimate.of_samples(one.value, drawn),
                even=_mean(even[has[:, k], k]),
                by_tokens=_mean(by_tokens[has[:, k], k]),
                num_videos=one.num_queries,
            )
            for modality, k, one, drawn in zip(reads, places, given, samples, strict=True)
        }
        return FusionWeights(method=self.method, shares=found)


@contextmanager
def watched(model: MatchModel, spaces: Sequence[str]) -> Iterator[dict[str, Weighed]]:
    """Collect the weights of the fusions of some spaces, for every batch that the document tower encodes meanwhile.

    A fusion that is watched reads each batch twice: for its codes, and for its weights.
    """
    found = {space: Weighed(model.settings.document.fusion.type) for space in spaces}
    with ExitStack() as hooks:
        for space, weighed in found.items():
            hooks.enter_context(model.document.fusions[space].register_forward_hook(_added_to(weighed)))
        yield found


def _added_to(weighed: Weighed) -> Callable[[Fusion, tuple[Tensor, Tensor, Tensor], Tensor], None]:
    def add(fusion: Fusion, inputs: tuple[Tensor, Tensor, Tensor], _codes: Tensor) -> None:
        weighed.add(fusion, *inputs)

    return add


def _mean(values: Float64) -> float | None:
    return float(values.mean()) if len(values) else None
