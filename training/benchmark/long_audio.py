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

`--command` measures `audioslots separate` instead, from its start to its end with all of its libraries, on simulated conversations
of two voices with an overlap of 20 %: the time of the CPU and the peak of the resident memory.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import soundfile
import torch
from tqdm.auto import tqdm
from transformers import AutoModel, PreTrainedConfig

from audioslots_hf.allocator import keep_freed_memory
from audioslots_hf.families import FAMILIES
from audioslots_hf.separator import Separator
from training.arguments import SpeechArguments
from training.data.conversations import ConversationSimulator, ConversationStyle
from training.data.speech import load_speech
from training.model import build_feature_extractor

from .memory import PeakMemory
from .processes import run_in_process


ROOT = Path(__file__).parents[2]
# about as long as the utterances that the paper separates at once; longer chunks have relatively less overlap
CHUNK_S = 8
# runs the command, then prints seconds of its CPU time and bytes of its peak memory; the peak that the system keeps of a child would
# include that of its parent
COMMAND = """
import sys, time
from audioslots_hf.cli import main
status = main(sys.argv[1:])
from training.benchmark.memory import read_status
print(time.process_time(), read_status("VmHWM"))
sys.exit(status)
"""
COMMAND_RATE = 16000


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


def measure_command(recording: Path) -> tuple[float, int]:
    """Separate a file by the command, in a new process -> seconds of CPU time, bytes of peak memory."""
    words = ["separate", str(recording), "-o", str(recording.parent / "separated"), "--quiet"]
    process = subprocess.run(
        [sys.executable, "-c", COMMAND, *words], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    cpu_s, peak_bytes = process.stdout.split()[-2:]
    return float(cpu_s), int(peak_bytes)


def run_commands(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Print a table of the command; seconds of CPU time and MiB by minutes."""
    speech = load_speech(SpeechArguments(options.root), COMMAND_RATE)
    print("`audioslots separate`, two voices, overlap 20 %\n")
    print("| minutes | CPU time, s | times real time | peak memory, MiB |\n| --- | --- | --- | --- |")
    results = {"cpu_s": {}, "memory_mib": {}}
    with tempfile.TemporaryDirectory() as folder:
        for minutes in tqdm(options.minutes, desc="Measuring", unit="recording", file=sys.stderr):
            style = ConversationStyle(num_voices=2, duration_s=60 * minutes, overlap=0.2)
            recording = Path(folder) / f"{minutes:g}.wav"
            soundfile.write(recording, ConversationSimulator(speech, COMMAND_RATE, style)[0].recording.T, COMMAND_RATE)
            cpu_s, peak_bytes = measure_command(recording)
            results["cpu_s"][f"{minutes:g} min"] = cpu_s
            results["memory_mib"][f"{minutes:g} min"] = peak_bytes / 2**20
            tqdm.write(f"| {minutes:g} | {cpu_s:.0f} | {60 * minutes / cpu_s:.1f} | {peak_bytes / 2**20:.0f} |")
    return results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 60], help="lengths (default: 1 10 60)")
    parser.add_argument("--sampling-rates", type=int, nargs="+", default=[8000, 16000])
    parser.add_argument(
        "--command", action="store_true", help="measure `audioslots separate` on conversations instead"
    )
    parser.add_argument("--root", default="tests/samples/speech", help="with --command: folder of speech by speaker")


def run(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Print a table; times real time and MiB by rate and minutes, or those of the command."""
    if options.command:
        return run_commands(options)
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
