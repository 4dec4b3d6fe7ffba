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
from pathlib import Path

import soundfile
import torch

from tests.audio_helpers import noise
from tests.conftest import SAMPLES
from training.data.effects import band_levels_db, mel_bands


SPEECH = SAMPLES / "speech"
DEBUG = Path(__file__).parents[2] / "training" / "configs" / "debug.yaml"
# 16-bit files hold multiples of 1 / 32768, and libsndfile writes full scale as 32767
ROUNDING = 1.6 / 32768


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.flac"))


def write_voices(folder: Path, sampling_rate: int, num_voices: int = 2) -> Path:
    """A folder of speech with a file for each speaker, 3 s long and more."""
    for number in range(num_voices):
        (folder / f"voice{number}").mkdir(parents=True)
        samples = noise(3 * sampling_rate + 500 * number, seed=number)
        soundfile.write(folder / f"voice{number}" / "a.wav", samples, sampling_rate)
    return folder


def band_levels(voices: torch.Tensor) -> torch.Tensor:
    """Of each mel band in dB, about their mean."""
    spectra = torch.fft.rfft(voices)
    levels = band_levels_db(spectra, mel_bands(spectra.shape[-1], 16000, voices.dtype, voices.device))
    return levels - levels.mean(dim=-1, keepdim=True)
