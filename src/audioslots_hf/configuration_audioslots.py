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
"""AudioSlots model configuration."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig
from transformers.activations import ACT2FN
from transformers.utils import auto_docstring
from transformers.utils.type_validators import interval, positive_int_field

from .capabilities import ConfigCapabilities


@auto_docstring(checkpoint="audioslots/audioslots")
@strict
class AudioSlotsConfig(ConfigCapabilities, PreTrainedConfig):
    r"""
    sampling_rate (`int`, *optional*, defaults to 16000):
        Sampling rate of the audio the model separates, in hertz.
    chunk_length (`int`, *optional*, defaults to 8000):
        Number of samples the model sees at once (0.5 s in the paper). Must be a multiple of `hop_length`.
    n_fft (`int`, *optional*, defaults to 512):
        Size of the Fourier transform and of its Hann window, in samples. Must be at least twice `hop_length`.
    hop_length (`int`, *optional*, defaults to 125):
        Number of samples between two STFT frames.
    compression_exponent (`float`, *optional*, defaults to 0.3):
        Exponent of the power compression of STFT magnitudes: both the network's input and its regression target.
    num_slots (`int`, *optional*, defaults to 2):
        Number of slots, one per source.
    autoencoder (`bool`, *optional*):
        Whether the model is the paper's autoencoder: it reconstructs a single source instead of separating a mixture, and
        has one slot. Defaults to `True` for a model with one slot, so that checkpoints older than this field still load.
    encoder_hidden_sizes (`list[int]`, *optional*, defaults to `[64, 128, 256, 512]`):
        Width of each ResNet stage.
    encoder_depths (`list[int]`, *optional*, defaults to `[3, 4, 6, 3]`):
        Number of residual blocks of each ResNet stage.
    encoder_strides (`list[int]`, *optional*, defaults to `[1, 2, 2, 2]`):
        Stride of each ResNet stage. Their product divides the number of bins and the number of frames.
    num_groups (`int`, *optional*, defaults to 32):
        Number of groups of the encoder's group normalization. Must divide every width of `encoder_hidden_sizes`.
    slot_module (`str`, *optional*, defaults to `"transformer"`):
        Module that maps the encoded mixture to slots: `"transformer"` or `"slot_attention"`.
    num_slot_attention_iterations (`int`, *optional*, defaults to 3):
        Number of iterations of `slot_module="slot_attention"`, which shares its weights between them.
    head_dim (`int`, *optional*, defaults to 64):
        Width of one attention head: the width of the attention is separate from `hidden_size`.
    intermediate_size (`int`, *optional*, defaults to 1024):
        Width of the feed-forward network of the slot module.
    num_fourier_frequencies (`int`, *optional*, defaults to 8):
        Number of frequencies, powers of two, of the Fourier features of a position. Each coordinate gets the sine
        and the cosine of each. The highest of 8 turns by half a period from one of 256 bins to the next.
    decoder_hidden_size (`int`, *optional*, defaults to 512):
        Width of the fully connected network that maps a slot and a position to a magnitude.
    decoder_num_layers (`int`, *optional*, defaults to 4):
        Number of linear layers of that network, at least 2.
    decoder_inputs (`str`, *optional*, defaults to `"slots"`):
        Inputs of that network besides the position: `"slots"` as in the paper, where everything about a source goes through
        one vector, or `"slots_and_map"`, which adds the features of the mixture at the position, from the encoder's first layer.
    speaker_embedding_size (`int`, *optional*, defaults to 0):
        Size of an embedding of each slot that identifies its speaker across the chunks of a recording. With 0, as in the
        paper, the model has none.
    speaker_loss_weight (`float`, *optional*, defaults to 0.03):
        Weight of the contrastive loss of these embeddings, which is added to the mean squared error of the magnitudes.
    """

    model_type = "audioslots"
    estimates_domain = "compressed_magnitude"
    # the name shared by every family of this package
    attribute_map = {"num_sources": "num_slots"}
    # outputs that transformers' Trainer would otherwise collect over a whole evaluation
    keys_to_ignore_at_inference = ["speaker_embeddings", "last_hidden_state", "hidden_states", "attentions"]

    sampling_rate: int = positive_int_field(default=16000)
    chunk_length: int = positive_int_field(default=8000)
    n_fft: int = positive_int_field(default=512)
    hop_length: int = positive_int_field(default=125)
    compression_exponent: float = interval(min=0.0, max=1.0)(default=0.3)
    num_slots: int = positive_int_field(default=2)
    autoencoder: bool | None = None
    encoder_hidden_sizes: list[int] | tuple[int, ...] = (64, 128, 256, 512)
    encoder_depths: list[int] | tuple[int, ...] = (3, 4, 6, 3)
    encoder_strides: list[int] | tuple[int, ...] = (1, 2, 2, 2)
    num_groups: int = positive_int_field(default=32)
    slot_module: str = "transformer"
    num_slot_attention_iterations: int = positive_int_field(default=3)
    hidden_size: int = positive_int_field(default=4096)
    num_hidden_layers: int = positive_int_field(default=4)
    num_attention_heads: int = positive_int_field(default=4)
    head_dim: int = positive_int_field(default=64)
    intermediate_size: int = positive_int_field(default=1024)
    hidden_act: str = "relu"
    num_fourier_frequencies: int = positive_int_field(default=8)
    decoder_hidden_size: int = positive_int_field(default=512)
    decoder_num_layers: int = positive_int_field(default=4)
    decoder_inputs: str = "slots"
    speaker_embedding_size: int = interval(min=0)(default=0)
    speaker_loss_weight: float = interval(min=0.0)(default=0.03)
    layer_norm_eps: float = interval(min=0.0)(default=1e-5)

    def validate_architecture(self) -> None:
        """Part of `@strict`-powered validation: checks the fields against each other."""
        self._validate_spectrogram()
        self._validate_encoder()
        self._validate_decoder()
        self._validate_speakers()
        if self.autoencoder and self.num_slots != 1:
            raise ValueError(
                f"`num_slots` ({self.num_slots}) must be 1 with `autoencoder`: it reconstructs a single source."
            )
        if self.slot_module not in ("transformer", "slot_attention"):
            raise ValueError(f"`slot_module` ({self.slot_module!r}) must be 'transformer' or 'slot_attention'.")
        if self.hidden_act not in ACT2FN:
            raise ValueError(f"`hidden_act` ({self.hidden_act!r}) must be one of {', '.join(sorted(ACT2FN))}.")
        if self.layer_norm_eps <= 0.0:
            raise ValueError(f"`layer_norm_eps` ({self.layer_norm_eps}) must be greater than 0.")

    def _validate_decoder(self) -> None:
        if self.decoder_num_layers < 2:
            raise ValueError(f"`decoder_num_layers` ({self.decoder_num_layers}) must be at least 2.")
        if self.decoder_inputs not in ("slots", "slots_and_map"):
            raise ValueError(f"`decoder_inputs` ({self.decoder_inputs!r}) must be 'slots' or 'slots_and_map'.")

    def _validate_speakers(self) -> None:
        # the interval of transformers 5.17 ignores a lower bound of 0
        if self.speaker_embedding_size < 0:
            raise ValueError(
                f"`speaker_embedding_size` ({self.speaker_embedding_size}) must be at least 0; 0 means no embeddings."
            )
        if self.speaker_embedding_size > 0 and self.num_slots < 2:
            raise ValueError(
                f"`speaker_embedding_size` ({self.speaker_embedding_size}) must be 0 with `num_slots` {self.num_slots}: "
                "embeddings tell speakers from one another."
            )
        if self.speaker_loss_weight <= 0.0:
            raise ValueError(f"`speaker_loss_weight` ({self.speaker_loss_weight}) must be greater than 0.")

    def _validate_spectrogram(self) -> None:
        if self.compression_exponent <= 0.0:
            raise ValueError(f"`compression_exponent` ({self.compression_exponent}) must be greater than 0.")
        if self.n_fft % 2 != 0:
            raise ValueError(f"`n_fft` ({self.n_fft}) must be even.")
        if self.n_fft < 2 * self.hop_length:
            raise ValueError(
                f"`n_fft` ({self.n_fft}) must be at least twice `hop_length` ({self.hop_length}): "
                "otherwise the STFT cannot be inverted."
            )
        if self.chunk_length % self.hop_length != 0:
            raise ValueError(
                f"`chunk_length` ({self.chunk_length}) must be a multiple of `hop_length` ({self.hop_length})."
            )
        if self.chunk_length < self.n_fft:
            raise ValueError(f"`chunk_length` ({self.chunk_length}) must be at least `n_fft` ({self.n_fft}).")

    def _validate_encoder(self) -> None:
        sizes, depths, strides = self.encoder_hidden_sizes, self.encoder_depths, self.encoder_strides
        if not len(sizes) == len(depths) == len(strides) > 0:
            raise ValueError(
                f"`encoder_hidden_sizes` ({sizes}), `encoder_depths` ({depths}) and `encoder_strides` ({strides}) "
                "must have the same number of stages, at least one."
            )
        for name, values in (("sizes", sizes), ("depths", depths), ("strides", strides)):
            if min(values) < 1:
                field = "encoder_hidden_sizes" if name == "sizes" else f"encoder_{name}"
                raise ValueError(f"`{field}` ({values}) must hold positive integers.")
        if any(size % self.num_groups != 0 for size in sizes):
            raise ValueError(
                f"`num_groups` ({self.num_groups}) must divide every width in `encoder_hidden_sizes` ({sizes})."
            )
        if self.num_bins % self.encoder_stride != 0 or self.num_frames % self.encoder_stride != 0:
            raise ValueError(
                f"The product of `encoder_strides` ({strides}) must divide the {self.num_bins} bins and the "
                f"{self.num_frames} frames that follow from `n_fft`, `hop_length` and `chunk_length`."
            )

    @property
    def is_autoencoder(self) -> bool:
        """Whether the model reconstructs a single source instead of separating a mixture."""
        return self.num_slots == 1 if self.autoencoder is None else self.autoencoder

    @property
    def num_bins(self) -> int:
        """Number of frequency bins the network sees: the Nyquist bin is dropped."""
        return self.n_fft // 2

    @property
    def num_frames(self) -> int:
        """Number of STFT frames of one chunk."""
        return self.chunk_length // self.hop_length

    @property
    def num_iterations(self) -> int:
        """Number of passes through the slot module's layers."""
        return self.num_slot_attention_iterations if self.slot_module == "slot_attention" else 1

    @property
    def num_recorded_layers(self) -> int:
        """Number of times that a layer updates the slots: so many hidden states follow the queries."""
        return self.num_iterations if self.slot_module == "slot_attention" else self.num_hidden_layers

    @property
    def encoder_stride(self) -> int:
        """Total stride of the encoder, along frequency and along time."""
        stride = 1
        for stage_stride in self.encoder_strides:
            stride *= stage_stride
        return stride


__all__ = ["AudioSlotsConfig"]
