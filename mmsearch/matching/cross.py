"""The cross-encoder: a query and a video read together, in one stream of tokens, to one score.

It sees which word meets which region of which picture, where two towers only compare what they made apart. So it cannot
be searched: every (query, video) pair costs a pass. It reranks short lists, and tells how much the towers leave behind.

Letters: R pairs, L tokens of a query, N tokens of a video, W width.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from mmsearch.config import Settings
from mmsearch.nn import Transformer, zero_masked
from mmsearch.types import Modality


class CrossEncoderSettings(Settings):
    """Sizes of a cross-encoder."""

    depth: int = Field(default=3, ge=1)
    """Layers over the tokens of both."""
    heads: int = Field(default=12, ge=1)
    """Attention heads; they divide the width of the fusion."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout inside the layers."""
    add_vectors: bool = True
    """Add the score of the vectors (the teacher's, in `content`, where the model has that space): it then learns what
    they miss and starts from their order, which takes far fewer pairs than to learn matching from nothing."""

    def build(self, query_width: int, width: int) -> CrossEncoder:
        """Make the cross-encoder for query tokens and video tokens of these widths, with random weights."""
        return CrossEncoder(query_width, width, depth=self.depth, heads=self.heads, dropout=self.dropout)


class CrossEncoder(nn.Module):
    """Score pairs of a query and a video by one transformer over the tokens of both (a single stream).

    A learned score token stands in front, then the query's tokens, then the video's; every token is marked by a type
    embedding, one for each modality and one for the query. A linear head reads the score off the score token. As in
    UNITER (arXiv:1909.11740), but over the tokens of towers, which have read each text and picture by itself already:
    videos are encoded once, whatever the number of queries.

    Args:
        query_width: components of a query token; they are projected to `width`.
        width: W.
        depth: layers.
        heads: attention heads.
        dropout: inside the layers.
    """

    def __init__(self, query_width: int, width: int, *, depth: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.score_token = nn.Parameter(torch.randn(width) * 0.02)
        self.type_embed = nn.Embedding(len(Modality) + 1, width)
        self.from_query = nn.Sequential(nn.LayerNorm(query_width), nn.Linear(query_width, width))
        self.transformer = Transformer(width, depth, heads, dropout=dropout)
        self.head = nn.Linear(width, 1, bias=False)  # losses compare scores: a bias would never learn
        nn.init.normal_(self.type_embed.weight, std=0.02)

    def forward(
        self, query: Tensor, query_mask: Tensor, document: Tensor, document_mask: Tensor, modality: Tensor
    ) -> Tensor:
        """Score pairs.

        Args:
            query: [R, L, query_width]; what stands at masked places, here and below, has no influence.
            query_mask: True where a token is real, [R, L].
            document: [R, N, W].
            document_mask: True where a token is real, [R, N].
            modality: number of the modality (its place in `Modality`) of each video token, [N].

        Returns:
            [R], any real number, the higher the better; only differences mean something. A query or video without any
            token has a score, too, which says nothing.
        """
        first = self.score_token.expand(len(query), 1, -1)
        asked = self.from_query(zero_masked(query, query_mask)) + self.type_embed(modality.new_tensor(len(Modality)))
        tokens = torch.cat([first, asked, document + self.type_embed(modality)], 1)
        always = query_mask.new_ones(len(query), 1)
        read: Tensor = self.transformer(tokens, torch.cat([always, query_mask, document_mask], 1))
        scores: Tensor = self.head(read[:, 0]).squeeze(-1)
        return scores
