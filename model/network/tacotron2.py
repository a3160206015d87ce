"""Tacotron 2 (Shen et al. 2017, arXiv 1712.05884) in reading order: text to mel spectrogram.

Weights carry the names of NVIDIA's public state dict. One step of the decoder makes r mel frames;
the projection is built for the largest r (max_frames_per_step) and r uses its first 80·r rows. The
prenet sees the last frame of the step before, so no other shape depends on r.

Shapes: B batch, L symbols, T decoder steps, F = T·r mel frames, r frames a step. Lengths and masks of true
positions lie on the host, which makes shapes of them; a GPU gets copies and is never waited for.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.device import sent
from model.network.attention import (
    AttendedText,
    AttentionLayer,
    GateWeights,
    attend,
    by_step,
    recurrent_lstm,
)
from model.network.layers import ConvStack, LinearNorm, true_positions
from model.network.products import Dropout, Packed, draw_dropout, dropped_relu, linear
from model.settings import Dimensions, Settings
from model.speech.audio import SILENCE
from model.speech.stopping import STEPS_PER_READ, StopWatch

# Frames beyond the end on which the gate still learns to stay open (coqui-ai/TTS issue 1192).
TAIL_FRAMES = 12


@dataclass(frozen=True)
class Prediction:
    """What a teacher-forced pass predicts; mels in natural-log magnitude."""

    mels_before: Tensor  # (B, F, 80) before the postnet
    mels: Tensor  # (B, F, 80)
    gates: Tensor  # (B, T) logits of "the speech has ended before this step"
    alignments: Tensor  # (B, T, L)


@dataclass(frozen=True)
class Synthesis:
    """What free running produced, item by item, on the host; every item cut where it stopped."""

    mels: list[Tensor]  # (F, 80) each
    alignments: list[Tensor]  # (S, L) each
    stops: list[str]  # "gate", "attention" or "limit"


def decoder_steps(mel_lengths: Tensor, r: int) -> Tensor:
    """How many decoder steps the true frames of each item take: ceil(F / r)."""
    return (mel_lengths + r - 1) // r


class Encoder(nn.Module):
    def __init__(self, d: Dimensions) -> None:
        super().__init__()
        widths = [d.symbols_embedding_dim] + [d.encoder_embedding_dim] * d.encoder_n_convolutions
        self.convolutions = ConvStack(widths, d.encoder_kernel_size, ["relu"] * d.encoder_n_convolutions)
        self.lstm = nn.LSTM(
            d.encoder_embedding_dim, d.encoder_embedding_dim // 2, batch_first=True, bidirectional=True
        )

    def forward(self, x: Tensor, lengths: Tensor, p_dropout: float) -> Tensor:
        mask = true_positions(lengths, x.shape[1])
        x = self.convolutions(x * sent(mask, x.device).unsqueeze(2), mask, p_dropout)  # (B, L, E)
        lengths, order = torch.sort(lengths, descending=True)  # enforce_sorted=False would wait for a GPU
        x = x.index_select(0, sent(order, x.device))
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        outputs, _ = self.lstm(packed)
        memory, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=x.shape[1])
        return memory.index_select(0, sent(order.argsort(), x.device))  # (B, L, E), zero at padding


class Prenet(nn.Module):
    """Two layers whose dropout stays on when speaking (NVIDIA/tacotron2 issue 174)."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(LinearNorm(n, dim, bias=False) for n in (in_dim, dim))

    def forward(self, x: Tensor, p_dropout: float, masks: Tensor | None = None) -> Tensor:
        """x: (..., 80). masks: (2, ..., P) scaled; None draws them from torch's generator."""
        for i, layer in enumerate(self.layers):
            x = layer(x)
            x = dropped_relu(x, p_dropout) if masks is None else torch.relu(x) * masks[i]
        return x

    def dead(self, x: Tensor) -> Tensor:
        """Share of a layer's units that none of the frames x (..., 80) makes larger than zero, of the worse
        of both layers: what one does not let through, the other never gets."""
        alive = []
        for layer in self.layers:
            x = torch.relu(layer(x))
            alive.append((x.flatten(0, -2).amax(dim=0) > 0).float().mean())
        return 1.0 - torch.stack(alive).amin()


class Decoder(nn.Module):
    def __init__(self, d: Dimensions) -> None:
        super().__init__()
        self.n_mel_channels = d.n_mel_channels
        self.prenet = Prenet(d.n_mel_channels, d.prenet_dim)
        self.attention_rnn = nn.LSTMCell(d.prenet_dim + d.encoder_embedding_dim, d.attention_rnn_dim)
        self.attention_layer = AttentionLayer(
            d.attention_rnn_dim,
            d.encoder_embedding_dim,
            d.attention_dim,
            d.attention_location_n_filters,
            d.attention_location_kernel_size,
        )
        self.decoder_rnn = nn.LSTMCell(d.attention_rnn_dim + d.encoder_embedding_dim, d.decoder_rnn_dim)
        out_dim = d.decoder_rnn_dim + d.encoder_embedding_dim
        self.linear_projection = LinearNorm(out_dim, d.n_mel_channels * d.max_frames_per_step)
        self.gate_layer = LinearNorm(out_dim, 1, gain="sigmoid")

    def attended(self, memory: Tensor, lengths: Tensor) -> AttendedText:
        return AttendedText(
            memory,
            self.attention_layer.memory_layer(memory),
            self.attention_layer.location_layer.kernel(),
            sent(~true_positions(lengths, memory.shape[1]), memory.device),
        )

    def _attention_weights(self) -> GateWeights:
        cell = self.attention_rnn
        prenet_dim = cell.input_size - self.attention_layer.memory_layer.linear_layer.in_features
        from_prenet, from_context = cell.weight_ih[:, :prenet_dim], cell.weight_ih[:, prenet_dim:]
        recurrent = torch.cat((cell.weight_hh, from_context), dim=1)
        return GateWeights(from_prenet, cell.bias_ih + cell.bias_hh, recurrent)

    def _project(self, features: Tensor, r: int) -> tuple[Tensor, Tensor]:
        """Mel frames (..., 80·r) and gate logits (...) from [hidden, context]."""
        rows = self.n_mel_channels * r
        layer = self.linear_projection.linear_layer
        mels = linear(features, layer.weight[:rows], layer.bias[:rows])
        return mels, self.gate_layer(features).squeeze(-1)

    def forward(
        self, frames: Tensor, text: AttendedText, settings: Settings, prenet_masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Teacher-forced: frames (T, B, 80), each step's input. Mels (B, T·r, 80), gates, alignments."""
        s, width = settings, self.attention_rnn.hidden_size
        inputs = self.prenet(frames, s.p_prenet_dropout, prenet_masks)  # (T, B, P)
        dropout = self._recurrent_dropout(inputs, width, s.p_attention_dropout)
        states, alignments = attend(self.attention_layer, self._attention_weights(), inputs, dropout, text)
        cell = self.decoder_rnn
        weights = GateWeights(cell.weight_ih, cell.bias_ih + cell.bias_hh, cell.weight_hh)
        dropout = self._recurrent_dropout(inputs, cell.hidden_size, s.p_decoder_dropout)
        features = recurrent_lstm(weights, states, states.shape[2] - width, dropout)
        mels, gates = self._project(features, s.n_frames_per_step)
        mels = mels.transpose(0, 1).reshape(frames.shape[1], -1, self.n_mel_channels)
        return mels, gates.transpose(0, 1), alignments.transpose(0, 1)

    def _recurrent_dropout(self, inputs: Tensor, width: int, p: float) -> Dropout | None:
        if not self.training or p == 0.0:
            return None
        return draw_dropout((*inputs.shape[:2], width), p, inputs.device)


class FreeRunning:
    """The decoder fed with its own frames, one step at a time; weights are laid out once."""

    @torch.no_grad()
    def __init__(self, decoder: Decoder, text: AttendedText, r: int, weights: torch.dtype) -> None:
        self._r, self._n_mels = r, decoder.n_mel_channels
        (batch, _, width), zeros = text.memory.shape, text.memory.new_zeros
        layer, attention, rnn = decoder.attention_layer, decoder.attention_rnn, decoder.decoder_rnn

        def packed(weight: Tensor, bias: Tensor | None = None) -> Packed:
            return Packed(weight.to(weights), batch, bias)

        self._to_prenet = [Packed(weight, batch) for weight in decoder.prenet.parameters()]
        self._to_attention, self._to_rnn = (
            packed(torch.cat((cell.weight_ih, cell.weight_hh), dim=1), cell.bias_ih + cell.bias_hh)
            for cell in (attention, rnn)
        )
        mels, gate = decoder.linear_projection.linear_layer, decoder.gate_layer.linear_layer
        rows = self._n_mels * r
        self._to_output = packed(
            torch.cat((mels.weight[:rows], gate.weight)), torch.cat((mels.bias[:rows], gate.bias))
        )
        computed_by = by_step(text.memory)
        self._attention_cell, self._rnn_cell = (
            computed_by.Cell(text.memory, batch, cell.hidden_size) for cell in (attention, rnn)
        )
        query, v = layer.query_layer.linear_layer.weight, layer.v.linear_layer.weight.squeeze(0)
        self._attend = computed_by.Attention(query, text.keys, text.memory, text.kernel, v, text.padding)
        self._hidden, self._rnn_hidden = zeros(batch, attention.hidden_size), zeros(batch, rnn.hidden_size)
        self._context, self._frame = zeros(batch, width), zeros(batch, self._n_mels)

    @torch.no_grad()
    def step(self, prenet_masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Masks (2, B, P). Returns frames (B, r, 80), gate logits (B,), attention weights (B, L)."""
        x = self._frame
        for to_prenet, mask in zip(self._to_prenet, prenet_masks, strict=True):
            x = to_prenet(x).relu_().mul_(mask)
        gates = self._to_attention(torch.cat((x, self._context, self._hidden), dim=1))
        self._hidden = self._attention_cell(gates)
        weights, self._context = self._attend(self._hidden)
        gates = self._to_rnn(torch.cat((self._hidden, self._context, self._rnn_hidden), dim=1))
        self._rnn_hidden = self._rnn_cell(gates)
        output = self._to_output(torch.cat((self._rnn_hidden, self._context), dim=1))
        frames = output[:, :-1].reshape(-1, self._r, self._n_mels)
        self._frame = frames[:, -1]
        return frames, output[:, -1], weights


class Postnet(nn.Module):
    def __init__(self, d: Dimensions) -> None:
        super().__init__()
        between = d.postnet_n_convolutions - 1
        widths = [d.n_mel_channels] + [d.postnet_embedding_dim] * between + [d.n_mel_channels]
        self.convolutions = ConvStack(widths, d.postnet_kernel_size, ["tanh"] * between + ["linear"])

    def forward(self, mels: Tensor, mask: Tensor, p_dropout: float) -> Tensor:
        """mels (B, F, 80); mask (B, F) on the host."""
        x = mels * sent(mask, mels.device).unsqueeze(2)
        residual: Tensor = self.convolutions(x, mask, p_dropout)
        return residual


GROUPS = {
    "embedding": ("embedding.",),
    "encoder_convolutions": ("encoder.convolutions.",),
    "encoder_lstm": ("encoder.lstm.",),
    "prenet": ("decoder.prenet.",),
    "attention": ("decoder.attention_rnn.", "decoder.attention_layer."),
    "decoder": ("decoder.decoder_rnn.",),
    "projection": ("decoder.linear_projection.",),
    "gate": ("decoder.gate_layer.",),
    "postnet": ("postnet.",),
}


class Tacotron2(nn.Module):
    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.embedding = nn.Embedding(dimensions.n_symbols, dimensions.symbols_embedding_dim)
        bound = (6.0 / (dimensions.n_symbols + dimensions.symbols_embedding_dim)) ** 0.5
        nn.init.uniform_(self.embedding.weight, -bound, bound)
        self.encoder = Encoder(dimensions)
        self.decoder = Decoder(dimensions)
        self.postnet = Postnet(dimensions)

    def forward(
        self,
        text: Tensor,  # (B, L) ids
        text_lengths: Tensor,  # (B,) on the host
        mels: Tensor,  # (B, F', 80)
        mel_lengths: Tensor,  # (B,) on the host
        settings: Settings,
        prenet_masks: Tensor | None = None,  # (2, T, B, P)
    ) -> Prediction:
        """Predict every step from the true frames before it; T covers the longest item and its tail."""
        d, r = self.dimensions, settings.n_frames_per_step
        steps = int(decoder_steps(mel_lengths, r).max()) + -(-TAIL_FRAMES // r)
        frames = F.pad(mels, (0, 0, 0, steps * r - mels.shape[1]), value=SILENCE)
        last = self.normalised(frames[:, r - 1 :: r])  # (B, T, 80)
        inputs = F.pad(last[:, :-1], (0, 0, 1, 0)).transpose(0, 1)  # (T, B, 80): a zero frame starts
        if self.training and settings.p_frame_dropout:  # no draw otherwise: masks stay as they were
            kept = torch.rand_like(inputs[:, :, :1]) >= settings.p_frame_dropout
            inputs = inputs * kept
        memory = self.encode(text, text_lengths, settings)
        attended = self.decoder.attended(memory, text_lengths)
        before, gates, alignments = self.decoder(inputs, attended, settings, prenet_masks)
        mask = true_positions(mel_lengths, before.shape[1])
        after = before + self.postnet(before, mask, settings.p_postnet_dropout)
        return Prediction(
            before * d.mel_scale + d.mel_mean, after * d.mel_scale + d.mel_mean, gates, alignments
        )

    def encode(self, text: Tensor, text_lengths: Tensor, settings: Settings) -> Tensor:
        memory: Tensor = self.encoder(self.embedding(text), text_lengths, settings.p_encoder_dropout)
        return memory  # (B, L, E)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """The trainable parts by name. The biases before batch normalisation are in none: their true
        gradient is zero."""
        found: dict[str, list[nn.Parameter]] = {group: [] for group in GROUPS}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad and not name.endswith("conv.bias"):
                group = next(g for g, starts in GROUPS.items() if name.startswith(starts))
                found[group].append(parameter)
        return found

    def normalised(self, mels: Tensor) -> Tensor:
        return (mels - self.dimensions.mel_mean) / self.dimensions.mel_scale

    @torch.no_grad()
    def synthesise(
        self,
        text: Tensor,  # (B, L)
        text_lengths: Tensor,  # (B,) on the host
        settings: Settings,
        prenet_masks: Tensor,  # (T, 2, B, P), T the largest limit
        limits: Tensor,  # (B,) decoder steps, on the host
        gate_threshold: float = 0.5,
        weights: torch.dtype | None = None,  # of the decoder's large products; None leaves them as they are
    ) -> Synthesis:
        """Speak freely. An item stops at its gate, when its attention rests on the end, or at its limit."""
        self.eval()
        r = settings.n_frames_per_step
        attended = self.decoder.attended(self.encode(text, text_lengths, settings), text_lengths)
        decoder = FreeRunning(self.decoder, attended, r, weights or attended.memory.dtype)
        every = 1 if text.device.type == "cpu" else STEPS_PER_READ
        watch = StopWatch(text_lengths, limits, r, gate_threshold, every)
        frames, rows = [], []
        while not watch.all_stopped:
            made, gate, row = decoder.step(prenet_masks[watch.step])
            frames.append(made)
            rows.append(row)
            watch.see(gate, row)
        before = torch.cat(frames[: watch.needed], dim=1)
        alignments = torch.stack(rows[: watch.needed], dim=1).cpu()
        lengths = watch.steps * r
        mask = true_positions(lengths, before.shape[1])
        after = before + self.postnet(before, mask, settings.p_postnet_dropout)
        after = (after * self.dimensions.mel_scale + self.dimensions.mel_mean).cpu()
        return Synthesis(
            [mel[:n] for mel, n in zip(after, lengths.tolist(), strict=True)],
            [
                a[:s, :n]
                for a, s, n in zip(alignments, watch.steps.tolist(), text_lengths.tolist(), strict=True)
            ],
            watch.reasons,
        )
