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
Score against hours of training, by the runs of `training/HISTORY.md`, and the hours that a higher score would need.

Follows a run back to its start from scratch, and adds the hours. The scores of the standing list are fitted against the
logarithm of the hours, from `--from-hours` on: without a ceiling, and with each of `--ceilings`. "Hindcast" is the error of the
last score if only the runs up to half of the hours are known, so it tells how far an extrapolation by a factor of two was right
before. Hours are those of the machines in the history; one of another machine, or beside other work, may be worth less.
"""

import argparse
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.reporting.figures import save_figure, start_figure
from training.settings import SettingsError

from .curves import fit_curve, hindcast_error


HISTORY = Path(__file__).parents[1] / "HISTORY.md"
COLUMNS = ("run", "started from", "steps", "hours", "standing list")


@dataclass(frozen=True)
class HistoryRow:
    """A run of the history; `standing_list` is its SI-SNRi in dB, `None` if it was not scored."""

    name: str
    started_from: str | None
    steps: int
    hours: float
    standing_list: float | None


def read_history(path: Path) -> dict[str, HistoryRow]:
    """The runs of all tables of a history by name, in their order."""
    rows, header = {}, []
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if "run" in cells:
            header = cells
        elif cells and cells[0].startswith("`"):
            row = dict(zip(header, cells, strict=True))
            run, start, steps, hours, score = (row[column] for column in COLUMNS)
            # COMMIT:FOLDERS/NAME/model.safetensors
            source = re.search(r"/([^/]+)/model\.safetensors", start)
            rows[run.strip("`")] = HistoryRow(
                run.strip("`"),
                source[1] if source else None,
                int(steps.replace(",", "")),
                float(hours),
                float(score) if re.fullmatch(r"-?[\d.]+", score) else None,
            )
    return rows


def trace(rows: dict[str, HistoryRow], name: str) -> list[HistoryRow]:
    """A run and all runs before it, the first from scratch."""
    chain = [rows[name]]
    while (start := chain[0].started_from) is not None:
        if start not in rows:
            raise SettingsError(f"`{chain[0].name}` started from `{start}`, which has no row in the history: add it.")
        chain.insert(0, rows[start])
    return chain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--run", default="galr-cpu-152k", help="last run of the curve (default: galr-cpu-152k)")
    parser.add_argument("--targets", type=float, nargs="+", default=[13.0, 14.0], help="scores in dB (default: 13 14)")
    parser.add_argument("--from-hours", type=float, default=5.0, help="first hour of the fits (default: 5)")
    parser.add_argument("--ceilings", type=float, nargs="*", default=[16.0, 20.0], help="in dB (default: 16 20)")
    parser.add_argument("--history", type=Path, default=HISTORY, help="Markdown tables (default: training/HISTORY.md)")
    parser.add_argument("--figure", type=Path, help="picture to write, png")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Print the curve and its fits."""
    rows = read_history(options.history)
    if options.run not in rows:
        raise SettingsError(f"`--run` ({options.run}) has no row in {options.history}: pass one of {', '.join(rows)}.")
    points, hours, steps = [], 0.0, 0
    print(f"| run | steps | hours | standing list, dB |\n|{' --- |' * 4}")
    for row in trace(rows, options.run):
        hours, steps = hours + row.hours, steps + row.steps
        if row.standing_list is not None:
            points.append((hours, row.standing_list))
            print(f"| `{row.name}` | {steps:,} | {hours:.1f} | {row.standing_list:.2f} |")
    known = [point for point in points if point[0] >= options.from_hours]
    if len(known) < 2:
        raise SettingsError(f"`--from-hours` ({options.from_hours}) leaves {len(known)} scored runs: a fit needs two.")
    result = {"hours": points[-1][0], "si_snri": points[-1][1], "fits": fit_all(known, options)}
    if options.figure is not None:
        draw(points, known, options)
    return result


def fit_all(points: list[tuple[float, float]], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Print a row for each fit, and return them."""
    compute, scores = zip(*points, strict=True)
    fits = []
    targets = " | ".join(f"hours for {target:g} dB" for target in options.targets)
    print(f"\n| ceiling, dB | rms, dB | hindcast, dB | {targets} |\n|{' --- |' * (3 + len(options.targets))}")
    for ceiling in (None, *options.ceilings):
        if ceiling is not None and ceiling <= max(scores):
            raise SettingsError(f"`--ceilings` {ceiling:g} must be above the best score, {max(scores):g} dB.")
        fit = fit_curve(compute, scores, ceiling)
        error = hindcast_error(compute, scores, ceiling)
        needed = {f"{target:g}": fit.compute(target) for target in options.targets}
        cells = ["none" if ceiling is None else f"{ceiling:g}", f"{fit.rms_db:.2f}"]
        cells += ["-" if error is None else f"{error:+.2f}"]
        cells += ["never" if math.isinf(value) else f"{value:.0f}" for value in needed.values()]
        print(f"| {' | '.join(cells)} |")
        # JSON has no infinity
        finite = {target: None if math.isinf(value) else value for target, value in needed.items()}
        fits.append({"ceiling": ceiling, "rms_db": fit.rms_db, "hindcast_error": error, "hours": finite})
    return fits


def draw(points: list[tuple[float, float]], known: list[tuple[float, float]], options: argparse.Namespace) -> None:
    """Draw the scores and the fits up to four times the hours."""
    figure, axes = start_figure()
    axes.plot(*zip(*points, strict=True), "o", color="0.2", label=f"runs up to {options.run}")
    first, last = known[0][0], points[-1][0]
    hours = [first * (4 * last / first) ** (step / 60) for step in range(61)]
    for ceiling in (None, *options.ceilings):
        fit = fit_curve(*zip(*known, strict=True), ceiling)
        label = "without a ceiling" if ceiling is None else f"ceiling {ceiling:g} dB"
        axes.plot(hours, [fit.score(hour) for hour in hours], label=label)
    for target in options.targets:
        axes.axhline(target, color="0.6", linewidth=0.8, linestyle=":")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("hours of training, logarithmic")
    axes.set_ylabel("SI-SNRi of the standing list, dB")
    axes.legend()
    save_figure(figure, options.figure)
