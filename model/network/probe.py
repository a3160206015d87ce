"""A probe of the parts of a network around one optimizer step: their gradients and changes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class GroupMeasures:
    """One step of a part of the network."""

    gradient_rms: float  # before clipping
    update: float  # log10 of the root mean square of the change over that of the weights
    silent: int  # tensors without gradient: None, or exactly zero
    unchanged: int  # tensors that a gradient reached and that did not change


class Probe:
    """What a step does to each part. Made when gradients are there and not yet clipped; read after it."""

    def __init__(self, groups: Mapping[str, Sequence[nn.Parameter]]) -> None:
        self._groups = groups
        self._weights = {name: [p.detach().clone() for p in group] for name, group in groups.items()}
        self._gradients = {
            name: torch.stack([p.new_zeros(()) if p.grad is None else p.grad.norm() for p in group])
            for name, group in groups.items()
        }

    def compared(self) -> dict[str, GroupMeasures]:
        rows = torch.stack([self._row(name, group) for name, group in self._groups.items()])
        return {
            name: GroupMeasures(
                gradient / math.sqrt(sum(p.numel() for p in group)),
                math.log10(max(share, 1e-30)),
                int(silent),
                int(unchanged),
            )
            for (name, group), (gradient, share, silent, unchanged) in zip(
                self._groups.items(), rows.tolist(), strict=True
            )
        }

    def _row(self, name: str, group: Sequence[nn.Parameter]) -> Tensor:
        """A group's norm of the gradient, share of change, silent and unchanged tensors (4,)."""
        gradient, before = self._gradients[name], self._weights[name]
        change = _norms(torch._foreach_sub([p.detach() for p in group], before))
        share = change.norm() / _norms(before).norm().clamp(min=1e-30)
        silent, unchanged = (gradient == 0).sum(), ((gradient > 0) & (change == 0)).sum()
        return torch.stack((gradient.norm(), share, silent.to(share.dtype), unchanged.to(share.dtype)))


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(torch._foreach_norm(list(tensors))))
