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
"""Feature extractor of AudioSlots: STFT power compression, and reconstruction of waveforms by masks."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature, FeatureExtractionMixin

from .capabilities import FeatureExtractorCapabilities
from .configuration_audioslots import AudioSlotsConfig
from .masking import apply_masks, binary_masks, wiener_masks
from .modeling_outputs import AudioSeparationOutput
from .stft import istft, stft
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


class AudioSlotsFeatureExtractor(FeatureExtractorCapabilities, FeatureExtractionMixin):
    r"""
    Turns chunks of audio into power-compressed STFT magnitudes, and estimated magnitudes into waveforms.

    Everything runs in torch and in float32, on the device of the audio. Each chunk is scaled to unit root mean square
    for the network. The masks are applied to the unscaled mixture, so a gain on the input is the same gain on the estimates.

    Args:
        sampling_rate (`int`, *optional*, defaults to 16000):
            Sampling rate the model works at, in hertz.
        chunk_length (`int`, *optional*, defaults to 8000):
            Number of samples of one chunk: shorter audio is padded with zeros, longer audio is an error.
        n_fft (`int`, *optional*, defaults to 512):
            Size of the Fourier transform, in samples.
        hop_length (`int`, *optional*, defaults to 125):
            Number of samples between two frames.
        compression_exponent (`float`, *optional*, defaults to 0.3):
            Exponent of the power compression.
        mask_exponent (`float`, *optional*, defaults to 1.0):
            Exponent of the magnitudes in the Wiener-like mask. Values below 1 give softer masks: a weak model then separates
            correct parts less, and damages less where it confuses the voices.
    """

    model_input_names = ["input_features"]
    # of the paper
    mask_kinds = {"wiener": {"mask": "wiener", "mask_exponent": 1.0}, "binary": {"mask": "binary"}}
    inherited_fields = ("mask_exponent",)

    def __init__(
        self,
        sampling_rate: int = 16000,
        chunk_length: int = 8000,
        n_fft: int = 512,
        hop_length: int = 125,
        compression_exponent: float = 0.3,
        mask_exponent: float = 1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.sampling_rate = sampling_rate
        self.chunk_length = chunk_length
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.compression_exponent = compression_exponent
        self.mask_exponent = mask_exponent

    @classmethod
    def from_config(cls, config: AudioSlotsConfig) -> "AudioSlotsFeatureExtractor":
        """The feature extractor that fits a model's configuration."""
        return cls(
            sampling_rate=config.sampling_rate,
            chunk_length=config.chunk_length,
            n_fft=config.n_fft,
            hop_length=config.hop_length,
            compression_exponent=config.compression_exponent,
        )

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
            [`BatchFeature`] with `input_features` `(batch_size, num_bins, num_frames)` and, with `labels`, `labels`
            `(batch_size, num_sources, num_bins, num_frames)`. It also holds the inputs of `post_process_audio_separation`:
            `mixture_spectrograms`, complex `(batch_size, num_bins + 1, num_frames + 1)`, and `num_samples` `(batch_size,)`.
            A `datasets` table cannot store complex numbers: `map` a function that pops `mixture_spectrograms`, or use
            `with_transform`.

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
        mixture_spectrograms = stft(waveforms, self.n_fft, self.hop_length)
        features = {
            "input_features": self._compress(mixture_spectrograms, levels[:, None, None]),
            "mixture_spectrograms": mixture_spectrograms,
            "num_samples": num_samples,
        }
        if labels is not None:
            references = batch_references(labels, lengths, self.chunk_length).to(waveforms.device)
            spectrograms = stft(references, self.n_fft, self.hop_length)
            features["labels"] = self._compress(spectrograms, levels[:, None, None, None])
        return BatchFeature(features)

    def post_process_audio_separation(
        self,
        outputs: AudioSeparationOutput,
        features: BatchFeature,
        mask: str = "wiener",
        mask_exponent: float | None = None,
    ) -> torch.Tensor:
        r"""
        Turns the model's output into waveforms that sum to the mixture.

        Args:
            outputs ([`AudioSeparationOutput`]):
                Output of the model for `features`: compressed magnitudes as `estimates`.
            features ([`BatchFeature`]):
                Features of the audio, from `__call__`.
            mask (`str`, *optional*, defaults to `"wiener"`):
                `"wiener"` divides every cell of the mixture in proportion to the magnitudes, `"binary"` assigns it to the
                largest one.
            mask_exponent (`float`, *optional*):
                Exponent of the magnitudes in the Wiener-like mask. Defaults to the feature extractor's.

        Returns:
            Float32 `torch.Tensor` of shape `(batch_size, num_sources, max(num_samples))`, on the mixture's scale. Shorter
            mixtures of a batch end in zeros.
        """
        if mask not in ("wiener", "binary"):
            raise ValueError(f"`mask` is {mask!r}: it must be 'wiener' or 'binary'.")
        mask_exponent = self.mask_exponent if mask_exponent is None else mask_exponent
        if not 0 < mask_exponent < math.inf:
            raise ValueError(f"`mask_exponent` is {mask_exponent}: it must be finite and greater than 0.")
        if mask == "binary":
            masks = binary_masks(outputs.estimates)
        else:
            # the estimates are m ** compression_exponent; the masks need m ** exponent
            masks = wiener_masks(outputs.estimates, mask_exponent / self.compression_exponent)
        return self._apply_masks(masks, features)

    @property
    def default_masks(self) -> dict[str, str | float]:
        """Default keyword arguments of `post_process_audio_separation`."""
        return {"mask": "wiener", "mask_exponent": self.mask_exponent}

    def describe_framing(self) -> dict[str, dict[str, int]]:
        """Sizes that the scores of an oracle depend on, besides the chunk length."""
        return {"stft": {"n_fft": self.n_fft, "hop_length": self.hop_length}}

    def restore_levels(self, estimates: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        """
        Scale magnitudes that an autoencoder estimated from sources at unit level to the levels of the sources.

        `(batch_size, num_sources, num_bins, num_frames)` and `(batch_size, num_sources)` -> magnitudes as before.
        """
        return estimates * levels[..., None, None] ** self.compression_exponent

    def _apply_masks(self, masks: torch.Tensor, features: BatchFeature) -> torch.Tensor:
        mixture_spectrograms, num_samples = features["mixture_spectrograms"], features["num_samples"]
        waveforms = istft(apply_masks(masks, mixture_spectrograms), self.n_fft, self.hop_length)
        return cut_to_length(waveforms, num_samples)

    def _compress(self, spectrograms: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        # without the Nyquist bin and the last frame: 257 x 65 cells become the paper's 256 x 64
        return (spectrograms[..., :-1, :-1].abs() / levels) ** self.compression_exponent


__all__ = ["AudioSlotsFeatureExtractor"]
