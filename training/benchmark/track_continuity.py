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
Continuity of tracks: two voices with pauses, a separator of oracle quality, random orders.

Five minutes of two speakers are built from their utterances with pauses in between. The separator knows them: it returns
the references plus noise, in an order drawn anew for each chunk. The benchmark counts the joins of chunks at which both
voices stay on their tracks. It tests only `tracking.py`, without a model.
"""

import argparse
import sys
from itertools import pairwise

import numpy as np
import torch
from tqdm.auto import tqdm

from audioslots_hf.chunking import SeparatedChunks, Stitcher, iter_chunks
from audioslots_hf.separator import default_chunk_hop_length
from training.arguments import SpeechArguments
from training.data.loudness import gain_between
from training.data.speech import Utterance, load_speech
from training.settings import SettingsError


SAMPLING_RATE = 16000


def build_voice(
    utterances: list[Utterance], num_samples: int, max_pause_s: float, rng: np.random.Generator
) -> np.ndarray:
    """Utterances of one speaker in random order at one loudness, a pause of 0 to `max_pause_s` after each: (num_samples,)"""
    parts = []
    while sum(map(len, parts)) < num_samples:
        utterance = utterances[int(rng.integers(len(utterances)))]
        voice = utterance.read(0, utterance.num_samples, SAMPLING_RATE)
        parts.append(voice * np.float32(gain_between(utterance.loudness, 0.0)))
        parts.append(np.zeros(int(rng.uniform(0, max_pause_s) * SAMPLING_RATE), np.float32))
    return np.concatenate(parts)[:num_samples]


def count_correct_joins(
    references: torch.Tensor, chunk_length: int, noise_db: float, rng: np.random.Generator
) -> tuple[int, int]:
    """
    Stitch the shuffled, noisy chunks of one recording.

    Args:
        references (`torch.Tensor` of shape `(num_sources, num_samples)`):
            True sources.
        chunk_length (`int`):
            Number of samples of a chunk; chunks overlap as in the pipeline.
        noise_db (`float`):
            Level of the noise on each estimate relative to its reference over the whole recording.

    Returns:
        The number of joins in the right order, and of all joins.
    """
    chunk_hop_length = default_chunk_hop_length(chunk_length, SAMPLING_RATE)
    stitcher = Stitcher(chunk_length, chunk_hop_length, SAMPLING_RATE)
    noise_levels = references.square().mean(dim=-1, keepdim=True).sqrt() * 10 ** (noise_db / 20)
    orders = []
    for chunk, is_last in iter_chunks([references], chunk_length, chunk_hop_length):
        noise = torch.from_numpy(rng.standard_normal(chunk.shape).astype(np.float32))
        order = torch.from_numpy(rng.permutation(len(references)))
        stitcher.add(SeparatedChunks((chunk + noise_levels * noise)[order][None]), is_last)
        orders.append(order[stitcher.tracker.order].tolist())
    return sum(before == after for before, after in pairwise(orders)), len(orders) - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--root", default="tests/samples/speech", help="folder of speech by speaker")
    parser.add_argument("--minutes", type=float, default=5.0, help="length of each recording (default: 5)")
    parser.add_argument("--chunk-s", type=float, default=4.0, help="length of a chunk in seconds (default: 4)")
    parser.add_argument("--max-pause-s", type=float, default=2.0, help="longest pause in seconds (default: 2)")
    parser.add_argument("--noise-db", type=float, default=-15.0, help="noise relative to the voice (default: -15)")
    parser.add_argument("--recordings", type=int, default=4, help="number of recordings (default: 4)")


def run(options: argparse.Namespace) -> dict[str, float]:
    """Count the joins of several recordings of two random speakers each."""
    speech = load_speech(SpeechArguments(options.root), SAMPLING_RATE)
    if len(speech) < 2:
        raise SettingsError(f"{options.root} has {len(speech)} speaker: give two or more.")
    if options.minutes * 60 <= options.chunk_s:
        raise SettingsError(
            f"--minutes is {options.minutes:g} and --chunk-s {options.chunk_s:g}: a recording must be longer than a chunk."
        )
    num_samples, chunk_length = int(options.minutes * 60 * SAMPLING_RATE), int(options.chunk_s * SAMPLING_RATE)
    num_correct = num_joins = 0
    for index in tqdm(range(options.recordings), desc="Stitching", unit="recording", file=sys.stderr):
        rng = np.random.default_rng(index)
        speakers = rng.choice(len(speech), 2, replace=False)
        voices = [build_voice(speech[speaker], num_samples, options.max_pause_s, rng) for speaker in speakers]
        correct, joins = count_correct_joins(torch.from_numpy(np.stack(voices)), chunk_length, options.noise_db, rng)
        num_correct, num_joins = num_correct + correct, num_joins + joins
    print(f"{num_correct} of {num_joins} joins in the right order")
    return {"correct_joins": num_correct / num_joins, "num_joins": num_joins}
