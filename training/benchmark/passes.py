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
Several passes over a mixture: the gain of their mean, and their time.

The first mixtures of a list are separated with each number of passes in turn, as `audioslots separate --num-speakers outputs --passes N`
does. Each row of the table has the mean SI-SNRi, without references for the order of the tracks, the mean gain over one pass with its
standard error, and the CPU time relative to one pass.
"""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from audioslots_hf import load_separator
from audioslots_hf.passes import NUM_PASSES
from audioslots_hf.separator import Separator
from audioslots_hf.shipped import DEFAULT_CHECKPOINT
from training.arguments import MixtureArguments
from training.data.mixtures import load_mixtures
from training.evaluation.scoring import score_estimates
from training.evaluation.stopwatch import Stopwatch
from training.evaluation.subject import name_run, naming_model
from training.settings import SettingsError


METADATA = Path(__file__).parents[1] / "metadata" / "libri2mix_valid.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--root", type=Path, required=True, help="root of the paths in the list")
    parser.add_argument("--metadata", type=Path, default=METADATA, help=f"LibriMix csv ({METADATA.name})")
    parser.add_argument(
        "--mixtures", type=int, default=50, help="number of mixtures from the start of the list (default: 50)"
    )
    parser.add_argument("--model", help="name, folder or repository (default: the shipped default)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """
    Print a table, and return its rows by the number of passes.

    Raises:
        `SettingsError`: there are too few mixtures, the list cannot be read, or the model takes no passes.
    """
    if options.mixtures < 2:
        raise SettingsError(f"--mixtures is {options.mixtures}: a standard error needs at least 2.")
    with naming_model():
        pipeline = load_separator(options.model, device="cpu")
        separators = {
            passes: Separator(pipeline.model, pipeline.feature_extractor, passes=passes) for passes in NUM_PASSES
        }
    listed = MixtureArguments(metadata=str(options.metadata), root=str(options.root))
    num_sources = pipeline.model.config.num_sources
    mixtures = load_mixtures(listed, pipeline.feature_extractor.sampling_rate, num_sources, options.mixtures)
    stopwatch = Stopwatch(time.process_time)
    scores: dict[int, list[float]] = defaultdict(list)
    for index in tqdm(range(len(mixtures)), desc="Separating", unit="mixture", file=sys.stderr):
        mixture = mixtures[index]
        for passes, separator in separators.items():
            with stopwatch.measure(str(passes)):
                tracks = separator.separate(mixture.waveform[None])[0]
            scores[passes].append(score_estimates(mixture, tracks)["si_snri"])
    rows = describe(scores, stopwatch.seconds)
    return {"model": name_run(options.model or DEFAULT_CHECKPOINT), "mixtures": len(mixtures), "passes": rows}


def describe(scores: dict[int, list[float]], seconds: dict[str, float]) -> dict[str, dict[str, float]]:
    """Print the table; SI-SNRi in dB of each mixture by the number of passes, and their seconds -> the rows of the table."""
    tqdm.write("| passes | SI-SNRi, dB | gain, dB | time, relative |\n| --- | --- | --- | --- |")
    rows = {}
    for passes, improvements in scores.items():
        gains = [score - single for score, single in zip(improvements, scores[1], strict=True)]
        row = {
            "si_snri": statistics.mean(improvements),
            "gain": statistics.mean(gains),
            "standard_error": statistics.stdev(gains) / len(gains) ** 0.5,
            "time": seconds[str(passes)] / seconds["1"],
        }
        rows[str(passes)] = row
        gain = f"{row['gain']:+.2f} ± {row['standard_error']:.2f}" if passes > 1 else "-"
        tqdm.write(f"| {passes} | {row['si_snri']:.2f} | {gain} | {row['time']:.1f} |")
    return rows
