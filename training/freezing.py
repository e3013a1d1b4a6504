"""What a stage trains and what it leaves alone."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from torch import nn

from mmsearch.errors import ConfigError
from mmsearch.models.parts import in_part
from training.learner import Learner


class Freezing:
    """Parameters that a stage does not train; their modules also stay in eval mode (no dropout, fixed statistics).

    Args:
        learner: what is trained. All its parameters are made trainable first.
        train: beginnings of the names of what is trained; empty = all.
        freeze: beginnings of the names of what is not.
        unreached: beginnings of the names that no task of the stage gives a gradient (`training.reach`). A tied
            parameter is left out only if none of its names is reached.

    Raises:
        ConfigError: no parameter's name begins so.
    """

    def __init__(
        self, learner: Learner, train: Sequence[str], freeze: Sequence[str], unreached: Sequence[str] = ()
    ) -> None:
        self._learner = learner
        names_of: dict[nn.Parameter, list[str]] = {}
        for name, parameter in learner.model.named_parameters(remove_duplicate=False):
            names_of.setdefault(parameter, []).append(name)
        names = [name for tied in names_of.values() for name in tied]
        for prefix in (*train, *freeze):
            _check(prefix, names)
        learner.requires_grad_(True)
        for parameter, tied in names_of.items():
            kept = not train or any(in_part(name, train) for name in tied)
            frozen = any(in_part(name, freeze) for name in tied)
            reached = not all(name.startswith(tuple(unreached)) for name in tied)
            parameter.requires_grad_(kept and reached and not frozen)
        self._still = [module for module in learner.modules() if _is_still(module)]

    def train_mode(self) -> None:
        """Put what is trained into training mode, and what is frozen into eval mode."""
        self._learner.train()
        for module in self._still:
            module.eval()


def _is_still(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)


def _check(prefix: str, names: Sequence[str]) -> None:
    if any(in_part(name, [prefix]) for name in names):
        return
    depth = prefix.count(".") + 1
    known = sorted({".".join(name.split(".")[:depth]) for name in names})
    near = get_close_matches(prefix, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known[:12])}"
    raise ConfigError(f"train/freeze: no parameter's name begins with '{prefix}'; {hint}")
