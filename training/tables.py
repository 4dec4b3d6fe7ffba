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
"""Results files of evaluations, and the Markdown tables that are made of them."""

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path


ROOT = Path(__file__).resolve().parents[1]
RESULTS_DIR = ROOT / "training" / "results"
PROTOCOLS = {
    "practical": "no reference",
    "paper": "disjoint chunks, ordered by the references",
}
NOT_RUN = "not run"
HEARS_REFERENCES = "hears each reference alone"
# The rows of Table 1: title, kind of results, seconds of a chunk.
TABLE_1 = (
    ("Oracle 0.5 s", "oracle", 0.5),
    ("Autoencoder", "autoencoder", 0.5),
    ("AudioSlots", "audioslots", 0.5),
    ("Oracle 1 s", "oracle", 1.0),
    ("AudioSlots 1 s", "audioslots", 1.0),
)


@dataclass(frozen=True)
class Conditions:
    """What two results must share to be compared."""

    metadata: str
    # of the csv, for other lists may have its name; empty for a generated tree
    metadata_sha256: str
    num_mixtures: int
    sampling_rate: int
    mode: str

    @property
    def slug(self) -> str:
        """A name for files, as unlike another one's as the conditions are."""
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
    """Results that may stand in one table: those of most mixtures first, and a list as it is before it is filtered."""
    groups: dict[Conditions, list[dict]] = {}
    for results in evaluations:
        groups.setdefault(conditions_of(results), []).append(results)
    # a list stands where its best result does; what is filtered has the longer mode
    places: dict[tuple[str, str], int] = {}
    for conditions in groups:
        places.setdefault((conditions.metadata, conditions.metadata_sha256), len(places))

    def place(group: tuple[Conditions, list[dict]]) -> tuple[int, int, int]:
        conditions = group[0]
        return -conditions.num_mixtures, places[conditions.metadata, conditions.metadata_sha256], len(conditions.mode)

    return dict(sorted(groups.items(), key=place))


def read_results(path: Path) -> dict:
    """
    One results file, and as `folder` where it lies, with the csv files of its rows.

    Raises:
        `ValueError`: it is none of `training.run_evaluation`.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        rows = results["rows"].values()
        conditions_of(results)
    except (
        OSError,
        UnicodeDecodeError,
        json.JSONDecodeError,
        KeyError,
        TypeError,
        AttributeError,
        StopIteration,
    ) as error:
        raise ValueError(f"{path} is no results.json of training.run_evaluation: {error!r}") from error
    if "mask" in results:
        # before each row named its own
        for row in rows:
            row.setdefault("mask", results["mask"])
    return results | {"folder": path.parent}


def load_evaluations(folder: Path = RESULTS_DIR) -> list[dict]:
    """All results files below a folder, the best first."""
    evaluations = [read_results(path) for path in folder.rglob("results.json")]
    return sorted(evaluations, key=lambda results: (-best_score(results), results["model"]))


def best_score(results: dict) -> float:
    """SI-SNRi without references, of the oracle where there is no model."""
    rows = results["rows"]
    return rows.get("model_practical", rows.get("oracle_practical"))["si_snri"]


def read_scores(results: dict, row: str) -> list[dict[str, str]]:
    """The csv of one row of a results file."""
    with open(results["folder"] / f"{row}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def format_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in cells)}|\n" for cells in lines)


def format_results(evaluations: list[dict]) -> str:
    """
    Results files as Markdown, one table for each of their conditions: a row per model, and one per oracle in front of the
    models it is that of.
    """
    return "\n".join(format_group(*group) for group in group_by_conditions(evaluations).items())


def format_group(conditions: Conditions, evaluations: list[dict]) -> str:
    """The table of results under the same conditions."""
    rows, oracles = [], set()
    for results in evaluations:
        if "oracle_practical" in results["rows"]:
            mask = results["rows"]["oracle_practical"]["mask"]
            oracle = f"oracle: true magnitudes, {name_oracle(results)}, {mask} masks"
            if oracle not in oracles:
                oracles.add(oracle)
                rows.append([oracle, "", *format_scores(results, "oracle")])
        if "model_practical" in results["rows"]:
            name = f"`{name_model(results, evaluations)}` ({describe_kind(results)})"
            rows.append([name, f"{results['weights']['num_parameters']:,}", *format_scores(results, "model")])
    table = format_table(["", "parameters", *PROTOCOLS.values()], rows)
    weights = [
        f"`{results['model']}` {results['weights']['sha256'][:16]}" for results in evaluations if results["weights"]
    ]
    text = f"{conditions}; SI-SNRi in dB, mean over all sources.\n\n{table}"
    return f"{text}\nsha256 of the weights: {', '.join(weights)}.\n" if weights else text


def name_separator(results: dict, evaluations: list[dict]) -> str:
    """The name of a model, and of one that separates nothing what it is given."""
    name = name_model(results, evaluations)
    return f"{name}, {HEARS_REFERENCES}" if kind_of(results) == "autoencoder" else name


def format_scores(results: dict, name: str) -> list[str]:
    """SI-SNRi under both protocols."""
    return [f"{results['rows'][f'{name}_{protocol}']['si_snri']:.2f}" for protocol in PROTOCOLS]


def chunk_s(results: dict) -> float:
    """Seconds of a chunk."""
    return results["chunk_length"] / results["sampling_rate"]


def name_oracle(results: dict) -> str:
    """What tells the oracle of a results file from others; two of the same name have the same scores."""
    name = f"{chunk_s(results):g} s chunks"
    # results from before it was written do not tell the STFT
    return f"{name}, STFT {results['stft']['n_fft']}/{results['stft']['hop_length']}" if "stft" in results else name


def name_model(results: dict, evaluations: list[dict]) -> str:
    """The name of a model; with a part of the checksum of its weights where other weights have the same name."""
    digests = {
        other["weights"]["sha256"] for other in evaluations if other["weights"] and other["model"] == results["model"]
    }
    return results["model"] if len(digests) < 2 else f"{results['model']} {results['weights']['sha256'][:8]}"


def kind_of(results: dict) -> str:
    """What Table 1 calls the model of a results file."""
    # results from before it was written are of models of two sources
    if results["model_type"] == "audioslots" and results.get("num_sources", 2) == 1:
        return "autoencoder"
    return results["model_type"]


def describe_kind(results: dict) -> str:
    """The kind of a model, and of one that separates nothing what it is given."""
    kind = kind_of(results)
    return f"{kind}: {HEARS_REFERENCES}" if kind == "autoencoder" else kind


def format_table_1(evaluations: list[dict]) -> str:
    """
    Table 1 of the AudioSlots paper: rows that have not been run say so, a row that several models fill is repeated.

    All of it is under the paper's protocol, with masks of exponent 1. Oracles of another STFT have rows of their own.
    """
    lines = []
    for title, kind, duration_s in TABLE_1:
        subjects: dict[str, dict[str, dict]] = {}
        for results in evaluations:
            if chunk_s(results) == duration_s and kind in ("oracle", kind_of(results)):
                subject = "oracle" if kind == "oracle" else "model"
                name = name_oracle(results) if kind == "oracle" else f"`{name_model(results, evaluations)}`"
                if scores := find_scores(results, subject):
                    subjects.setdefault(name, {}).update(scores)
        lines += [[title, name, *format_masks(scores)] for name, scores in (subjects or {"": {}}).items()]
    header = ["", "model", *(f"{mask} {score}" for mask in ("IBM", "Wiener") for score in ("SI-SNR", "SI-SNRi"))]
    return format_table(header, lines)


def find_scores(results: dict, subject: str) -> dict[str, dict]:
    """The rows of the oracle or the model under the paper's protocol, by mask."""
    rows = [results["rows"].get(name) for name in (f"{subject}_paper", f"{subject}_paper_binary")]
    return {row["mask"]: row for row in rows if row is not None and "mask" in row}


def format_masks(rows: dict[str, dict]) -> list[str]:
    """The cells of one row of Table 1."""
    return [
        f"{rows[mask][score]:.2f}" if mask in rows else NOT_RUN
        for mask in ("binary", "wiener")
        for score in ("si_snr", "si_snri")
    ]


def format_dual_path(evaluations: list[dict]) -> str:
    """GALR against DPRNN: what they cost and what they reach."""
    lines = []
    for family in ("galr", "dprnn"):
        found = [results for results in evaluations if results["model_type"] == family]
        for results in found:
            macs = results.get("macs_per_s")
            cost = [f"{results['weights']['num_parameters']:,}", f"{macs / 1e9:.2f}" if macs else "not counted"]
            lines.append(
                [family.upper(), f"`{name_model(results, evaluations)}`", *cost, *format_scores(results, "model")]
            )
        if not found:
            lines.append([family.upper(), "", *[NOT_RUN] * 4])
    scores = [f"SI-SNRi, {protocol}" for protocol in PROTOCOLS.values()]
    return format_table(["", "model", "parameters", "GMAC per s of audio", *scores], lines)
