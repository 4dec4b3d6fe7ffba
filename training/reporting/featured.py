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
"""The results table of the README: its rows and test sets."""

import json
import statistics
from dataclasses import dataclass

from audioslots_hf.card_results import (
    CONVERSATIONS,
    PEOPLE_ROW,
    describe_conversations,
    format_table,
    load_conversations,
)
from audioslots_hf.shipped import DEFAULT_CHECKPOINT

from .groups import PITCH_EDGES, by_pitch_distance
from .results import RESULTS_DIR, ROOT, read_scores


# The columns: title, metadata, mode.
TEST_SETS = (
    ("LibriSpeech", "libri2mix_test.csv", "min, clean"),
    ("one microphone", "libri2mix_test.csv", "min, clean, shared spectrum"),
    ("high-pass 300 Hz", "libri2mix_test.csv", "min, clean, high-pass 300 Hz"),
    ("telephone prompts", "prompts_test.csv", "min, clean"),
)
PUBLISHED = json.loads((RESULTS_DIR / "published.json").read_text(encoding="utf-8"))
MISSING = "–"


@dataclass(frozen=True)
class Featured:
    """A row of results of this repository: its title, and the folder and row of its results."""

    title: str
    folder: str
    row: str = "model_order_by_tracker"


# The only list of the results in the README; those of published models follow.
FEATURED = (
    Featured("ceiling: true magnitudes, the mixture's phase", "oracle-0.5s", "oracle_order_by_tracker"),
    Featured("**GALR, `galr-small`: the default**", "galr-small"),
    Featured("AudioSlots, `audioslots-small`", "audioslots-small"),
    Featured("DPRNN, `dprnn-cpu` (does not ship)", "dprnn-cpu"),
)


def format_featured(evaluations: list[dict]) -> str:
    """
    The table of the README.

    Args:
        evaluations (`list`):
            All results files. Those of a featured row have the name of its folder, optionally followed by that of a test set.

    Raises:
        `ValueError`: a featured row has no results.
    """
    header = ["", "parameters", *(title for title, *_ in TEST_SETS), PUBLISHED["title"]]
    table = format_table(header, [*(format_own(row, evaluations) for row in FEATURED), *format_published()])
    return f"{table}\n{MISSING}: not measured. {format_people_scores(evaluations)}\nThe last column holds {PUBLISHED['conditions']}.\n"


def format_own(featured: Featured, evaluations: list[dict]) -> list[str]:
    """The cells of a row of this repository."""
    own = [results for results in evaluations if results["folder"].name.startswith(featured.folder)]
    if not own:
        raise ValueError(f"FEATURED names {featured.folder}, which is not a folder of training/results.")
    scores = {(results["metadata"], results["mode"]): results["rows"][featured.row]["si_snri"] for results in own}
    cells = [f"{scores[kind]:.2f}" if (kind := (name, mode)) in scores else MISSING for _, name, mode in TEST_SETS]
    weights = own[0]["weights"]
    return [featured.title, f"{weights['num_parameters']:,}" if weights else MISSING, *cells, MISSING]


def format_people_scores(evaluations: list[dict]) -> str:
    """The scores of the default checkpoint where people are told apart, as the command does by default, in a sentence."""
    own = {
        (results["metadata"], results["mode"]): results["rows"][PEOPLE_ROW]
        for results in evaluations
        if results["model"] == DEFAULT_CHECKPOINT and PEOPLE_ROW in results["rows"]
    }
    scores = [
        f"{title} {row['si_snri']:.2f} ({row['num_missed']} of {2 * row['num_mixtures']})"
        for title, name, mode in TEST_SETS
        if (row := own.get((name, mode)))
    ]
    return (
        f"By default the command tells people apart, and a voice may have no track. The others of `{DEFAULT_CHECKPOINT}` have, in dB"
        f" (voices without a track): {', '.join(scores)}."
    )


def format_published() -> list[list[str]]:
    """The cells of the rows of published models, with their sources."""
    rows = []
    for model in PUBLISHED["models"]:
        title = f"{model['name']} ([{model['source']}]({model['url']}), {model['sampling_rate'] // 1000} kHz)"
        parameters = f"{model['num_parameters']:,}" if "num_parameters" in model else MISSING
        rows.append([title, parameters, *[MISSING] * len(TEST_SETS), f"{model['si_snri']:.1f}"])
    return rows


def format_limits(evaluations: list[dict]) -> str:
    """The limits of the default checkpoint, from its results, as a list."""
    own = {results["folder"].name: results for results in evaluations if results["model"] == DEFAULT_CHECKPOINT}
    means = {name: results["rows"]["model_order_by_tracker"]["si_snri"] for name, results in own.items()}
    scores = read_scores(own[DEFAULT_CHECKPOINT], "model_order_by_tracker")
    worst = statistics.quantiles((score["si_snri"] for score in scores), n=10)[0]
    near, *_, far = map(statistics.fmean, by_pitch_distance(scores).values())
    return (
        f"* Of the outputs, a tenth of the {len(scores)} mixtures of LibriSpeech gain less than {worst:.1f} dB; the mean is"
        f" {means[DEFAULT_CHECKPOINT]:.1f} dB.\n"
        f"* Voices of similar pitch are harder: {near:.1f} dB where the median pitches differ by less than"
        f" {PITCH_EDGES[0]:g} semitones, {far:.1f} dB at {PITCH_EDGES[-1]:g} semitones or more.\n"
        f"* Outputs of voices that share one microphone gain {means[f'{DEFAULT_CHECKPOINT}-shared-spectrum']:.1f} dB, telephone prompts"
        f" in four languages {means[f'{DEFAULT_CHECKPOINT}-prompts']:.1f} dB.\n"
        f"{format_conversations()}"
    )


def format_conversations() -> str:
    """The scores of the default checkpoint in conversations whose people are told apart, as its card has them, as a list."""
    conversations = load_conversations(ROOT / "src" / "audioslots_hf" / "checkpoints" / DEFAULT_CHECKPOINT)
    titles = ("conversation of two", "conversation of three")
    found = {title: describe_conversations(conversations, CONVERSATIONS[title]) for title in titles}
    return "".join(
        f"* {title.capitalize()} in turns, {phrases[0]}; {phrases[-1]}.\n"
        for title, phrases in found.items()
        if phrases
    )
