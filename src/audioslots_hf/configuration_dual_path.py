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
"""Base configuration of the dual-path families."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig
from transformers.utils import auto_docstring
from transformers.utils.type_validators import interval, positive_int_field

from .capabilities import ConfigCapabilities


# the documentation of the shared fields, for every family
DUAL_PATH_ARGS = r"""
sampling_rate (`int`, *optional*, defaults to 16000):
    Sampling rate of the audio the model separates, in hertz.
chunk_length (`int`, *optional*, defaults to 64000):
    Number of samples the model sees at once. Must be a multiple of half of `encoder_kernel_size`.
num_sources (`int`, *optional*, defaults to 2):
    Number of sources of a mixture, at least 2.
hidden_size (`int`, *optional*, defaults to 64):
    Number of filters of the learned encoder and width of the separator: D.
encoder_kernel_size (`int`, *optional*, defaults to 16):
    Length of the filters of the learned encoder and decoder in samples, an even number: M. A frame starts every M / 2.
segment_length (`int`, *optional*, defaults to 100):
    Number of frames of a segment, an even number: K. Segments overlap by half.
lstm_hidden_size (`int`, *optional*, defaults to 128):
    Width of each direction of the bidirectional LSTMs: H.
filterbank_init (`str`, *optional*, defaults to `"random"`):
    Initialization of the encoder and the decoder: `"random"` filters, as in the papers, or a windowed `"fourier"` basis.
    The basis needs a `hidden_size` of twice `encoder_kernel_size` and learns faster.
"""


@auto_docstring(checkpoint="audioslots/dprnn", custom_args=DUAL_PATH_ARGS)
@strict
class DualPathConfig(ConfigCapabilities, PreTrainedConfig):
    """The fields of every dual-path family, and their checks."""

    # outputs that transformers' Trainer would otherwise collect over a whole evaluation
    keys_to_ignore_at_inference = ["last_hidden_state", "hidden_states", "attentions"]

    sampling_rate: int = positive_int_field(default=16000)
    chunk_length: int = positive_int_field(default=64000)
    num_sources: int = positive_int_field(default=2)
    hidden_size: int = positive_int_field(default=64)
    encoder_kernel_size: int = positive_int_field(default=16)
    segment_length: int = positive_int_field(default=100)
    lstm_hidden_size: int = positive_int_field(default=128)
    filterbank_init: str = "random"
    num_hidden_layers: int = positive_int_field(default=6)
    layer_norm_eps: float = interval(min=0.0)(default=1e-5)

    def validate_architecture(self) -> None:
        """Part of `@strict`-powered validation: checks the fields against each other."""
        if self.num_sources < 2:
            raise ValueError(
                f"`num_sources` ({self.num_sources}) must be at least 2: the estimates add up to the mixture."
            )
        for name in ("encoder_kernel_size", "segment_length"):
            if getattr(self, name) % 2 != 0:
                raise ValueError(f"`{name}` ({getattr(self, name)}) must be even.")
        if self.chunk_length % self.encoder_stride != 0:
            raise ValueError(
                f"`chunk_length` ({self.chunk_length}) must be a multiple of half of `encoder_kernel_size` "
                f"({self.encoder_kernel_size})."
            )
        if self.filterbank_init not in ("random", "fourier"):
            raise ValueError(f"`filterbank_init` ({self.filterbank_init!r}) must be 'random' or 'fourier'.")
        if self.filterbank_init == "fourier" and self.hidden_size != 2 * self.encoder_kernel_size:
            raise ValueError(
                f"`hidden_size` ({self.hidden_size}) must be twice `encoder_kernel_size` ({self.encoder_kernel_size}) for "
                "`filterbank_init` 'fourier': the filters are a basis of that size and its negative."
            )
        if self.layer_norm_eps <= 0.0:
            raise ValueError(f"`layer_norm_eps` ({self.layer_norm_eps}) must be greater than 0.")

    @property
    def encoder_stride(self) -> int:
        """Number of samples from one frame to the next."""
        return self.encoder_kernel_size // 2

    @property
    def input_length_step(self) -> int:
        """Inputs may have any multiple of this number of samples: whole frames."""
        return self.encoder_stride

    @property
    def min_input_length(self) -> int:
        """Half a segment in samples: torch.export would need a separate program for fewer frames."""
        return self.encoder_stride * self.segment_length // 2


__all__ = ["DualPathConfig"]
