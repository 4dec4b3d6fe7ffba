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

"""A noise floor for recordings that are too clean."""

from dataclasses import dataclass

import numpy as np
import torch

from .loudness import gain_between


@dataclass(frozen=True)
class NoiseFloor:
    """
    White noise below each voice of a folder of speech that is too clean.

    Args:
        level_db (`list` of `float`):
            The lowest and the highest level of the noise, relative to the loudness of the voice.
    """

    level_db: list[float]

    def draw(self, rng: np.random.Generator) -> tuple[float, int]:
        """Draw the level of the noise of one voice in dB, and its seed."""
        return rng.uniform(*self.level_db), int(rng.integers(2**63))

    @staticmethod
    def apply(waveform: torch.Tensor, loudness: float, parameters: tuple[float, int]) -> torch.Tensor:
        """Add noise to a voice (num_samples,) with a loudness in LUFS; the samples for a seed depend on the device"""
        level_db, seed = parameters
        generator = torch.Generator(waveform.device).manual_seed(seed)
        noise = torch.randn(waveform.shape, generator=generator, device=waveform.device)
        return waveform + gain_between(0.0, loudness + level_db) * noise
