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
"""The sections of a report: tables and figures of results under the same conditions, and learning curves."""

import json
from pathlib import Path

from transformers.utils.logging import tqdm

from .conversations import format_tables, read_conversations
from .figures import plot_groups, plot_histogram, plot_learning_curve
from .groups import Scores, by_input_si_snr, by_pitch_distance, by_sex
from .results import Conditions, read_scores
from .rttm import TRUTH_RTTM
from .tables import (
    find_scores,
    format_group,
    format_table_1,
    format_waveform_families,
    list_waveform_families,
    name_oracle,
    name_separator,
)
from .timelines import draw_timelines


ORACLE_NOTE = """\
STFT 512/125 means windows of 512 samples, 125 samples apart.

Every chunk is padded for the STFT, so that the inverse is exact up to the edges of the chunk, and the oracle lacks only the phase. The
paper's own oracle has 12 and 13 dB on the whole test set of Libri2Mix. It depends on the framing at the edges of the chunks, which the
paper does not describe; no setting here was chosen to approach it.
"""


def load_series(evaluations: list[dict]) -> dict[str, Scores]:
    """The scores without references of every model, and of every oracle once."""
    series = {}
    for results in evaluations:
        if "oracle_order_by_tracker" in results["rows"]:
            series.setdefault(f"oracle, {name_oracle(results)}", read_scores(results, "oracle_order_by_tracker"))
        if "model_order_by_tracker" in results["rows"]:
            series.setdefault(name_separator(results, evaluations), read_scores(results, "model_order_by_tracker"))
    return series


def draw_figures(folder: Path, prefix: str, series: dict[str, Scores]) -> list[str]:
    """Write the figures, and return Markdown with each of them, or with the reason for its absence."""
    name = f"{prefix}_histogram.png"
    plot_histogram(folder / name, series)
    parts = [f"![Number of mixtures by SI-SNRi]({name})\n"]
    kinds = {
        "input_si_snr": (by_input_si_snr, "SI-SNR of a voice in the mixture, dB", "voices"),
        "pitch_distance": (
            by_pitch_distance,
            "distance of the median pitches of the nearest two voices, semitones",
            "mixtures",
        ),
        "sex": (by_sex, "sex of the voices", "mixtures"),
    }
    for kind, (group, xlabel, unit) in kinds.items():
        groups = {model: group(scores) for model, scores in series.items()}
        groups = {model: values for model, values in groups.items() if values}
        if groups:
            name = f"{prefix}_{kind}.png"
            plot_groups(folder / name, groups, xlabel, unit)
            parts.append(f"![SI-SNRi by {xlabel}]({name})\n")
        if missing := [f"`{model}`" for model in series if model not in groups]:
            parts.append(f"By {xlabel}: missing in the results of {', '.join(missing)}.\n")
    return parts


def format_section(folder: Path, conditions: Conditions, evaluations: list[dict]) -> str:
    """The section of all results under the same conditions; writes its figures."""
    parts = [f"## {conditions}\n", format_group(conditions, evaluations)]
    if any(find_scores(results, subject) for results in evaluations for subject in ("oracle", "model")):
        title = "### Table 1 of AudioSlots: disjoint chunks, ordered by the references; dB\n"
        parts += [title, format_table_1(evaluations), ORACLE_NOTE]
    if {results["model_type"] for results in evaluations} & {family.model_type for family in list_waveform_families()}:
        parts += ["### Families that estimate waveforms: cost and scores\n", format_waveform_families(evaluations)]
    parts += [
        "### Figures: no reference orders the sources\n",
        *draw_figures(folder, conditions.slug, load_series(evaluations)),
    ]
    return "\n".join(parts)


def draw_learning_curves(folder: Path, logs: list[Path]) -> str:
    """The section of the learning curves of all runs; writes their figures."""
    parts = ["## Learning curves\n"]
    for path in logs:
        log = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        name = f"{path.resolve().parent.name}_learning_curve.png"
        plot_learning_curve(folder / name, log)
        parts.append(f"![Loss and validation of {path.resolve().parent.name} by step]({name})\n")
    return "\n".join(parts)


def find_conversations(results: Path) -> list[Path]:
    """The folders with results of `benchmark conversations`."""
    return sorted({path.parent for name in ("conversations.json", TRUTH_RTTM) for path in results.rglob(name)})


def draw_conversations(folder: Path, results: list[Path]) -> str:
    """
    The section of the conversations in folders of results; writes a picture of each recording.

    Raises:
        `SettingsError`: a file of these folders cannot be read.
    """
    parts = ["## Conversations\n"]
    for path in tqdm(results, desc="Drawing conversations", unit="folder"):
        if (path / "conversations.json").is_file():
            for options, table in format_tables(read_conversations(path / "conversations.json")).items():
                parts.append(f"`{options}`\n\n{table}\n")
        if (path / TRUTH_RTTM).is_file():
            parts.append(draw_timelines(folder, path))
    return "\n".join(parts)
