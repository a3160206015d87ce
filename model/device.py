"""Where a voice is trained, and what its products are computed in there."""

import torch

from model.settings import Precision


def use_precision(precision: Precision) -> None:
    """Let this process's GPUs multiply and convolve float32 numbers so from now on."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
