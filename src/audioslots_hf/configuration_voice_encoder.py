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
"""Voice encoder model configuration."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig
from transformers.utils import auto_docstring
from transformers.utils.type_validators import positive_int_field


VOICE_ENCODER_ARGS = r"""
sampling_rate (`int`, *optional*, defaults to 16000):
    Sampling rate of the speech, in hertz.
n_fft (`int`, *optional*, defaults to 512):
    Length of the window of a frame in samples.
hop_length (`int`, *optional*, defaults to 160):
    Number of samples from one frame to the next.
num_mel_bins (`int`, *optional*, defaults to 64):
    Number of bands of the mel scale, from 0 to half of the sampling rate. Must be a multiple of 4.
conv_channels (`int`, *optional*, defaults to 16):
    Number of channels of the two-dimensional convolutions over bands and frames.
hidden_size (`int`, *optional*, defaults to 160):
    Width of the dilated convolutions along the frames.
num_hidden_layers (`int`, *optional*, defaults to 4):
    Number of dilated convolutions, with dilations 1, 2, 3 and so on.
pooling_size (`int`, *optional*, defaults to 320):
    Width of the vectors whose weighted mean and deviation over the frames make the embedding.
attention_size (`int`, *optional*, defaults to 64):
    Width of the hidden layer of the attention over the frames.
embedding_size (`int`, *optional*, defaults to 128):
    Width of the embedding.
"""


@auto_docstring(checkpoint="audioslots/voice-encoder", custom_args=VOICE_ENCODER_ARGS)
@strict
class VoiceEncoderConfig(PreTrainedConfig):
    model_type = "audioslots_voice_encoder"

    sampling_rate: int = positive_int_field(default=16000)
    n_fft: int = positive_int_field(default=512)
    hop_length: int = positive_int_field(default=160)
    num_mel_bins: int = positive_int_field(default=64)
    conv_channels: int = positive_int_field(default=16)
    hidden_size: int = positive_int_field(default=160)
    num_hidden_layers: int = positive_int_field(default=4)
    pooling_size: int = positive_int_field(default=320)
    attention_size: int = positive_int_field(default=64)
    embedding_size: int = positive_int_field(default=128)

    def validate_architecture(self) -> None:
        """Part of `@strict`-powered validation: checks the fields against each other."""
        if self.num_mel_bins % 4 != 0:
            raise ValueError(f"`num_mel_bins` ({self.num_mel_bins}) must be a multiple of 4: two strides halve it.")
        if self.hop_length > self.n_fft:
            raise ValueError(
                f"`hop_length` ({self.hop_length}) must be at most `n_fft` ({self.n_fft}): no sample may be left out."
            )

    @property
    def frame_length(self) -> int:
        """Number of samples from one frame weight to the next: the network halves the rate of its spectrogram."""
        return 2 * self.hop_length

    def num_frames(self, num_samples: int) -> int:
        """Number of frames, and of their weights, of a waveform."""
        return num_samples // self.frame_length + 1


__all__ = ["VoiceEncoderConfig"]
