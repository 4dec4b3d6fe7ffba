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
How many people are found in a few seconds: in two voices that overlap all the time, and in one of them alone.

The first seconds of each mixture of a list, and of its first voice, go through the pipeline as a user calls it. Mixtures that are
shorter are left out. Each row of the table has the shares of the recordings in which so many people are found. The default list is
of validation speakers, on whom the limits of the counting were chosen.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from audioslots_hf import load_separator
from audioslots_hf.shipped import DEFAULT_CHECKPOINT
from audioslots_hf.speakers import AUTO
from training.arguments import MixtureArguments
from training.data.mixtures import load_mixtures
from training.evaluation.subject import name_run, naming_model
from training.settings import SettingsError


SAMPLING_RATE = 16000
METADATA = Path(__file__).parents[1] / "metadata" / "libri2mix_valid.csv"
VOICES = ("one voice", "two voices")
# the last stands for all higher numbers
FOUND = ("none", "one", "two", "more")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--root", type=Path, required=True, help="root of the paths in the list")
    parser.add_argument("--metadata", type=Path, default=METADATA, help=f"LibriMix csv ({METADATA.name})")
    parser.add_argument("--mixtures", type=int, help="number of mixtures from the start of the list (default: all)")
    parser.add_argument(
        "--seconds",
        type=float,
        nargs="+",
        default=[2, 3, 4, 6, 9],
        help="lengths of the recordings (default: 2 3 4 6 9)",
    )
    parser.add_argument("--model", help="name, folder or repository (default: the shipped default)")
    parser.add_argument("--device", help="where the model computes, for instance cuda (default: as the pipeline does)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """
    Print a table of the shares, and return them by seconds and voices.

    Raises:
        `SettingsError`: a number or a length is out of range, or the list cannot be read. `ValueError`: people cannot be told apart.
    """
    if options.mixtures is not None and options.mixtures < 1:
        raise SettingsError(f"--mixtures is {options.mixtures}: it must be at least 1.")
    listed = MixtureArguments(metadata=str(options.metadata), root=str(options.root))
    mixtures = load_mixtures(listed, SAMPLING_RATE, num_sources=2, max_mixtures=options.mixtures)
    lengths = [row["num_samples"] for row in mixtures.rows]
    if max(options.seconds) * SAMPLING_RATE > max(lengths) or min(options.seconds) <= 0:
        raise SettingsError(
            f"--seconds must be above 0, and at most {max(lengths) / SAMPLING_RATE:g}, the longest mixture of {options.metadata}."
        )
    with naming_model():
        separator = load_separator(options.model, device=options.device)
    indices = {
        seconds: [index for index, length in enumerate(lengths) if length >= seconds * SAMPLING_RATE]
        for seconds in options.seconds
    }
    shares: dict[str, dict[str, dict[str, float]]] = {}
    tqdm.write(f"| seconds | voices | recordings | {' | '.join(FOUND)} |\n|{' --- |' * (3 + len(FOUND))}")
    with tqdm(total=sum(map(len, indices.values())), desc="Counting", unit="mixture", file=sys.stderr) as bar:
        for seconds, chosen in indices.items():
            counts = {voices: Counter() for voices in VOICES}
            for index in chosen:
                mixture = mixtures.read(index, 0, round(seconds * SAMPLING_RATE))
                for voices, waveform in zip(VOICES, (mixture.references[0], mixture.waveform), strict=True):
                    # without a voice encoder this is an error, and not the number of outputs of the model
                    tracks = separator(
                        waveform.numpy(), sampling_rate=SAMPLING_RATE, num_speakers=AUTO, show_progress=False
                    )
                    counts[voices][FOUND[min(len(tracks), len(FOUND) - 1)]] += 1
                bar.update()
            shares[f"{seconds:g} s"] = {
                voices: {name: count[name] / len(chosen) for name in FOUND} for voices, count in counts.items()
            }
            for voices, row in shares[f"{seconds:g} s"].items():
                cells = " | ".join(f"{100 * share:.0f} %" for share in row.values())
                tqdm.write(f"| {seconds:g} | {voices} | {len(chosen)} | {cells} |")
    return {"model": name_run(options.model or DEFAULT_CHECKPOINT), "shares": shares}
