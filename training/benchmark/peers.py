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
Our models compared with those of asteroid, SpeechBrain and torchaudio: parameters, operations, time and memory on the CPU.

Published sizes, random weights, noise, float32, batch 1, the whole signal at once; "in chunks" separates as the pipeline does.
requirements-peers.txt lists the other packages. Every measurement runs in its own process. Times are measured in rounds, one
model after the other, so that other load on the machine slows all of them; ratios are computed within a round. CPU time,
summed over the threads, is least affected by other load. Memory is the increase of the peak after the model was loaded. The
last line is JSON: `models`, and the ratios `time_over_dprnn` and `cpu_time_over_dprnn` to our DPRNN.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from audioslots_hf.allocator import keep_freed_memory
from audioslots_hf.families import FAMILIES
from audioslots_hf.resources import skip_lstms
from audioslots_hf.separator import Separator

from .memory import PeakMemory, read_status


REQUIREMENTS = Path(__file__).with_name("requirements-peers.txt")
OURS = "audioslots-hf"
CHUNK_S = 4


def build_ours(model_type: str, sampling_rate: int) -> nn.Module:
    """Our model in its published size (the small one for GALR): D = 64, M = 16, K = 100, H = 128, Q = 32, six layers."""
    family = FAMILIES[model_type]
    return family.model_class(family.config_class(sampling_rate=sampling_rate, chunk_length=CHUNK_S * sampling_rate))


def build_asteroid_dprnn(sampling_rate: int) -> nn.Module:
    """The DPRNN of asteroid in our size; its default has twice the width between the blocks."""
    from asteroid.models import DPRNNTasNet

    return DPRNNTasNet(
        n_src=2,
        n_filters=64,
        kernel_size=16,
        stride=8,
        bn_chan=64,
        hid_size=128,
        chunk_size=100,
        n_repeats=6,
        rnn_type="LSTM",
        bidirectional=True,
        sample_rate=sampling_rate,
    )


class MaskedFilterbank(nn.Module):
    """Encoder, masks and decoder of SpeechBrain, which combines the three in a class only for SepFormer."""

    def __init__(self, encoder: nn.Module, masker: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.masker = masker
        self.decoder = decoder

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        """(batch_size, num_samples) -> (num_sources, batch_size, num_samples)"""
        encoded = self.encoder(waveforms)
        return torch.stack([self.decoder(encoded * mask) for mask in self.masker(encoded)])


def build_speechbrain_dprnn(sampling_rate: int) -> nn.Module:
    """SpeechBrain's DPRNN in our size, which does not depend on the rate."""
    from speechbrain.lobes.models.dual_path import Decoder, Dual_Path_Model, Encoder, SBRNNBlock

    blocks = (SBRNNBlock(64, 128, num_layers=1, bidirectional=True) for _ in range(2))
    return MaskedFilterbank(
        Encoder(kernel_size=16, out_channels=64),
        Dual_Path_Model(64, 64, *blocks, num_layers=6, K=100, num_spks=2),
        Decoder(in_channels=64, out_channels=1, kernel_size=16, stride=8, bias=False),
    )


def build_sepformer(sampling_rate: int) -> nn.Module:
    """SpeechBrain's SepFormer; the defaults are the model published for WSJ0-2mix."""
    from speechbrain.lobes.models.dual_path import SepformerWrapper

    return SepformerWrapper()


def build_conv_tasnet(sampling_rate: int) -> nn.Module:
    """The Conv-TasNet of torchaudio, the best non-causal one of the paper."""
    from torchaudio.models import conv_tasnet_base

    # (batch_size, num_samples) -> (batch_size, 1, num_samples)
    return nn.Sequential(nn.Unflatten(0, (-1, 1)), conv_tasnet_base(num_sources=2))


@dataclass(frozen=True)
class Candidate:
    """A row of the table: `build` returns a model for a sampling rate in hertz, with inputs (1, num_samples)."""

    label: str
    package: str
    build: Callable[[int], nn.Module]
    is_chunked: bool = False

    @property
    def version(self) -> str | None:
        """The version of its package, `None` if it is not installed."""
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return None


CANDIDATES = {
    "dprnn": Candidate("DPRNN", OURS, partial(build_ours, "dprnn")),
    "galr": Candidate("GALR small", OURS, partial(build_ours, "galr")),
    "dprnn-chunks": Candidate("DPRNN in chunks", OURS, partial(build_ours, "dprnn"), is_chunked=True),
    "galr-chunks": Candidate("GALR small in chunks", OURS, partial(build_ours, "galr"), is_chunked=True),
    "asteroid-dprnn": Candidate("DPRNNTasNet", "asteroid", build_asteroid_dprnn),
    "speechbrain-dprnn": Candidate("DPRNN", "speechbrain", build_speechbrain_dprnn),
    "speechbrain-sepformer": Candidate("SepFormer", "speechbrain", build_sepformer),
    "torchaudio-conv-tasnet": Candidate("ConvTasNet", "torchaudio", build_conv_tasnet),
}


def count_macs(model: nn.Module, num_samples: int) -> float:
    """Multiply-accumulate operations of one forward pass, on the meta device: convolutions, matrix products and LSTMs."""
    # on the meta device the fused layers of torch's transformer are one operation, which the counter ignores
    torch.backends.mha.set_fastpath_enabled(False)
    model = model.eval().requires_grad_(False).to("meta")
    lstm_macs = skip_lstms(model)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, num_samples, device="meta"))
    return counter.get_total_flops() / 2 + sum(lstm_macs)


def measure_size(candidate: Candidate, sampling_rate: int, seconds: float) -> dict[str, float]:
    """Parameters, and operations per second of audio for a signal of this length."""
    model = candidate.build(sampling_rate)
    num_samples = chunk_length = int(seconds * sampling_rate)
    num_chunks = 1
    if candidate.is_chunked:
        # the last chunk is padded to its full length
        separator = build_separator(model)
        chunk_length = separator.chunk_length
        num_chunks += math.ceil(max(0, num_samples - chunk_length) / separator.chunk_hop_length)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "macs_per_s": num_chunks * count_macs(model, chunk_length) * sampling_rate / num_samples,
    }


def build_separator(model: nn.Module) -> Separator:
    """The separator of the pipeline for one of our models."""
    extractor_class = FAMILIES[model.config.model_type].feature_extractor_class
    return Separator(model, extractor_class.from_config(model.config))


def load(candidate: Candidate, sampling_rate: int) -> Callable[[torch.Tensor], object]:
    """The separation function for inputs (1, num_samples)."""
    torch.manual_seed(0)
    model = candidate.build(sampling_rate).eval()
    if not candidate.is_chunked:
        return torch.inference_mode()(model)
    return build_separator(model).separate


def noise(sampling_rate: int, seconds: float) -> torch.Tensor:
    """(1, num_samples)"""
    return 0.1 * torch.randn(1, int(seconds * sampling_rate))


def measure_time(candidate: Candidate, sampling_rate: int, seconds: float, repetitions: int) -> dict[str, float]:
    """The minimum time and the minimum CPU time of several repetitions, in seconds."""
    # otherwise half of the measured time would be the system's zeroing of pages
    keep_freed_memory()
    separate = load(candidate, sampling_rate)
    waveforms = noise(sampling_rate, seconds)
    # selects kernels
    separate(waveforms)
    times, cpu_times = [], []
    for _ in range(repetitions):
        started, cpu_started = time.perf_counter(), time.process_time()
        separate(waveforms)
        times.append(time.perf_counter() - started)
        cpu_times.append(time.process_time() - cpu_started)
    return {"seconds": min(times), "cpu_seconds": min(cpu_times)}


def measure_memory(
    candidate: Candidate, sampling_rate: int, seconds: float, limit_bytes: int
) -> dict[str, int | None]:
    """The increase of the peak over the idle process in bytes, `None` if it exceeds the limit."""
    separate = load(candidate, sampling_rate)
    waveforms = noise(sampling_rate, seconds)
    memory = PeakMemory("cpu")
    limit_memory(limit_bytes)
    try:
        separate(waveforms)
    except (MemoryError, RuntimeError) as error:
        # torch, the C++ library and oneDNN have different messages for this
        if not any(word in repr(error) for word in ("MemoryError", "alloc", "memory", "primitive")):
            raise
        return {"bytes": None}
    return {"bytes": memory.bytes()}


def limit_memory(num_bytes: int) -> None:
    """Make every allocation fail that would exceed the present memory of this process by this number of bytes."""
    # the module is absent on Windows
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (read_status("VmData") + num_bytes, resource.RLIM_INFINITY))


MEASURES = {"size": measure_size, "time": measure_time, "memory": measure_memory}


class MeasurementError(RuntimeError):
    """A process exited without a measurement."""


def measure_in_process(name: str, measure: str, threads: int, **arguments: float) -> dict[str, float | None]:
    """
    Run one of `MEASURES` in a new process, which returns a line of JSON.

    Output of other packages stays out of the table. Any failure of the process, even a kill, raises a [`MeasurementError`].
    """
    order = json.dumps({"name": name, "measure": measure, "threads": threads, "arguments": arguments})
    command = [sys.executable, "-c", "from training.benchmark.peers import answer; answer()", order]
    process = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    if process.returncode != 0:
        lines = process.stderr.strip().splitlines() or [f"exit code {process.returncode}"]
        raise MeasurementError(lines[-1])
    return json.loads(process.stdout.splitlines()[-1])


def answer() -> None:
    """The process started by [`measure_in_process`]."""
    order = json.loads(sys.argv[1])
    torch.set_num_threads(order["threads"])
    print(json.dumps(MEASURES[order["measure"]](CANDIDATES[order["name"]], **order["arguments"])))


@dataclass
class Row:
    """Measurements of a candidate: seconds by round, `peaks` in bytes by seconds of audio, `None` beyond the limit."""

    parameters: int = 0
    macs_per_s: float = 0.0
    times: list[float] = field(default_factory=list)
    cpu_times: list[float] = field(default_factory=list)
    peaks: dict[float, int | None] = field(default_factory=dict)
    problem: str = ""


def plan(names: list[str]) -> dict[str, Row]:
    """
    A row for every name; rows of missing packages are marked.

    Raises `SystemExit` if all packages to compare with are missing.
    """
    rows = {name: Row(problem="" if CANDIDATES[name].version else "not installed") for name in names}
    peers = [row for name, row in rows.items() if CANDIDATES[name].package != OURS]
    if peers and all(row.problem for row in peers):
        raise SystemExit(f"No package to compare with is installed: pip install -r {REQUIREMENTS}")
    return rows


def measure_rows(rows: dict[str, Row], options: argparse.Namespace) -> None:
    """Fill the rows: sizes, then times in rounds, then memory."""
    common = {"threads": options.threads, "sampling_rate": options.sampling_rate}
    steps = [("size", {"seconds": options.seconds})]
    steps += [("time", {"seconds": options.seconds, "repetitions": options.repetitions})] * options.rounds
    limit_bytes = int(options.memory_limit * 2**30)
    steps += [("memory", {"seconds": seconds, "limit_bytes": limit_bytes}) for seconds in options.memory_seconds]
    progress = tqdm(total=len(steps) * len(rows), desc="Measuring", unit="process", file=sys.stderr)
    for number, (measure, arguments) in enumerate(steps):
        names = list(rows)
        # each round starts with another model, because earlier work can cool or warm the machine
        for name in names[number % len(names) :] + names[: number % len(names)]:
            if not rows[name].problem:
                fill(rows[name], name, measure, common | arguments)
            progress.update()
    progress.close()


def fill(row: Row, name: str, measure: str, arguments: dict[str, float]) -> None:
    """Store one measurement in its row, or the reason for its absence."""
    try:
        result = measure_in_process(name, measure, **arguments)
    except MeasurementError as error:
        row.problem = f"failed: {error}"
        return
    if measure == "size":
        row.parameters, row.macs_per_s = result["parameters"], result["macs_per_s"]
    elif measure == "time":
        row.times.append(result["seconds"])
        row.cpu_times.append(result["cpu_seconds"])
    else:
        row.peaks[arguments["seconds"]] = result["bytes"]


def median_ratio(times: list[float], references: list[float]) -> float | None:
    """The median over the rounds of the ratio to the reference's time."""
    # either may have failed in a round
    ratios = [seconds / reference for seconds, reference in zip(times, references, strict=False)]
    return statistics.median(ratios) if ratios else None


def format_table(rows: dict[str, Row], options: argparse.Namespace) -> str:
    """The rows in Markdown."""
    names = ["model", "package", "parameters", "GMAC per s of audio", "real-time factor", "CPU s per s of audio"]
    names += ["time over our DPRNN", "CPU time over our DPRNN"]
    names += [f"MiB for {seconds:g} s" for seconds in options.memory_seconds]
    lines = [names, ["---"] * len(names)]
    for name, row in rows.items():
        candidate = CANDIDATES[name]
        cells = [candidate.label, f"{candidate.package} {candidate.version or ''}".strip()]
        cells += [row.problem] if row.problem else format_values(row, rows.get("dprnn", Row()), options)
        lines.append(cells + [""] * (len(names) - len(cells)))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def format_values(row: Row, reference: Row, options: argparse.Namespace) -> list[str]:
    """The cells after the names."""
    cells = [f"{row.parameters:,}", f"{row.macs_per_s / 1e9:.2f}"]
    for times in (row.times, row.cpu_times):
        cells.append(f"{statistics.median(times) / options.seconds:.3f}" if times else "")
    for times, references in ((row.times, reference.times), (row.cpu_times, reference.cpu_times)):
        ratio = median_ratio(times, references)
        cells.append("" if ratio is None else f"{ratio:.2f}")
    for seconds in options.memory_seconds:
        peak = row.peaks[seconds]
        cells.append(f"over {options.memory_limit:g} GiB" if peak is None else f"{peak / 2**20:.0f}")
    return cells


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--models", nargs="+", default=list(CANDIDATES), choices=CANDIDATES, metavar="MODEL")
    parser.add_argument("--sampling-rate", type=int, default=8000, help="in hertz (default: 8000, as published)")
    parser.add_argument("--seconds", type=float, default=10, help="audio for time and operations (default: 10)")
    parser.add_argument("--rounds", type=int, default=3, help="processes to time each model in (default: 3)")
    parser.add_argument("--repetitions", type=int, default=3, help="timed runs of a process (default: 3)")
    parser.add_argument("--threads", type=int, default=2, help="threads of every process (default: 2)")
    parser.add_argument(
        "--memory-seconds", type=float, nargs="*", default=[10, 60], help="audio for memory (default: 10 60)"
    )
    parser.add_argument("--memory-limit", type=float, default=8, help="GiB above the idle process (default: 8)")


def run(options: argparse.Namespace) -> dict[str, dict]:
    """Measure all installed candidates and print the table."""
    rows = plan(options.models)
    measure_rows(rows, options)
    print(
        f"{options.seconds:g} s at {options.sampling_rate} Hz, {options.threads} threads, torch {torch.__version__}\n\n"
        f"{format_table(rows, options)}\n"
    )
    reference = rows.get("dprnn", Row())
    timed = {name: row for name, row in rows.items() if row.times}
    return {
        "models": {name: asdict(row) for name, row in rows.items()},
        "time_over_dprnn": {name: median_ratio(row.times, reference.times) for name, row in timed.items()},
        "cpu_time_over_dprnn": {name: median_ratio(row.cpu_times, reference.cpu_times) for name, row in timed.items()},
    }
