"""When a freely running voice stops."""

from collections.abc import Sequence

import torch
from torch import Tensor

# The attention-end rule: this many mel frames in a row on the end symbol (the text's last).
END_FRAMES = 10
# How often a GPU is asked whether all have stopped: each time the host waits for it.
STEPS_PER_READ = 16


class StopWatch:
    """Watches a batch step by step; each item stops at the first rule that holds for it.

    "gate": the gate says that the speech ended before this step. "attention": the end symbol had the
    largest weight for END_FRAMES. "limit": neither, within the item's limit of decoder steps.

    It looks at what it was shown after every `every` steps, so up to every - 1 steps are shown in vain.
    """

    def __init__(
        self, text_lengths: Tensor, limits: Tensor, r: int, gate_threshold: float, every: int = 1
    ) -> None:
        """text_lengths and limits: (B,) on the host."""
        if not 0.0 < gate_threshold < 1.0:
            raise ValueError(f"gate threshold is {gate_threshold}, but must lie between 0 and 1")
        self._threshold, self._every, self._end_steps = gate_threshold, every, -(-END_FRAMES // r)
        self._ends: list[int] = (text_lengths - 1).tolist()
        self._limits: list[int] = limits.tolist()
        self._on_end = [0] * len(limits)
        self._running = set(range(len(limits)))
        self._unread: list[tuple[Tensor, Tensor]] = []
        self.steps = limits.clone()  # how many steps each item keeps
        self.reasons = ["limit"] * len(limits)
        self.step = 0  # how many it was shown
        self.needed = 0  # how many of them it took until all had stopped

    @property
    def all_stopped(self) -> bool:
        return not self._running

    def see(self, gate: Tensor, weights: Tensor) -> None:
        """gate: (B,) logits of this step; weights: (B, L) its attention. Both must stay as they are."""
        self._unread.append((gate, weights))
        self.step += 1
        if len(self._unread) == self._every or self.step >= max(self._limits):
            self._read()

    def _read(self) -> None:
        gates, weights = (torch.stack(column) for column in zip(*self._unread, strict=True))
        opened, attended = torch.sigmoid(gates) > self._threshold, weights.argmax(dim=2)
        for gate, at in torch.stack((opened.long(), attended), dim=1).tolist():
            if self._running:
                self._judge(gate, at)
        self._unread.clear()

    def _judge(self, opened: Sequence[int], attended: Sequence[int]) -> None:
        """One step of all items: whether the gate opened, and which symbol had the largest weight."""
        step, self.needed = self.needed, self.needed + 1
        for i in tuple(self._running):
            self._on_end[i] = self._on_end[i] + 1 if attended[i] == self._ends[i] else 0
            # A gate at step 0 would leave no speech at all: the first step is always kept.
            if opened[i] and step > 0:
                self._stop(i, "gate", step)
            elif self._on_end[i] >= self._end_steps:
                self._stop(i, "attention", step + 1)
            elif step + 1 >= self._limits[i]:
                self._running.remove(i)

    def _stop(self, item: int, reason: str, kept: int) -> None:
        self._running.remove(item)
        self.reasons[item], self.steps[item] = reason, kept
