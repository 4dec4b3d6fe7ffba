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
"""SlotGALR model configuration."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig
from transformers.utils import auto_docstring
from transformers.utils.type_validators import interval, positive_int_field

from .capabilities import ConfigCapabilities


@auto_docstring(checkpoint="audioslots/slot-galr")
@strict
class SlotGalrConfig(ConfigCapabilities, PreTrainedConfig):
    r"""
    sampling_rate (`int`, *optional*, defaults to 16000):
        Sampling rate of the audio the model separates, in hertz.
    chunk_length (`int`, *optional*, defaults to 64000):
        Number of samples the model sees at once. Must be a multiple of `hop_length`.
    n_fft (`int`, *optional*, defaults to 512):
        Size of the Fourier transform and of its Hann window, in samples.
    hop_length (`int`, *optional*, defaults to 160):
        Number of samples between two STFT frames, at most half of `n_fft`.
    compression_exponent (`float`, *optional*, defaults to 0.3):
        Exponent of the power compression of the STFT magnitudes that the network sees.
    band_widths (`list[int]`, *optional*, defaults to `[2, 4, 8, 16]`):
        Numbers of frequency bins of the bands, in groups from low to high frequencies.
    num_bands_per_width (`list[int]`, *optional*, defaults to `[16, 8, 8, 8]`):
        Number of bands of each group. All bands together must cover the `n_fft / 2` bins below the Nyquist bin.
    num_slots (`int`, *optional*, defaults to 2):
        Number of slots, at least the number of sources of a mixture and at least 2.
    slot_module (`str`, *optional*, defaults to `"transformer"`):
        Module that turns the map into slots: `"transformer"` or `"slot_attention"`.
    num_slot_attention_iterations (`int`, *optional*, defaults to 3):
        Number of iterations of `slot_module="slot_attention"`, which shares its weights between them.
    sequential_slots (`bool`, *optional*, defaults to `False`):
        Whether the slots of a chunk start those of the next chunk of the recording, so that the order of the estimates is the
        model's own. Experimental.
    hidden_size (`int`, *optional*, defaults to 128):
        Width of a slot.
    head_dim (`int`, *optional*, defaults to 16):
        Width of one attention head of the slot module.
    intermediate_size (`int`, *optional*, defaults to 256):
        Width of the feed-forward network of the slot module.
    num_fourier_frequencies (`int`, *optional*, defaults to 4):
        Number of frequencies of the Fourier features that encode the position of a cell for the slot module.
    map_hidden_size (`int`, *optional*, defaults to 64):
        Width of the map, which has one vector per band and frame.
    map_intermediate_size (`int`, *optional*, defaults to 96):
        Width of the gated convolutions of the map.
    map_num_attention_heads (`int`, *optional*, defaults to 4):
        Number of attention heads of the map.
    num_map_layers (`int`, *optional*, defaults to 6):
        Number of layers before the slots, on the map of the mixture.
    num_source_layers (`int`, *optional*, defaults to 2):
        Number of layers after the slots, on the map of each source.
    band_kernel_size (`int`, *optional*, defaults to 3):
        Length of the convolutions along the bands, an odd number.
    frame_kernel_size (`int`, *optional*, defaults to 5):
        Length of the convolutions along the frames, an odd number.
    summary_stride (`int`, *optional*, defaults to 4):
        Number of frames per summary in the attention along time.
    activity_loss_weight (`float`, *optional*, defaults to 0.3):
        Weight of the cross-entropy of the activity, which is added to the SNR loss of the waveforms.
    """

    model_type = "slot_galr"
    # the name shared by every family of this package
    attribute_map = {"num_sources": "num_slots"}
    # transformers' Trainer would gather these over a whole evaluation
    keys_to_ignore_at_inference = ["activity", "slots", "last_hidden_state", "hidden_states", "attentions"]

    sampling_rate: int = positive_int_field(default=16000)
    chunk_length: int = positive_int_field(default=64000)
    n_fft: int = positive_int_field(default=512)
    hop_length: int = positive_int_field(default=160)
    compression_exponent: float = interval(min=0.0, max=1.0)(default=0.3)
    band_widths: list[int] | tuple[int, ...] = (2, 4, 8, 16)
    num_bands_per_width: list[int] | tuple[int, ...] = (16, 8, 8, 8)
    num_slots: int = positive_int_field(default=2)
    slot_module: str = "transformer"
    num_slot_attention_iterations: int = positive_int_field(default=3)
    sequential_slots: bool = False
    hidden_size: int = positive_int_field(default=128)
    num_hidden_layers: int = positive_int_field(default=2)
    num_attention_heads: int = positive_int_field(default=8)
    head_dim: int = positive_int_field(default=16)
    intermediate_size: int = positive_int_field(default=256)
    hidden_act: str = "gelu"
    num_fourier_frequencies: int = positive_int_field(default=4)
    map_hidden_size: int = positive_int_field(default=64)
    map_intermediate_size: int = positive_int_field(default=96)
    map_num_attention_heads: int = positive_int_field(default=4)
    num_map_layers: int = positive_int_field(default=6)
    num_source_layers: int = positive_int_field(default=2)
    band_kernel_size: int = positive_int_field(default=3)
    frame_kernel_size: int = positive_int_field(default=5)
    summary_stride: int = positive_int_field(default=4)
    activity_loss_weight: float = interval(min=0.0)(default=0.3)
    layer_norm_eps: float = interval(min=0.0)(default=1e-5)

    def validate_architecture(self) -> None:
        """Part of `@strict`-powered validation: checks the fields against each other."""
        if self.num_slots < 2:
            raise ValueError(
                f"`num_slots` ({self.num_slots}) must be at least 2: the estimates add up to the mixture."
            )
        if self.slot_module not in ("transformer", "slot_attention"):
            raise ValueError(f"`slot_module` ({self.slot_module!r}) must be 'transformer' or 'slot_attention'.")
        for name in ("band_kernel_size", "frame_kernel_size"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"`{name}` ({getattr(self, name)}) must be odd.")
        if self.map_hidden_size % self.map_num_attention_heads != 0:
            raise ValueError(
                f"`map_hidden_size` ({self.map_hidden_size}) must be a multiple of `map_num_attention_heads` "
                f"({self.map_num_attention_heads})."
            )
        # transformers 5.17 ignores a lower bound of 0
        for name in ("compression_exponent", "layer_norm_eps"):
            if getattr(self, name) <= 0.0:
                raise ValueError(f"`{name}` ({getattr(self, name)}) must be greater than 0.")
        if self.activity_loss_weight < 0.0:
            raise ValueError(f"`activity_loss_weight` ({self.activity_loss_weight}) must not be negative.")
        self._validate_spectrum()

    def _validate_spectrum(self) -> None:
        if self.n_fft % 2 != 0:
            raise ValueError(f"`n_fft` ({self.n_fft}) must be even.")
        if 2 * self.hop_length > self.n_fft:
            raise ValueError(f"`hop_length` ({self.hop_length}) must be at most half of `n_fft` ({self.n_fft}).")
        if (self.n_fft - self.hop_length) % 2 != 0:
            raise ValueError(f"`n_fft` ({self.n_fft}) minus `hop_length` ({self.hop_length}) must be even.")
        if self.chunk_length % self.hop_length != 0:
            raise ValueError(
                f"`chunk_length` ({self.chunk_length}) must be a multiple of `hop_length` ({self.hop_length})."
            )
        widths, counts = self.band_widths, self.num_bands_per_width
        if len(widths) != len(counts) or min((*widths, *counts), default=0) < 1:
            raise ValueError(
                f"`band_widths` ({widths}) and `num_bands_per_width` ({counts}) must be equally long lists of positive integers."
            )
        covered = sum(width * count for width, count in zip(widths, counts, strict=True))
        if covered != self.n_fft // 2:
            raise ValueError(
                f"`band_widths` ({widths}) and `num_bands_per_width` ({counts}) cover {covered} bins, not the "
                f"{self.n_fft // 2} of `n_fft` ({self.n_fft})."
            )

    @property
    def input_length_step(self) -> int:
        """Inputs may have any multiple of this number of samples: whole frames."""
        return self.hop_length

    @property
    def min_input_length(self) -> int:
        """A window in whole frames: fewer would be padding for the most part."""
        return -(-self.n_fft // self.hop_length) * self.hop_length

    @property
    def num_bands(self) -> int:
        """Number of bands of the map."""
        return sum(self.num_bands_per_width)

    @property
    def num_recorded_layers(self) -> int:
        """Number of layers of the map: so many hidden states follow the encoder's."""
        return self.num_map_layers + self.num_source_layers

    @property
    def num_iterations(self) -> int:
        """Number of passes through the slot module's layers."""
        return self.num_slot_attention_iterations if self.slot_module == "slot_attention" else 1


__all__ = ["SlotGalrConfig"]
