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
"""The transmission of evaluation mixtures: effects that are applied before separation."""

from dataclasses import dataclass, replace

import torch

from ..data.augmentations import LOWEST_CUTOFF_HZ
from ..data.codecs import CodecName, check_codec, transmit
from ..data.effects import high_pass, match_spectra
from ..data.mixtures import Mixture


@dataclass
class Transmission:
    """Effects that are applied to mixtures before separation."""

    shared_spectrum: bool = False
    high_pass_hz: float | None = None
    codec: CodecName | None = None

    def check(self, sampling_rate: int) -> None:
        """Raise a `ValueError` if the cutoff of a filter is out of range, or if libsndfile does not have the codec."""
        if self.high_pass_hz is not None and not LOWEST_CUTOFF_HZ <= self.high_pass_hz < sampling_rate / 2:
            raise ValueError(
                f"--high-pass is {self.high_pass_hz:g}: it must be at least {LOWEST_CUTOFF_HZ:g} Hz and below "
                f"{sampling_rate / 2:g} Hz, half of the sampling rate."
            )
        if self.codec is not None:
            check_codec(self.codec, sampling_rate)

    def carry(self, mixture: Mixture, sampling_rate: int) -> Mixture:
        """Apply the effects to a mixture and to its parts."""
        references, rest = mixture.references, mixture.rest
        if self.high_pass_hz is not None:
            references = high_pass(references, self.high_pass_hz, sampling_rate)
            rest = None if rest is None else high_pass(rest, self.high_pass_hz, sampling_rate)
        if self.shared_spectrum:
            references = match_spectra(references, sampling_rate)
        if self.codec is not None:
            references = torch.stack([transmit(voice, self.codec, sampling_rate) for voice in references])
        return replace(mixture, references=references, rest=rest)

    def describe(self) -> list[str]:
        """The effects as words."""
        return [
            *(["shared spectrum"] if self.shared_spectrum else []),
            *([] if self.high_pass_hz is None else [f"high-pass {self.high_pass_hz:g} Hz"]),
            *([] if self.codec is None else [f"codec {self.codec}"]),
        ]
