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
"""Pictures of a separation."""

from pathlib import Path

import numpy as np
import torch

from .stft import stft


def require_matplotlib() -> None:
    """Raise an `ImportError` that names the fix, before any work is done."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError("Pictures need matplotlib: pip install 'audioslots-hf[plot]'") from error


def plot_separation(path: str | Path, tracks: dict[str, np.ndarray], sampling_rate: int) -> None:
    """
    Draw the spectrogram of each track below the other, on one colour scale in dB.

    Args:
        path (`str` or `Path`):
            Picture to write; its suffix gives the format.
        tracks (`dict` of `str` to array of shape `(num_samples,)`):
            Title of each row and its samples.
        sampling_rate (`int`):
            In hertz.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # 32 ms windows, 8 ms apart, resolve the harmonics of a voice
    n_fft = 2 * (sampling_rate * 16 // 1000)
    hop_length = max(1, sampling_rate * 8 // 1000)
    levels = {}
    for title, samples in tracks.items():
        waveform = torch.nn.functional.pad(torch.as_tensor(samples), (0, n_fft))
        levels[title] = 20 * torch.log10(stft(waveform, n_fft, hop_length).abs() + 1e-8).numpy()
    # a few cells of hum must not darken all the rest
    loudest = max(np.percentile(level, 99.5) for level in levels.values())

    figure = Figure(figsize=(10, 2.2 * len(tracks) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(tracks), sharex=True, sharey=True, squeeze=False)[:, 0]
    for axis, (title, level) in zip(axes, levels.items(), strict=True):
        duration_s = level.shape[1] * hop_length / sampling_rate
        image = axis.imshow(
            level,
            origin="lower",
            aspect="auto",
            extent=(0, duration_s, 0, sampling_rate / 2000),
            vmin=loudest - 60,
            vmax=loudest,
            cmap="magma",
            interpolation="nearest",
        )
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_ylabel("kHz")
    axes[-1].set_xlabel("seconds")
    figure.colorbar(image, ax=axes, label="dB")
    figure.savefig(path, dpi=110)
