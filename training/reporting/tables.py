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
"""Markdown tables of results files."""

from audioslots_hf.card_results import PEOPLE_ROW, PROTOCOLS, WITH_PEOPLE, format_people, format_table
from audioslots_hf.families import FAMILIES, Family

from .results import Conditions, group_by_conditions


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


def format_results(evaluations: list[dict]) -> str:
    """
    Results files as Markdown, one table for each of their conditions: a row per model, and a row per oracle before its
    models.
    """
    return "\n".join(format_group(*group) for group in group_by_conditions(evaluations).items())


def format_group(conditions: Conditions, evaluations: list[dict]) -> str:
    """The table of results under the same conditions."""
    rows, oracles = [], set()
    with_people = any(PEOPLE_ROW in results["rows"] for results in evaluations)
    for results in evaluations:
        if "oracle_order_by_tracker" in results["rows"]:
            mask = results["rows"]["oracle_order_by_tracker"]["mask"]
            oracle = f"oracle: true magnitudes, {name_oracle(results)}, {mask} masks"
            if oracle not in oracles:
                oracles.add(oracle)
                rows.append([oracle, "", *format_scores(results, "oracle"), *(["–"] if with_people else [])])
        if "model_order_by_tracker" in results["rows"]:
            name = f"`{name_model(results, evaluations)}` ({describe_kind(results)})"
            people = [format_people(results, with_spread=False)] if with_people else []
            parameters = f"{results['weights']['num_parameters']:,}"
            rows.append([name, parameters, *format_scores(results, "model"), *people])
    table = format_table(["", "parameters", *PROTOCOLS.values(), *([WITH_PEOPLE] if with_people else [])], rows)
    checksums = [
        f"`{results['model']}` {results['weights']['sha256'][:16]}" for results in evaluations if results["weights"]
    ]
    means = "mean over all sources" + (", of people over those that have a track" if with_people else "")
    text = f"{conditions}; SI-SNRi in dB, {means}.\n\n{table}"
    return f"{text}\nsha256 of the weights: {', '.join(checksums)}.\n" if checksums else text


def name_separator(results: dict, evaluations: list[dict]) -> str:
    """The name of a model, with a description of the input for a model that does not separate."""
    name = name_model(results, evaluations)
    return f"{name}, {HEARS_REFERENCES}" if kind_of(results) == "autoencoder" else name


def format_scores(results: dict, name: str) -> list[str]:
    """SI-SNRi under both protocols."""
    return [f"{results['rows'][f'{name}_{protocol}']['si_snri']:.2f}" for protocol in PROTOCOLS]


def chunk_s(results: dict) -> float:
    """Seconds of a chunk."""
    return results["chunk_length"] / results["sampling_rate"]


def name_oracle(results: dict) -> str:
    """The name of an oracle, unique for its settings: two oracles of the same name have the same scores."""
    name = f"{chunk_s(results):g} s chunks"
    return f"{name}, STFT {results['stft']['n_fft']}/{results['stft']['hop_length']}"


def name_model(results: dict, evaluations: list[dict]) -> str:
    """The name of a model, with a part of the checksum of its weights if other weights have the same name."""
    digests = {
        other["weights"]["sha256"] for other in evaluations if other["weights"] and other["model"] == results["model"]
    }
    return results["model"] if len(digests) < 2 else f"{results['model']} {results['weights']['sha256'][:8]}"


def kind_of(results: dict) -> str:
    """The name of the kind of model in Table 1."""
    return "autoencoder" if results.get("is_autoencoder") else results["model_type"]


def describe_kind(results: dict) -> str:
    """The kind of a model, with a description of the input for a model that does not separate."""
    kind = kind_of(results)
    return f"{kind}: {HEARS_REFERENCES}" if kind == "autoencoder" else kind


def format_table_1(evaluations: list[dict]) -> str:
    """
    Table 1 of the AudioSlots paper. Rows without results are marked, and rows with several models are repeated.

    All rows follow the paper's protocol, with masks of exponent 1. Oracles with another STFT have their own rows.
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
    rows = [
        results["rows"].get(name)
        for name in (f"{subject}_order_by_references", f"{subject}_order_by_references_binary")
    ]
    return {row["mask"]: row for row in rows if row is not None and "mask" in row}


def format_masks(rows: dict[str, dict]) -> list[str]:
    """The cells of one row of Table 1."""
    return [
        f"{rows[mask][score]:.2f}" if mask in rows else NOT_RUN
        for mask in ("binary", "wiener")
        for score in ("si_snr", "si_snri")
    ]


def list_waveform_families() -> list[Family]:
    """The families that estimate waveforms."""
    return [family for family in FAMILIES.values() if family.config_class.estimates_domain == "waveform"]


def format_waveform_families(evaluations: list[dict]) -> str:
    """A table of the families that estimate waveforms: cost and scores."""
    lines = []
    for family in list_waveform_families():
        found = [results for results in evaluations if results["model_type"] == family.model_type]
        for results in found:
            macs = results.get("macs_per_s")
            cost = [f"{results['weights']['num_parameters']:,}", f"{macs / 1e9:.2f}" if macs else "not counted"]
            lines.append(
                [family.title, f"`{name_model(results, evaluations)}`", *cost, *format_scores(results, "model")]
            )
        if not found:
            lines.append([family.title, "", *[NOT_RUN] * 4])
    scores = [f"SI-SNRi, {protocol}" for protocol in PROTOCOLS.values()]
    return format_table(["", "model", "parameters", "GMAC per s of audio", *scores], lines)
