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
GALR compared with DPRNN as in the papers: the same audio, the same widths, everything in one run.

Counts parameters and operations, and measures time and peak memory of inference and of a training step (forward, backward,
Adam). Each is repeated for every length M of the encoder's filters, at 8 and 16 kHz. Every measurement runs in its own process. Its memory is
the increase of the peak in this process, including the model. The last line is JSON: `memory_saving` (training step) and
`mac_saving` of GALR over DPRNN by M, at 16 kHz on the CPU, batch 1, 4 s, the whole model.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import torch
from tqdm.auto import tqdm
from transformers import PreTrainedConfig

from audioslots_hf.families import FAMILIES
from audioslots_hf.resources import count_macs
from training.model import build_feature_extractor

from .memory import PeakMemory, available_bytes
from .processes import run_in_process


# K frames of a segment for each M (GALR paper, section 3)
SEGMENT_LENGTHS = {16: 100, 8: 150, 4: 200, 2: 250}
DURATION_S = 4
COMPARED = ("dprnn", "galr")


@dataclass(frozen=True)
class Case:
    """One model at one size on one device."""

    family: str
    kernel_size: int
    sampling_rate: int
    device: str

    def config(self) -> PreTrainedConfig:
        """The papers' small sizes for this M: D = 64, H = 128, six layers."""
        return FAMILIES[self.family].config_class(
            sampling_rate=self.sampling_rate,
            chunk_length=int(DURATION_S * self.sampling_rate),
            encoder_kernel_size=self.kernel_size,
            segment_length=SEGMENT_LENGTHS[self.kernel_size],
        )


@dataclass
class Measurement:
    """Seconds and bytes of one repeated operation."""

    seconds: float
    peak_bytes: int


def measure(case: Case, mode: str, repetitions: int) -> Measurement:
    """Measure time and peak memory of a case, in `mode` inference or training; to be called in a new process."""
    torch.manual_seed(0)
    model = FAMILIES[case.family].model_class(case.config()).to(case.device).train(mode == "training")
    mixtures = torch.randn(1, model.config.chunk_length, device=case.device)
    references = torch.randn(1, 2, model.config.chunk_length, device=case.device)
    optimizer = torch.optim.Adam(model.parameters())

    def infer() -> None:
        with torch.inference_mode():
            model(mixtures)

    def train() -> None:
        model(mixtures, labels=references).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    memory = PeakMemory(case.device)
    seconds = [time_once(train if mode == "training" else infer, case.device) for _ in range(repetitions + 1)]
    # the first repetition is slower: it selects kernels
    return Measurement(statistics.median(seconds[1:]), memory.bytes())


def time_once(function: Callable[[], None], device: str) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    function()
    if device != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - started


def count(case: Case) -> tuple[int, float]:
    """Parameters, and multiply-accumulate operations of one second of audio."""
    config = case.config()
    with torch.device("meta"):
        model = FAMILIES[case.family].model_class(config)
    return model.num_parameters(), count_macs(model, build_feature_extractor(config)) / DURATION_S


def plan(kernel_sizes: list[int], sampling_rates: list[int], devices: list[str]) -> list[Case]:
    """All cases, each GALR directly after its DPRNN."""
    return [
        Case(family, kernel_size, sampling_rate, device)
        for device in devices
        for sampling_rate in sampling_rates
        for kernel_size in kernel_sizes
        for family in COMPARED
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--kernel-sizes", type=int, nargs="+", default=[16, 8, 4, 2], choices=SEGMENT_LENGTHS)
    parser.add_argument("--sampling-rates", type=int, nargs="+", default=[8000, 16000])
    parser.add_argument("--repetitions", type=int, default=3, help="timed runs of each case (default: 3)")


def format_row(case: Case, num_parameters: int, macs: float, results: dict[str, Measurement] | None) -> str:
    """A line of the table."""
    cells = [case.device, f"{case.sampling_rate}", f"{case.kernel_size}", case.family, f"{num_parameters:,}"]
    cells.append(f"{macs / 1e9:.2f}")
    for mode in ("inference", "training"):
        if results is None:
            cells += ["too large for the memory", ""]
        else:
            cells += [f"{results[mode].seconds:.2f}", f"{results[mode].peak_bytes / 2**20:.0f}"]
    return f"| {' | '.join(cells)} |"


HEADER = (
    "| device | rate, Hz | M | model | parameters | GMAC per s of audio | inference, s | inference, MiB "
    "| training step, s | training step, MiB |"
)


def savings(
    values: dict[Case, float], kernel_sizes: list[int], sampling_rate: int = 16000, device: str = "cpu"
) -> dict[str, float]:
    """The share of DPRNN's value that GALR saves, 0 to 1, by M, without an M that was not measured."""
    result = {}
    for kernel_size in kernel_sizes:
        dprnn, galr = (Case(family, kernel_size, sampling_rate, device) for family in COMPARED)
        if dprnn in values and galr in values:
            result[str(kernel_size)] = 1 - values[galr] / values[dprnn]
    return result


def fits(case: Case, peaks: dict[Case, float]) -> bool:
    """Whether a training step fits into memory with a fifth to spare, estimated from the same model at larger M."""
    if case.device != "cpu":
        return True
    expected = (
        peak * known.kernel_size / case.kernel_size
        for known, peak in peaks.items()
        if (known.family, known.sampling_rate, known.device) == (case.family, case.sampling_rate, case.device)
    )
    return max(expected, default=0.0) < 0.8 * available_bytes()


def measure_modes(case: Case, repetitions: int) -> dict[str, Measurement] | None:
    """Inference and training of a case, `None` if it does not fit into memory."""
    try:
        return {mode: run_in_process(measure, case, mode, repetitions) for mode in ("inference", "training")}
    # a GPU raises an error; without memory the operating system kills a CPU process
    except (torch.OutOfMemoryError, BrokenProcessPool):
        return None


def run(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Measure every case, and print each row of the table when it is ready."""
    devices = ["cpu"]
    if (accelerator := torch.accelerator.current_accelerator(check_available=True)) is not None:
        devices.append(accelerator.type)
    kernel_sizes = sorted(set(options.kernel_sizes), reverse=True)
    cases = plan(kernel_sizes, options.sampling_rates, devices)
    macs: dict[Case, float] = {}
    peaks: dict[Case, float] = {}
    print(f"4 s of noise, batch 1, float32, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print(f"{HEADER}\n|{' --- |' * HEADER.count(' | ')} --- |", flush=True)
    for case in tqdm(cases, desc="Measuring", unit="case", file=sys.stderr):
        num_parameters, macs[case] = count(case)
        results = measure_modes(case, options.repetitions) if fits(case, peaks) else None
        if results is not None:
            peaks[case] = results["training"].peak_bytes
        tqdm.write(format_row(case, num_parameters, macs[case], results))
    return {"memory_saving": savings(peaks, kernel_sizes), "mac_saving": savings(macs, kernel_sizes)}
