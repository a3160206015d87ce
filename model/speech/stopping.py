"""When a freely running voice stops."""

import torch
from torch import Tensor

# The attention-end rule: this many mel frames in a row on the end symbol (the text's last).
END_FRAMES = 10


class StopWatch:
    """Watches a batch step by step; each item stops at the first rule that holds for it.

    "gate": the gate says that the speech ended before this step. "attention": the end symbol had the
    largest weight for END_FRAMES. "limit": neither, within the item's limit of decoder steps.
    """

    def __init__(self, text_lengths: Tensor, limits: Tensor, r: int, gate_threshold: float) -> None:
        if not 0.0 < gate_threshold < 1.0:
            raise ValueError(f"gate threshold is {gate_threshold}, but must lie between 0 and 1")
        self._last, self._limits, self._threshold = text_lengths - 1, limits, gate_threshold
        self._end_steps = -(-END_FRAMES // r)
        self._on_end = torch.zeros_like(limits)
        self.steps = limits.clone()  # how many steps each item keeps
        self.reasons = ["limit"] * len(limits)
        self._running = torch.ones_like(limits, dtype=torch.bool)
        self.step = 0

    @property
    def all_stopped(self) -> bool:
        return not bool(self._running.any())

    def see(self, gate: Tensor, weights: Tensor) -> None:
        """gate: (B,) logits of this step; weights: (B, L) its attention."""
        on_end = weights.argmax(dim=1) == self._last
        self._on_end = torch.where(on_end, self._on_end + 1, 0)
        # A gate at step 0 would leave no speech at all: the first step is always kept.
        by_gate = self._running & (torch.sigmoid(gate) > self._threshold) & (self.step > 0)
        by_end = self._running & ~by_gate & (self._on_end >= self._end_steps)
        self._stop(by_gate, "gate", self.step)
        self._stop(by_end, "attention", self.step + 1)
        self.step += 1
        self._running &= self._limits > self.step

    def _stop(self, which: Tensor, reason: str, kept: int) -> None:
        self._running &= ~which
        for i in which.nonzero().flatten().tolist():
            self.reasons[i] = reason
            self.steps[i] = kept
