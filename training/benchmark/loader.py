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
Speed of one worker that makes training examples from a folder of speech: pairs of voices per second, and the time by activity.

`list` mixes the files of a table of mixtures, `disk` draws voices from files, `memory` draws voices that were read before the
run, which needs no worker. Decoding is the time of soundfile, resampling that of SciPy; the rest is drawing, gains, sums and
tensors. All times are CPU times. The last line is JSON: `examples_per_s`.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from unittest import mock

import soundfile
from datasets import Dataset
from tqdm.auto import tqdm

from training.arguments import SpeechArguments
from training.data import audio as audio_module
from training.data.audio import audio_length
from training.data.examples import TrainingExamples
from training.data.mixer import SpeechMixer
from training.data.mixtures import FEATURES, MixtureList, fill_row
from training.data.speech import list_speech, load_speech
from training.evaluation.stopwatch import Stopwatch
from training.settings import SettingsError


SAMPLES = Path(__file__).parents[2] / "tests" / "samples" / "speech"
SOURCES = ("list", "disk", "memory")


@contextmanager
def watch_reading() -> Iterator[Stopwatch]:
    """Time soundfile and the resampling in `training.data`."""
    stopwatch = Stopwatch(time.process_time)
    with ExitStack() as stack:
        for name in ("__init__", "seek", "buffer_read_into", "close"):
            timed = stopwatch.measure("decode")(getattr(soundfile.SoundFile, name))
            stack.enter_context(mock.patch.object(soundfile.SoundFile, name, timed))
        timed = stopwatch.measure("resample")(audio_module.resample_poly)
        stack.enter_context(mock.patch.object(audio_module, "resample_poly", timed))
        yield stopwatch


def pair_up(root: str, sampling_rate: int) -> MixtureList:
    """Mixtures of successive files in a folder of speech."""
    lengths = {str(file.path): audio_length(file.path, sampling_rate) for file in list_speech(root)}
    if len(lengths) < 2:
        raise SettingsError(f"{root} has {len(lengths)} file: a mixture needs two.")
    rows = [
        fill_row("pair", "pair", min(lengths[one], lengths[other]), [one, other]) for one, other in pairwise(lengths)
    ]
    return MixtureList(Dataset.from_list(rows, features=FEATURES), sampling_rate)


def build_examples(source: str, root: str, sampling_rate: int, duration_s: float) -> TrainingExamples:
    """Training examples of a folder of speech, in one of the three ways."""
    crop_length = int(duration_s * sampling_rate)
    mixer, lists = None, []
    if source == "list":
        lists = [pair_up(root, sampling_rate)]
    else:
        speech = [load_speech(SpeechArguments(root, in_memory=source == "memory"), sampling_rate)]
        mixer = SpeechMixer(speech, 2, crop_length, sampling_rate)
    return TrainingExamples(mixer, lists, [1.0], crop_length, seed=72, num_examples=sys.maxsize)


def make_examples(examples: TrainingExamples, duration_s: float) -> tuple[int, float]:
    """Make examples for some seconds of CPU time -> number of examples, seconds."""
    count, started = 0, time.process_time()
    while (elapsed_s := time.process_time() - started) < duration_s or count == 0:
        count += 1
        examples[count]
    return count, elapsed_s


def measure(examples: TrainingExamples, duration_s: float) -> tuple[float, dict[str, float]]:
    """Make examples for some seconds -> examples per second, and the shares of the time."""
    # open the table and build the filters
    examples[0]
    # a separate measurement, because timing the parts takes time itself
    count, unwatched_s = make_examples(examples, duration_s)
    with watch_reading() as stopwatch:
        _, watched_s = make_examples(examples, duration_s)
    shares = {name: stopwatch.seconds[name] / watched_s for name in ("decode", "resample")}
    return count / unwatched_s, shares | {"mix": 1 - sum(shares.values())}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--root", default=str(SAMPLES), help="folder of speech (default: the samples of the tests)")
    parser.add_argument(
        "--crops", type=float, nargs="+", default=[0.5, 4.0], help="lengths of the crops in seconds (default: 0.5 4)"
    )
    parser.add_argument("--sampling-rates", type=int, nargs="+", default=[16000, 8000], help="(default: 16000 8000)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=5,
        help="duration of each measurement, which runs twice: in total and by activity (default: 5)",
    )


def run(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Print a table; examples per second by source, rate and crop."""
    if min(options.crops) <= 0:
        raise SettingsError(f"--crops holds {min(options.crops)}: a crop must be longer than 0 s.")
    print("| source | rate, Hz | crop, s | examples per s and worker | decode | resample | mix |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    cases = [(source, rate, crop) for source in SOURCES for rate in options.sampling_rates for crop in options.crops]
    results = {}
    for source, rate, crop in tqdm(cases, desc="Measuring", unit="case", file=sys.stderr):
        speed, shares = measure(build_examples(source, options.root, rate, crop), options.seconds)
        results[f"{source}, {rate} Hz, {crop:g} s"] = speed
        cells = " | ".join(f"{100 * share:.0f} %" for share in shares.values())
        tqdm.write(f"| {source} | {rate} | {crop:g} | {speed:.0f} | {cells} |")
    return {"examples_per_s": results}
