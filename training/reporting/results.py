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
"""The format of `results.json`, which an evaluation writes, and tables, figures and cards read."""

import json
import math
import re
import statistics
from dataclasses import dataclass
from pathlib import Path

from audioslots_hf.files import write_text


ROOT = Path(__file__).resolve().parents[2]
RESULTS_DIR = ROOT / "training" / "results"
# One mixture in one row: its name, its scores in dB and the known properties of each voice.
Score = dict[str, str | float | None]
# Properties of a source that do not depend on the separator: the file holds them once for all rows.
VOICE_COLUMN = re.compile(r"source_\d+_(input_si_snr|f0_hz|sex)")
SCORE_COLUMN = re.compile(r"source_\d+_si_snri")


@dataclass(frozen=True)
class Conditions:
    """Conditions that two results must share for a comparison."""

    metadata: str
    # checksum of the csv, because other lists may have the same name; empty for a generated tree
    metadata_sha256: str
    num_mixtures: int
    sampling_rate: int
    mode: str

    @property
    def slug(self) -> str:
        """A file name that is unique for these conditions."""
        words = re.findall(r"\w+", str(self))
        return "_".join([*words, self.metadata_sha256[:8]]).rstrip("_")

    def __str__(self) -> str:
        return f"{self.num_mixtures} mixtures of `{self.metadata}`, {self.sampling_rate} Hz, {self.mode}"


def conditions_of(results: dict) -> Conditions:
    """The conditions of a results file."""
    num_mixtures = next(iter(results["rows"].values()))["num_mixtures"]
    digest = results.get("metadata_sha256", "")
    return Conditions(results["metadata"], digest, num_mixtures, results["sampling_rate"], results["mode"])


def group_by_conditions(evaluations: list[dict]) -> dict[Conditions, list[dict]]:
    """Results that may share a table: those of most mixtures first, and a list before its filtered versions."""
    groups: dict[Conditions, list[dict]] = {}
    for results in evaluations:
        groups.setdefault(conditions_of(results), []).append(results)
    # a list takes the place of its best result; filtered versions have the longer mode
    places: dict[tuple[str, str], int] = {}
    for conditions in groups:
        places.setdefault((conditions.metadata, conditions.metadata_sha256), len(places))

    def place(group: tuple[Conditions, list[dict]]) -> tuple[int, int, int]:
        conditions = group[0]
        return -conditions.num_mixtures, places[conditions.metadata, conditions.metadata_sha256], len(conditions.mode)

    return dict(sorted(groups.items(), key=place))


def describe_spread(scores: list[Score]) -> dict[str, float]:
    """The standard error of the mean SI-SNRi over the mixtures, in dB; empty for a single mixture."""
    improvements = [score["si_snri"] for score in scores if score["si_snri"] is not None]
    if len(improvements) < 2:
        return {}
    return {"standard_error": statistics.stdev(improvements) / math.sqrt(len(improvements))}


def collect_scores(scores: dict[str, list[Score]]) -> tuple[dict[str, list], dict[str, dict[str, list]]]:
    """
    The values of every mixture as columns, in the order of the list and rounded to two decimals.

    Args:
        scores (`dict`):
            The mixtures of each row of the results.

    Returns:
        The properties of the voices, equal for all rows, and the scores of the rows without references; those of the other
        rows would double the size of the file.
    """
    voices = collect_columns(next(iter(scores.values())), VOICE_COLUMN)
    rows = {
        name: collect_columns(row, SCORE_COLUMN) for name, row in scores.items() if name.endswith("_order_by_tracker")
    }
    return voices, rows


def collect_columns(scores: list[Score], pattern: re.Pattern) -> dict[str, list]:
    """The columns whose names match and that any mixture has."""
    names = [name for name in dict.fromkeys(key for score in scores for key in score) if pattern.fullmatch(name)]
    return {name: [round_value(score.get(name)) for score in scores] for name in names}


def round_value(value: str | float | None) -> str | float | None:
    """A number with two decimals that JSON can represent."""
    if not isinstance(value, float):
        return value
    return round(value, 2) if math.isfinite(value) else None


def format_json(values: dict | list) -> str:
    """Indented JSON with each list of numbers or words on one line."""
    text = json.dumps(values, indent=2, allow_nan=False)
    return re.sub(r"\[[^\[\]{}]+\]", lambda match: f"[{' '.join(match[0][1:-1].split())}]", text) + "\n"


def write_results(path: Path, results: dict, scores: dict[str, list[Score]]) -> None:
    """
    Write one results file.

    Args:
        path (`Path`):
            The file.
        results (`dict`):
            The model, the conditions and, as `rows`, the means of each row.
        scores (`dict`):
            The mixtures of each row.
    """
    voices, columns = collect_scores(scores)
    rows = {name: row | describe_spread(scores[name]) for name, row in results["rows"].items()}
    for name, values in columns.items():
        rows[name]["scores"] = values
    run = {key: value for key, value in results.items() if key != "rows"}
    write_text(path, format_json(run | {"voices": voices, "rows": rows}))


def read_results(path: Path) -> dict:
    """
    Read one results file, and add its location as `folder`.

    Raises:
        `ValueError`: the file is not a results file of `training.run_evaluation`.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        conditions_of(results)
        for row in results["rows"]:
            if row.endswith("_order_by_tracker"):
                read_scores(results, row)
    except (
        OSError,
        UnicodeDecodeError,
        json.JSONDecodeError,
        KeyError,
        TypeError,
        AttributeError,
        StopIteration,
        ValueError,
    ) as error:
        raise ValueError(f"{path} is not a results.json of training.run_evaluation: {error!r}") from error
    return results | {"folder": path.parent}


def load_evaluations(folder: Path = RESULTS_DIR) -> list[dict]:
    """All results files below a folder, the best first."""
    evaluations = [read_results(path) for path in folder.rglob("results.json")]
    return sorted(evaluations, key=lambda results: (-best_score(results), results["model"]))


def best_score(results: dict) -> float:
    """SI-SNRi without references, of the oracle if there is no model."""
    rows = results["rows"]
    return rows.get("model_order_by_tracker", rows.get("oracle_order_by_tracker"))["si_snri"]


def read_scores(results: dict, row: str) -> list[Score]:
    """
    The mixtures of one row of a results file, in the order of the list.

    Raises:
        `KeyError`: the row holds means only.
        `ValueError`: the columns differ in length.
    """
    improvements = results["rows"][row]["scores"]
    columns = results["voices"] | improvements
    mixtures = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    scores = []
    for mixture in mixtures:
        # sources that did not sound have no score
        known = [mixture[name] for name in improvements if mixture[name] is not None]
        scores += [mixture | {"si_snri": statistics.fmean(known)}] if known else []
    return scores
