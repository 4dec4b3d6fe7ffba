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
Time and memory of recordings of any length: GALR small with random weights, as `audioslots separate` streams a file.

Every length runs in its own process; memory is the increase of the peak in it, including the model. Constant memory and linear
time show that neither the attention nor the joining of chunks depends on more than a chunk.
"""

import argparse
import sys
import time
from collections.abc import Iterator

import torch
from tqdm.auto import tqdm
from transformers import AutoModel, PreTrainedConfig

from audioslots_hf.allocator import keep_freed_memory
from audioslots_hf.families import FAMILIES
from audioslots_hf.separator import Separator
from training.model import build_feature_extractor

from .memory import PeakMemory
from .processes import run_in_process


# about as long as the utterances that the paper separates at once; longer chunks have relatively less overlap
CHUNK_S = 8


def noise_blocks(num_samples: int, block_length: int) -> Iterator[torch.Tensor]:
    """Noise in blocks (1, block_length), together `num_samples` long."""
    generator = torch.Generator().manual_seed(0)
    for start in range(0, num_samples, block_length):
        yield torch.randn(1, min(block_length, num_samples - start), generator=generator)


def build_config(sampling_rate: int) -> PreTrainedConfig:
    """The paper's small GALR."""
    return FAMILIES["galr"].config_class(sampling_rate=sampling_rate, chunk_length=CHUNK_S * sampling_rate)


def measure(sampling_rate: int, duration_s: float) -> tuple[float, int]:
    """Separate noise of some length -> seconds, bytes of peak memory; to be called in a new process."""
    # as in the command
    keep_freed_memory()
    config = build_config(sampling_rate)
    separator = Separator(AutoModel.from_config(config).eval(), build_feature_extractor(config))
    memory = PeakMemory("cpu")
    started = time.perf_counter()
    blocks = noise_blocks(int(duration_s * sampling_rate), 10 * sampling_rate)
    num_samples = sum(part.shape[-1] for part in separator.stream(blocks))
    if num_samples != int(duration_s * sampling_rate):
        raise RuntimeError(f"{duration_s} s became {num_samples} samples.")
    return time.perf_counter() - started, memory.bytes()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 60], help="lengths (default: 1 10 60)")
    parser.add_argument("--sampling-rates", type=int, nargs="+", default=[8000, 16000])


def run(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Print a table; times real time and MiB by rate and minutes."""
    print(f"GALR small, {CHUNK_S} s chunks, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("| rate, Hz | minutes | seconds | times real time | peak memory, MiB |\n| --- | --- | --- | --- | --- |")
    results = {"speed": {}, "memory_mib": {}}
    cases = [(rate, minutes) for rate in options.sampling_rates for minutes in options.minutes]
    for rate, minutes in tqdm(cases, desc="Measuring", unit="recording", file=sys.stderr):
        seconds, peak_bytes = run_in_process(measure, rate, 60 * minutes)
        key = f"{rate} Hz, {minutes:g} min"
        results["speed"][key] = 60 * minutes / seconds
        results["memory_mib"][key] = peak_bytes / 2**20
        cells = f"{seconds:.1f} | {results['speed'][key]:.1f} | {results['memory_mib'][key]:.0f}"
        tqdm.write(f"| {rate} | {minutes:g} | {cells} |")
    return results
