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
"""Feature extractor of the time-domain families: scales waveforms to unit level, and estimates back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature, FeatureExtractionMixin

from .capabilities import FeatureExtractorCapabilities
from .configuration_dual_path import DualPathConfig
from .modeling_outputs import AudioSeparationOutput
from .waveforms import (
    batch_references,
    batch_waveforms,
    check_options,
    check_return_tensors,
    check_sampling_rate,
    count_samples,
    cut_to_length,
    root_mean_square,
)


class WaveformFeatureExtractor(FeatureExtractorCapabilities, FeatureExtractionMixin):
    r"""
    Scales chunks of audio to unit level for models that work on waveforms, and their estimates back.

    Everything runs in torch and in float32, on the device of the audio. The estimates of a model sum to its input, so the
    waveforms sum to the mixture, and a gain on the input is the same gain on the estimates.

    Args:
        sampling_rate (`int`, *optional*, defaults to 16000):
            Sampling rate the model works at, in hertz.
        chunk_length (`int`, *optional*, defaults to 64000):
            Number of samples of one chunk: shorter audio is padded with zeros, longer audio is an error.
    """

    model_input_names = ["input_values"]

    def __init__(self, sampling_rate: int = 16000, chunk_length: int = 64000, **kwargs):
        super().__init__(**kwargs)
        self.sampling_rate = sampling_rate
        self.chunk_length = chunk_length

    @classmethod
    def from_config(cls, config: DualPathConfig) -> "WaveformFeatureExtractor":
        """The feature extractor that fits a model's configuration."""
        return cls(sampling_rate=config.sampling_rate, chunk_length=config.chunk_length)

    def __call__(
        self,
        audio: np.ndarray | torch.Tensor | Sequence,
        sampling_rate: int | None = None,
        labels: np.ndarray | torch.Tensor | Sequence | None = None,
        return_tensors: str | None = "pt",
        **options: Any,
    ) -> BatchFeature:
        r"""
        Args:
            audio (array, tensor or sequence of them):
                Mixtures: `(num_samples,)`, `(batch_size, num_samples)`, or a list of arrays of any lengths up to
                `chunk_length`. Integer PCM is scaled by the range of its type.
            sampling_rate (`int`, *optional*):
                Sampling rate of `audio` in hertz. Always pass it: a rate that differs from the model's raises an error.
            labels (array, tensor or sequence of them, *optional*):
                References, `(num_sources, num_samples)` for each mixture.
            return_tensors (`str`, *optional*, defaults to `"pt"`):
                Only `"pt"` is supported: the features are torch tensors.
            options:
                No others: audio is always padded to `chunk_length`.

        Returns:
            [`BatchFeature`] with `input_values` `(batch_size, chunk_length)` and, with `labels`, `labels`
            `(batch_size, num_sources, chunk_length)`. It also holds the inputs of `post_process_audio_separation`: `levels`
            `(batch_size,)` and `num_samples` `(batch_size,)`. Move it with `.to(device)` and no dtype: the model casts its
            inputs, and half precision would round the levels.

        Raises:
            `ValueError`: wrong sampling rate, an unknown option, audio that is empty, too long or (on the CPU) not finite, or
                labels that do not match the audio.
        """
        check_options(options, ("sampling_rate", "labels", "return_tensors"))
        check_return_tensors(return_tensors)
        check_sampling_rate(sampling_rate, self.sampling_rate)
        waveforms, lengths = batch_waveforms(audio, self.chunk_length)
        num_samples = count_samples(lengths, waveforms.device)
        levels = root_mean_square(waveforms, num_samples)
        features = {"input_values": waveforms / levels[:, None], "levels": levels, "num_samples": num_samples}
        if labels is not None:
            references = batch_references(labels, lengths, self.chunk_length).to(waveforms.device)
            features["labels"] = references / levels[:, None, None]
        return BatchFeature(features)

    def post_process_audio_separation(self, outputs: AudioSeparationOutput, features: BatchFeature) -> torch.Tensor:
        r"""
        Scales the model's estimates to the level of the mixture.

        Args:
            outputs ([`AudioSeparationOutput`]):
                Output of the model for `features`: waveforms as `estimates`.
            features ([`BatchFeature`]):
                Features of the audio, from `__call__`.

        Returns:
            Float32 `torch.Tensor` of shape `(batch_size, num_sources, max(num_samples))`, on the mixture's scale. Shorter
            mixtures of a batch end in zeros.
        """
        estimates = outputs.estimates.float() * features["levels"][:, None, None]
        return cut_to_length(estimates, features["num_samples"])


__all__ = ["WaveformFeatureExtractor"]
