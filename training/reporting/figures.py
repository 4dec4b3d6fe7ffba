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
"""Figures of the scores of evaluations."""

from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from audioslots_hf.files import replacing

from .groups import Groups, Scores, order_labels


# A line style for every ten series, because there are ten colours.
MARKERS = "os^D"


def start_figure() -> tuple[Figure, Axes]:
    """An empty figure without a window."""
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    return figure, axes


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure atomically."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def plot_groups(path: Path, series: dict[str, Groups], xlabel: str, unit: str) -> None:
    """
    Draw the median of each group and the range of its middle half, side by side for several models.

    Args:
        path (`Path`):
            Picture to write.
        series (`dict`):
            The groups of each model; a model may lack groups of another.
        xlabel (`str`):
            Quantity that distinguishes the groups, with its unit.
        unit (`str`):
            Unit of the counts in a group: voices or mixtures.
    """
    figure, axes = start_figure()
    axes.axhline(0, color="0.6", linewidth=0.8)
    places = {label: place for place, label in enumerate(order_labels(series.values()))}
    # all series of a group stay closer to their label than to the next
    step = min(0.12, 0.8 / len(series))
    for index, (name, groups) in enumerate(series.items()):
        positions = np.array([places[label] for label in groups]) + step * (index - (len(series) - 1) / 2)
        low, middle, high = np.array([np.percentile(values, (25, 50, 75)) for values in groups.values()]).T
        axes.errorbar(
            positions,
            middle,
            (middle - low, high - middle),
            fmt=MARKERS[index // 10 % len(MARKERS)],
            capsize=4,
            label=name,
        )
    counts = {label: max(len(groups.get(label, ())) for groups in series.values()) for label in places}
    axes.set_xticks(range(len(places)), [f"{label}\nn = {count}" for label, count in counts.items()])
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.set_xlabel(f"{xlabel}; n {unit}")
    axes.set_ylabel("SI-SNRi, dB: median and middle half")
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    save_figure(figure, path)


def plot_histogram(path: Path, series: dict[str, Scores]) -> None:
    """Draw the number of mixtures by SI-SNRi, in bins of one decibel."""
    figure, axes = start_figure()
    values = {name: [float(score["si_snri"]) for score in scores] for name, scores in series.items()}
    everything = np.concatenate(list(values.values()))
    edges = np.arange(np.floor(everything.min()), np.ceil(everything.max()) + 1.5)
    # oracles may coincide
    for (name, improvements), style in zip(values.items(), cycle(("-", "--", "-.", ":")), strict=False):
        label = f"{name}: mean {np.mean(improvements):.2f} dB"
        axes.hist(improvements, edges, histtype="step", linewidth=1.6, linestyle=style, label=label)
    axes.set_xlabel("SI-SNRi of a mixture, dB")
    axes.set_ylabel(f"mixtures per dB, of {max(map(len, values.values()))}")
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    save_figure(figure, path)


def plot_learning_curve(path: Path, log: list[dict[str, float]]) -> None:
    """
    Draw the loss of a run and, if it was validated, its SI-SNRi by step.

    Args:
        path (`Path`):
            Picture to write.
        log (`list`):
            The lines of a `log.jsonl`.
    """
    figure, axes = start_figure()
    losses = [(line["step"], line["loss"]) for line in log if "loss" in line]
    axes.plot(*zip(*losses, strict=True), color="0.65", linewidth=0.8, label="loss of training, as logged")
    steps, smooth = zip(*smooth_losses(losses), strict=True)
    axes.plot(steps, smooth, color="C0", label="the same, smoothed")
    axes.set_xlabel("step")
    axes.set_ylabel("loss of training")
    scores = [(line["step"], line["valid_si_snri"]) for line in log if not np.isnan(line.get("valid_si_snri", np.nan))]
    if scores:
        other = axes.twinx()
        other.plot(*zip(*scores, strict=True), "o--", color="C1", label="SI-SNRi of validation, without references")
        other.set_ylabel("SI-SNRi, dB")
    figure.legend(loc="outside upper left", ncols=3, frameon=False)
    save_figure(figure, path)


def smooth_losses(losses: list[tuple[int, float]], share: float = 0.05) -> list[tuple[int, float]]:
    """The mean of the losses around each step, over a `share` of the run, by default a twentieth; over less at both ends."""
    reach = int(len(losses) * share / 2)
    values = [loss for _, loss in losses]
    return [
        (step, float(np.mean(values[max(index - reach, 0) : index + reach + 1])))
        for index, (step, _) in enumerate(losses)
    ]
