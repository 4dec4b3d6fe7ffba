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
"""Plots of a separation and of its scores."""

from pathlib import Path

import numpy as np
import torch

from .stft import stft


# level of digital silence, and range of levels in a spectrogram
SILENCE_DB = -160
RANGE_DB = 60


def require_matplotlib() -> None:
    """Raise an `ImportError` that names the fix, before any work is done."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError("Pictures need matplotlib: pip install 'audioslots-hf[plot]'") from error


def plot_separation(path: str | Path, tracks: dict[str, np.ndarray], sampling_rate: int) -> None:
    """
    Draw the spectrograms of all tracks one below the other, on one colour scale in dB.

    Args:
        path (`str` or `Path`):
            Picture to write; its suffix sets the format.
        tracks (`dict` of `str` to array of shape `(num_samples,)`):
            Title of each row and its samples.
        sampling_rate (`int`):
            In hertz.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # 32 ms windows, 8 ms apart, resolve the harmonics of a voice
    n_fft = max(2, 2 * (sampling_rate * 16 // 1000))
    hop_length = max(1, sampling_rate * 8 // 1000)
    levels = {}
    for title, samples in tracks.items():
        waveform = torch.nn.functional.pad(torch.as_tensor(samples), (0, n_fft))
        levels[title] = 20 * torch.log10(stft(waveform, n_fft, hop_length).abs() + 10 ** (SILENCE_DB / 20)).numpy()
    # a few cells of hum must not darken all others
    loudest = max(np.percentile(level, 99.5) for level in levels.values())
    # only silence is dark
    loudest = max(loudest, SILENCE_DB + RANGE_DB)

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
            vmin=loudest - RANGE_DB,
            vmax=loudest,
            cmap="magma",
            interpolation="nearest",
        )
        # a file name such as $^$ is not a formula
        # names of files may not be valid Unicode
        axis.set_title(title.encode("utf-8", "replace").decode(), loc="left", fontsize=10, parse_math=False)
        axis.set_ylabel("kHz")
    # the last frames extend past the end
    axes[-1].set_xlim(0, max(map(len, tracks.values())) / sampling_rate)
    axes[-1].set_xlabel("seconds")
    figure.colorbar(image, ax=axes, label="dB")
    figure.savefig(path, dpi=110)


def plot_scores(path: str | Path, scores: dict[str, list[float]]) -> None:
    """
    Draw the distribution of the SI-SNRs of all sources; with mixtures, also of their improvements, and these against the input.

    Args:
        path (`str` or `Path`):
            Picture to write; its suffix gives the format.
        scores (`dict` of `str` to `list` of `float`):
            `si_snr` and, with mixtures, `si_snri`, in dB, one per source.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with_mixtures = "si_snri" in scores
    label, values = ("SI-SNRi", scores["si_snri"]) if with_mixtures else ("SI-SNR", scores["si_snr"])
    values = np.asarray(values)
    figure = Figure(figsize=(10 if with_mixtures else 5.5, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 if with_mixtures else 1, squeeze=False)[0]
    axes[0].hist(values, bins=int(np.clip(len(values) ** 0.5, 10, 50)), color="tab:blue", alpha=0.7)
    axes[0].axvline(values.mean(), color="black", label=f"mean {values.mean():.2f} dB")
    axes[0].axvline(np.median(values), color="tab:orange", linestyle="--", label=f"median {np.median(values):.2f} dB")
    axes[0].set(xlabel=f"{label} in dB", ylabel="sources")
    axes[0].yaxis.get_major_locator().set_params(integer=True)
    axes[0].legend()
    if with_mixtures:
        inputs = np.asarray(scores["si_snr"]) - values
        axes[1].scatter(inputs, values, s=16, color="tab:blue", alpha=0.7, linewidths=0)
        axes[1].axhline(0, color="black", linewidth=0.8)
        axes[1].set(xlabel="SI-SNR of the mixture in dB", ylabel="SI-SNRi in dB")
        axes[1].grid(alpha=0.3)
    figure.savefig(path, dpi=110)


__all__ = ["RANGE_DB", "SILENCE_DB", "plot_scores", "plot_separation", "require_matplotlib"]
