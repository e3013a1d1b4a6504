"""Run a language model on examples: the loss of its answers, and the answers it gives."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmsearch.extras import require
from training.learner import Precision
from training.sft.examples import IGNORED, Example, pad


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Give the context of a precision."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def answer_loss(model: Any, examples: Sequence[Example], precision: Precision = "fp32") -> Tensor:
    """Give the sum of -ln p over the tokens of the answers; what stands in the prompts is read, not learned.

    Logits are computed where answers stand alone: those of all places would take (tokens) x (vocabulary) numbers.
    """
    device = model.device
    tokens = pad(examples, answers=True, device=device)
    with autocast(device, precision):
        logits = model(
            input_ids=tokens.ids,
            attention_mask=tokens.mask,
            position_ids=tokens.positions,
            use_cache=False,
            logits_to_keep=tokens.targets.shape[1] + 1,
        ).logits
    told = logits[:, :-1].float()  # each place tells the token behind it
    return F.cross_entropy(told.flatten(0, 1), tokens.targets.flatten(), ignore_index=IGNORED, reduction="sum")


@torch.inference_mode()
def answers(
    model: Any, tokenizer: Any, examples: Sequence[Example], max_tokens: int, precision: Precision = "fp32"
) -> list[str]:
    """Give what a model answers: the likeliest token each time (greedy decoding), up to `max_tokens`."""
    device = model.device
    tokens = pad(examples, answers=False, device=device)
    end = tokenizer.eos_token_id
    greedy = require("transformers", extra="sft").GenerationConfig(
        do_sample=False, max_new_tokens=max_tokens, eos_token_id=end, pad_token_id=end
    )
    with autocast(device, precision):
        made = model.generate(input_ids=tokens.ids, attention_mask=tokens.mask, generation_config=greedy)
    texts: list[str] = tokenizer.batch_decode(made[:, tokens.ids.shape[1] :], skip_special_tokens=True)
    return texts
