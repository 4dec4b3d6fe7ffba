# Copyright 2026 The AudioSlots-HF authors. All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""PyTorch voice encoder: a vector for each waveform of speech, whose cosine tells whether two come from one person."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, auto_docstring
from transformers.utils.output_capturing import capture_outputs

from .configuration_voice_encoder import VoiceEncoderConfig
from .stft import stft


# a first-order difference, against the tilt of speech
PREEMPHASIS = 0.97
# lower limit of the power of a band, relative to the mean of all: weaker bands, as above the band of a telephone, count as silent
FLOOR = 1e-5
# about half of the range of the logarithms, for inputs near 1
LOG_SCALE = 5.0
VARIANCE_FLOOR = 1e-4


@auto_docstring(custom_intro="Embeddings of voices.")
@dataclass
class VoiceEncoderOutput(ModelOutput):
    r"""
    embeddings (`torch.Tensor` of shape `(batch_size, embedding_size)`):
        Of length 1, in float32: the product of two is their cosine. Zeros where no frame has a weight.
    hidden_states (`tuple[torch.Tensor, ...]`, *optional*, returned when `output_hidden_states=True`):
        Input and output of the layers, each of shape `(batch_size, hidden_size, num_frames)`.
    """

    embeddings: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None


def mel_filters(num_bins: int, num_frequencies: int, sampling_rate: int, device: torch.device) -> torch.Tensor:
    """Triangles on the mel scale from 0 to half of the sampling rate, float32 (num_frequencies, num_bins)"""
    frequencies = torch.linspace(0, sampling_rate / 2, num_frequencies, dtype=torch.float32, device=device)
    mels = 2595 * (1 + frequencies / 700).log10()
    centers = torch.linspace(0, 1, num_bins + 2, dtype=torch.float32, device=device)[1:-1] * mels[-1]
    return (1 - (mels[:, None] - centers).abs() * (num_bins + 1) / mels[-1]).clamp(min=0)


def log_mel_spectrogram(
    waveforms: torch.Tensor, frame_weights: torch.Tensor, config: VoiceEncoderConfig
) -> torch.Tensor:
    """
    Log-mel spectrograms relative to the mean power of the weighted frames: the level of a waveform makes no difference.

    Always float32, and without buffers: `from_pretrained` would cast them.

    Args:
        waveforms (`torch.Tensor` of shape `(batch_size, num_samples)`):
            At the sampling rate of the configuration.
        frame_weights (`torch.Tensor` of shape `(batch_size, num_frames)`):
            One for two frames of the spectrogram.

    Returns:
        `torch.Tensor` of shape `(batch_size, 2 * num_frames, num_mel_bins)`, about -1.3 to 1.
    """
    waveforms = waveforms.float()
    # one scale for all samples, so that the squares neither vanish nor overflow
    waveforms = waveforms / waveforms.abs().amax(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    # a whole number of pairs of frames, also where silence follows the end
    waveforms = nn.functional.pad(waveforms, (0, 2 * frame_weights.shape[1] * config.hop_length - waveforms.shape[1]))
    waveforms = waveforms - PREEMPHASIS * nn.functional.pad(waveforms, (1, 0))[:, :-1]
    powers = stft(waveforms, config.n_fft, config.hop_length)[..., :-1].abs().square().transpose(1, 2)
    bands = powers @ mel_filters(config.num_mel_bins, powers.shape[-1], config.sampling_rate, powers.device)
    weights = frame_weights.float().repeat_interleave(2, dim=1)
    totals = (bands.mean(dim=-1) * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=VARIANCE_FLOOR)
    relative = bands / torch.where(totals > 0, totals, 1.0)[:, None, None]
    return 1 + (relative + FLOOR).log() / LOG_SCALE


class VoiceEncoderFrontEnd(nn.Module):
    """Two-dimensional convolutions, which find a formant wherever it lies, then one vector for each frame."""

    def __init__(self, config: VoiceEncoderConfig):
        super().__init__()
        channels = config.conv_channels
        self.conv1 = nn.Conv2d(1, channels, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, 2 * channels, 3, stride=(1, 2), padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(2 * channels)
        self.projection = nn.Conv1d(2 * channels * (config.num_mel_bins // 4), config.hidden_size, 1, bias=False)
        self.norm3 = nn.BatchNorm1d(config.hidden_size)

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch_size, 2 * num_frames, num_mel_bins), (batch_size, 1, num_frames) -> (batch_size, hidden_size, num_frames)"""
        hidden_states = nn.functional.relu(self.norm1(self.conv1(features.unsqueeze(1)))) * mask.unsqueeze(-1)
        hidden_states = nn.functional.relu(self.norm2(self.conv2(hidden_states)))
        # (batch_size, 2 * conv_channels, num_frames, num_mel_bins / 4) -> (batch_size, 2 * conv_channels * ..., num_frames)
        hidden_states = hidden_states.transpose(2, 3).flatten(1, 2)
        return nn.functional.relu(self.norm3(self.projection(hidden_states))) * mask


class VoiceEncoderLayer(nn.Module):
    """A dilated convolution along the frames, beside which its input passes."""

    def __init__(self, config: VoiceEncoderConfig, dilation: int):
        super().__init__()
        self.conv = nn.Conv1d(
            config.hidden_size, config.hidden_size, 3, dilation=dilation, padding=dilation, bias=False
        )
        self.norm = nn.BatchNorm1d(config.hidden_size)

    def forward(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch_size, hidden_size, num_frames), (batch_size, 1, num_frames) -> (batch_size, hidden_size, num_frames)"""
        return hidden_states + nn.functional.relu(self.norm(self.conv(hidden_states))) * mask


class VoiceEncoderPooling(nn.Module):
    """Attentive statistics (arXiv 1803.10963): mean and deviation over the frames, with weights for each channel."""

    def __init__(self, config: VoiceEncoderConfig):
        super().__init__()
        self.hidden = nn.Conv1d(config.pooling_size, config.attention_size, 1)
        self.score = nn.Conv1d(config.attention_size, config.pooling_size, 1)

    def forward(self, hidden_states: torch.Tensor, frame_weights: torch.Tensor) -> torch.Tensor:
        """(batch_size, pooling_size, num_frames), (batch_size, 1, num_frames) -> (batch_size, 2 * pooling_size)"""
        scores = self.score(torch.tanh(self.hidden(hidden_states))).float()
        weights = frame_weights * (scores - scores.amax(dim=-1, keepdim=True)).exp()
        weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        hidden_states = hidden_states.float()
        means = (weights * hidden_states).sum(dim=-1)
        variances = (weights * (hidden_states - means.unsqueeze(-1)).square()).sum(dim=-1)
        return torch.cat([means, variances.clamp(min=VARIANCE_FLOOR).sqrt()], dim=-1)


@auto_docstring
class VoiceEncoderPreTrainedModel(PreTrainedModel):
    config: VoiceEncoderConfig
    base_model_prefix = "voice_encoder"
    main_input_name = "input_values"
    input_modalities = ("audio",)
    # what stands in for token embeddings, where adapters let gradients begin
    _input_embed_layer = "front_end"
    _can_record_outputs = {"hidden_states": VoiceEncoderLayer}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        # Kaiming's scale: the default N(0, 0.02) starts nearly dead
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            bound = (3 / module.weight[0].numel()) ** 0.5
            init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                init.zeros_(module.bias)


@auto_docstring(custom_intro="A voice encoder: one embedding for each waveform of speech of 1 to 4 s.")
class VoiceEncoderModel(VoiceEncoderPreTrainedModel):
    def __init__(self, config: VoiceEncoderConfig):
        super().__init__(config)
        self.front_end = VoiceEncoderFrontEnd(config)
        self.layers = nn.ModuleList(VoiceEncoderLayer(config, 1 + index) for index in range(config.num_hidden_layers))
        self.expansion = nn.Conv1d(config.hidden_size, config.pooling_size, 1)
        self.pooling = VoiceEncoderPooling(config)
        self.pooling_norm = nn.BatchNorm1d(2 * config.pooling_size)
        self.embedding = nn.Linear(2 * config.pooling_size, config.embedding_size)
        self.post_init()

    @capture_outputs
    @auto_docstring
    def forward(
        self,
        input_values: torch.Tensor,
        frame_weights: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> VoiceEncoderOutput:
        r"""
        input_values (`torch.Tensor` of shape `(batch_size, num_samples)`):
            Speech of one voice each, at `config.sampling_rate`. The level makes no difference.
        frame_weights (`torch.Tensor` of shape `(batch_size, num_frames)`, *optional*):
            Weight of each frame, from 0 to 1; `config.num_frames` counts the frames, and frame `i` is centred at sample
            `i * config.frame_length`. Frames of weight 0 are ignored: padding, pauses, another voice. By default all count.
        """
        if frame_weights is None:
            frame_weights = input_values.new_ones(input_values.shape[0], self.config.num_frames(input_values.shape[1]))
        # float32 (batch_size, 1, num_frames)
        weights = frame_weights.float().unsqueeze(1)
        dtype = self.embedding.weight.dtype
        mask = (weights > 0).to(dtype)
        features = log_mel_spectrogram(input_values, frame_weights, self.config).to(dtype)
        # a frame of weight 0 is one beyond the edges
        features = features * mask.squeeze(1).repeat_interleave(2, dim=1).unsqueeze(-1)
        hidden_states = self.front_end(features, mask)
        for layer in self.layers:
            hidden_states = layer(hidden_states, mask)
        hidden_states = nn.functional.relu(self.expansion(hidden_states))
        statistics = self.pooling(hidden_states, weights)
        embeddings = self.embedding(self.pooling_norm(statistics.to(dtype))).float()
        is_heard = (frame_weights > 0).any(dim=1, keepdim=True)
        return VoiceEncoderOutput(embeddings=nn.functional.normalize(embeddings, dim=-1) * is_heard)


__all__ = ["VoiceEncoderModel", "VoiceEncoderOutput", "VoiceEncoderPreTrainedModel"]
