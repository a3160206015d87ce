"""What a voice is built with (Dimensions) and trained with (Settings).

Names are those of the public NVIDIA Tacotron 2 hyperparameters. Dimensions fix the shapes of
the weights and never change; Settings are read anew at every step, and only replaced as a whole.
"""

from dataclasses import dataclass, fields
from typing import Literal

VOCODER = "SMART_TUNER_VOCODER"  # in the environment: comes before that of a study
GRIFFIN_LIM = "griffin-lim"  # what the vocoder is called that needs no weights (model/speech/vocoder.py)

Precision = Literal["fp32", "tf32", "bf16"]
"""What products of float32 numbers are computed in while a voice is trained.

fp32: in full. tf32: on a GPU operands are rounded to 10 bits of mantissa, as NVIDIA's own figures for
training are measured; elsewhere as fp32. bf16: operands and results of products are rounded to 7 bits where
the device multiplies bfloat16 itself; elsewhere as tf32. Weights, optimizer and recurrent states are float32
with all, and so is everything that is spoken and measured.
"""
PRECISION: Precision = "tf32"  # where none is chosen


@dataclass(frozen=True)
class Dimensions:
    """Shapes of the network; the defaults are the full-size network of NVIDIA's code.

    The network sees mels as (mel - mel_mean) / mel_scale; 0 and 1 suit NVIDIA's weights.
    """

    n_symbols: int = 148
    n_mel_channels: int = 80
    max_frames_per_step: int = 1  # the largest n_frames_per_step that the weights can serve
    symbols_embedding_dim: int = 512
    encoder_kernel_size: int = 5
    encoder_n_convolutions: int = 3
    encoder_embedding_dim: int = 512
    prenet_dim: int = 256
    attention_rnn_dim: int = 1024
    attention_dim: int = 128
    attention_location_n_filters: int = 32
    attention_location_kernel_size: int = 31
    decoder_rnn_dim: int = 1024
    postnet_embedding_dim: int = 512
    postnet_kernel_size: int = 5
    postnet_n_convolutions: int = 5
    mel_mean: float = 0.0
    mel_scale: float = 1.0


SIZES = {
    "tiny": Dimensions(
        symbols_embedding_dim=64,
        encoder_n_convolutions=2,
        encoder_embedding_dim=64,
        prenet_dim=32,
        attention_rnn_dim=96,
        attention_dim=32,
        attention_location_n_filters=8,
        attention_location_kernel_size=15,
        decoder_rnn_dim=96,
        postnet_embedding_dim=48,
        postnet_n_convolutions=3,
        max_frames_per_step=4,
        mel_mean=-5.0,
        mel_scale=2.5,
    ),
    "small": Dimensions(
        symbols_embedding_dim=128,
        encoder_embedding_dim=128,
        prenet_dim=64,
        attention_rnn_dim=256,
        attention_dim=64,
        attention_location_n_filters=16,
        attention_location_kernel_size=31,
        decoder_rnn_dim=256,
        postnet_embedding_dim=128,
        max_frames_per_step=4,
        mel_mean=-5.0,
        mel_scale=2.5,
    ),
    "full": Dimensions(),
}


@dataclass(frozen=True)
class Settings:
    """What may change while a voice trains. Raises ValueError beyond LIMITS.

    Where no source is named, the default is that of NVIDIA's public code.
    """

    learning_rate: float = 1e-3
    warmup_steps: int = 50  # linear; Adam's first steps are large
    decay_start_step: int = 20_000  # the learning rate halves every decay_half_life steps from here:
    decay_half_life: int = 20_000  # late enough not to slow alignment
    adam_beta2: float = 0.999
    adam_eps: float = 1e-6  # Shen et al. 2017, section 3.1
    weight_decay: float = 1e-6  # Shen et al. 2017, section 2.2
    grad_clip_thresh: float = 1.0
    batch_size: int = 32  # smaller ones hurt alignment (Rayhane-mamah/Tacotron-2 issue 38)
    micro_batches: int = 1  # parts that a batch is computed in: the same step in less memory
    n_frames_per_step: int = 1
    mel_l1_weight: float = 1.0  # L1 beside NVIDIA's L2 keeps spectra sharper
    mel_l2_weight: float = 1.0
    gate_weight: float = 1.0
    gate_positive_weight: float = 5.0  # ends are rare: one step in some hundred
    guided_attention_weight: float = 1.0
    guided_attention_sigma: float = 0.2  # Tachibana et al. 2018, equation 7
    p_frame_dropout: float = 0.0  # share of true frames hidden from the decoder, so that it needs the text
    p_encoder_dropout: float = 0.5
    p_prenet_dropout: float = 0.5
    p_attention_dropout: float = 0.1
    p_decoder_dropout: float = 0.1
    p_postnet_dropout: float = 0.5

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:  # also refuses NaN
                raise ValueError(f"{name} is {value}, but must lie between {low} and {high}")


# The smallest and largest value that each setting may ever have.
LIMITS: dict[str, tuple[float, float]] = {
    "learning_rate": (1e-7, 1e-1),
    "warmup_steps": (1, 100_000),
    "decay_start_step": (0, 10_000_000),
    "decay_half_life": (1, 10_000_000),
    "adam_beta2": (0.5, 0.99999),
    "adam_eps": (1e-12, 1e-2),
    "weight_decay": (0.0, 1e-1),
    "grad_clip_thresh": (0.01, 1e4),
    "batch_size": (1, 1024),
    "micro_batches": (1, 64),
    "n_frames_per_step": (1, 16),
    "mel_l1_weight": (0.0, 100.0),
    "mel_l2_weight": (0.0, 100.0),
    "gate_weight": (0.0, 100.0),
    "gate_positive_weight": (0.01, 200.0),
    "guided_attention_weight": (0.0, 100.0),
    "guided_attention_sigma": (0.02, 2.0),
    "p_frame_dropout": (0.0, 0.95),
    "p_encoder_dropout": (0.0, 0.95),
    "p_prenet_dropout": (0.0, 0.95),
    "p_attention_dropout": (0.0, 0.95),
    "p_decoder_dropout": (0.0, 0.95),
    "p_postnet_dropout": (0.0, 0.95),
}
assert LIMITS.keys() == {field.name for field in fields(Settings)}
