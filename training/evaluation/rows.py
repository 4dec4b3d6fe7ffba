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
"""The rows of the results: plan, score, gather from all processes, describe."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from accelerate.utils import gather_object, tqdm
from torch.utils.data import DataLoader
from transformers import FeatureExtractionMixin, PreTrainedModel

from .protocols import PEOPLE, PROTOCOLS, People
from .reader import MixtureReader
from .scoring import evaluate_mixtures, summarize
from .stopwatch import Stopwatch


# Mixtures are read in groups, and each group is scored for all rows, so that no mixture is read twice.
GROUP_SIZE = 16


@dataclass
class Row:
    """One row of results: the scored subject (the oracle without a model), its protocol and its masks."""

    name: str
    model: PreTrainedModel | None
    protocol: str
    masks: dict[str, str | float] = field(default_factory=dict)
    people: People | None = None
    results: list[dict[str, float | str]] = field(default_factory=list)
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def describe(self) -> dict[str, str | float]:
        """Means over the mixtures, and the conditions of the measurement."""
        return {
            "protocol": self.protocol,
            **({} if self.people is None else self.people.describe()),
            **self.masks,
            **summarize(self.results),
            "seconds": self.stopwatch.seconds["all"],
        }


def plan_rows(
    model: PreTrainedModel | None,
    feature_extractor: FeatureExtractionMixin,
    people: People | None = None,
) -> list[Row]:
    """The rows of a model, or of the oracle alone; where people are told apart, their tracks are one more."""
    rows = _plan_protocols(model, feature_extractor)
    if people is not None:
        rows.append(Row(f"model_{PEOPLE}", model, PEOPLE, feature_extractor.default_masks, people))
    return rows


def _plan_protocols(model: PreTrainedModel | None, feature_extractor: FeatureExtractionMixin) -> list[Row]:
    if not feature_extractor.mask_kinds:
        # without masks, an oracle would return the references
        return [Row(f"model_{protocol}", model, protocol) for protocol in PROTOCOLS]
    first, *others = feature_extractor.mask_kinds
    masks = feature_extractor.mask_kinds[first]
    rows = []
    for name, subject in {"oracle": None, "model": model}.items():
        if name == "oracle" or subject is not None:
            # the oracle and the order by references use the paper's masks, the order by the tracker those of the checkpoint
            own = masks if subject is None else feature_extractor.default_masks
            rows += [
                Row(f"{name}_order_by_tracker", subject, "order_by_tracker", own),
                Row(f"{name}_order_by_references", subject, "order_by_references", masks),
            ]
            rows += [
                Row(
                    f"{name}_order_by_references_{kind}",
                    subject,
                    "order_by_references",
                    feature_extractor.mask_kinds[kind],
                )
                for kind in others
            ]
    return rows


def evaluate_rows(
    rows: list[Row], reader: MixtureReader, extractor: FeatureExtractionMixin, num_workers: int
) -> float:
    """Score every mixture for every row, and return the seconds spent waiting for the mixtures."""
    loader = DataLoader(reader, GROUP_SIZE, num_workers=num_workers, collate_fn=list)
    reading = Stopwatch()
    with tqdm(total=len(reader) * len(rows), unit="score", desc="Evaluating") as bar:
        for group in reading.waiting_for(loader, "all"):
            mixtures, voices = zip(*group, strict=True)
            for row in rows:
                bar.set_postfix_str(row.name)
                scores = evaluate_mixtures(
                    mixtures, row.model, extractor, row.protocol, row.stopwatch, row.people, **row.masks
                )
                with row.stopwatch.measure("all"):
                    for score, known in zip(scores, voices, strict=True):
                        check_score(row, score)
                        row.results.append(score | known)
                        bar.update()
    return reading.seconds["all"]


def check_score(row: Row, score: dict[str, float | str]) -> None:
    """Exit if a score is NaN or infinite."""
    if score["si_snri"] is not None and not math.isfinite(score["si_snri"]):
        raise SystemExit(
            f"error: the score of {score['mixture_id']} in {row.name} is {score['si_snri']}: the output of the model contains "
            "NaN or infinite values. Train it with a lower `learning_rate`, or use an earlier checkpoint."
        )


def gather_rows(rows: list[Row]) -> None:
    """Gather the results of all processes into each row, in the order of the list, and add up their seconds."""
    for row in rows:
        row.results = gather_object(row.results)
        row.stopwatch.seconds = sum(gather_object([row.stopwatch.seconds]), start=Counter())


def describe_time(rows: list[Row], reading_s: float) -> dict[str, float]:
    """The seconds of all processes by activity; reading counts as the time spent waiting for it."""
    model_rows = [row for row in rows if row.model is not None]
    model_s = sum(row.stopwatch.seconds["model"] for row in model_rows)
    return {
        "model": model_s,
        "reading": reading_s,
        "stitching and metrics": sum(row.stopwatch.seconds["all"] for row in model_rows) - model_s,
        "oracle": sum(row.stopwatch.seconds["all"] for row in rows if row.model is None),
    }


def format_time(seconds: dict[str, float]) -> str:
    """One line with the shares of the time; the total excludes the oracle."""
    oracle = f"oracle {seconds['oracle']:.1f} s"
    if seconds["model"] == 0:
        return f"{oracle}, reading {seconds['reading']:.1f} s"
    total = sum(seconds.values()) - seconds["oracle"]
    parts = [f"{name} {100 * seconds[name] / total:.0f} %" for name in ("reading", "stitching and metrics")]
    line = f"model {100 * seconds['model'] / total:.0f} % of {total:.1f} s, {', '.join(parts)}"
    return f"{line}; {oracle} on top" if seconds["oracle"] else line


def describe_rows(rows: list[Row], times: dict[str, float]) -> dict:
    """The means of all rows, their ratios to the oracle's, and the time by activity."""
    results = {"process_seconds": times}
    if times["model"] > 0:
        results["share_outside_model"] = 1 - times["model"] / (sum(times.values()) - times["oracle"])
    if ratios := ratios_to_oracle(rows):
        results["ratio_to_oracle"] = ratios
    return results | {"rows": {row.name: row.describe() for row in rows}}


def ratios_to_oracle(rows: Iterable[Row]) -> dict[str, float]:
    """The improvement of the model relative to that of the oracle, for every row that both have."""
    means = {row.name: summarize(row.results)["si_snri"] for row in rows}
    scores = {name: mean for name, mean in means.items() if mean is not None}
    names = [name.removeprefix("model_") for name in scores if name.startswith("model_")]
    return {name: scores[f"model_{name}"] / scores[f"oracle_{name}"] for name in names if f"oracle_{name}" in scores}
