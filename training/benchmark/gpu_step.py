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
Device use of a training run: `python -m training.benchmark gpu-step CONFIG key=value ...`, with the run's own settings.

The ceiling is the rate of a large matrix product of random numbers in the precision of the run, or in float32 if that is
faster. In float32 it excludes TF32, which cuDNN's convolutions and LSTMs use. LSTMs run in float32 even in a bf16 run, except
on CPUs with bf16 LSTMs. The operations are those of the forward and the backward pass; the backward pass of an LSTM counts
twice the forward pass. Recomputation by gradient checkpointing and the operations of Muon are not counted, but the time of
Muon is, in both shares. "Convolutions and products" divides the operations of these kernels by their time. The idle time of
the device is the time of a step minus that of all kernels; on a CPU, it is the time outside of torch's operators.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
from accelerate import Accelerator
from torch.autograd import DeviceType
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm
from transformers import AutoModel, PreTrainedConfig

from audioslots_hf.allocator import keep_freed_memory
from audioslots_hf.resources import count_macs_by_kind
from training.arguments import TrainingArguments, load_arguments
from training.data.examples import load_examples
from training.loop import (
    build_accelerator,
    build_checked_config,
    build_forward,
    build_loader,
    compute_loss,
)
from training.model import build_feature_extractor, build_model
from training.optimizer import build_average, build_optimizers, build_schedule, update_weights
from training.remixing import build_teacher, remix_batch
from training.settings import SettingsError


NUM_PROFILED_STEPS = 3
# size of the square matrices for the ceiling
CEILING_SIZES = {"cuda": 8192, "cpu": 1024}
PRODUCTS = (
    "mm",
    "addmm",
    "bmm",
    "baddbmm",
    "_scaled_dot_product",
    "_flash_attention",
    "_efficient_attention",
    "_cudnn_attention",
)
PRODUCTS += ("convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution", "_slow_conv", "slow_conv")


@dataclass
class Kernels:
    """Seconds of the kernels of a step: all of them, and convolutions and matrix products alone."""

    total_s: float
    products_s: float


def measure_ceiling(device: torch.device, dtype: torch.dtype, num_runs: int = 10) -> float:
    """Operations per second of a large matrix product of random numbers."""
    size = CEILING_SIZES[device.type]
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    times_s = []
    for _ in range(num_runs):
        synchronize(device)
        started = time.perf_counter()
        torch.mm(one, other)
        synchronize(device)
        times_s.append(time.perf_counter() - started)
    return 2 * size**3 / min(times_s)


def synchronize(device: torch.device) -> None:
    """Wait until a device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def count_operations(config: PreTrainedConfig, batch_size: int, device: torch.device) -> tuple[float, float]:
    """Floating-point operations of a training step: of convolutions and products, and in total."""
    model = AutoModel.from_config(config).to(device)
    feature_extractor = build_feature_extractor(config)
    references = torch.randn(1, config.num_sources, config.chunk_length)
    features = feature_extractor(references.sum(dim=1), labels=references).to(device)
    # the counter ignores the attention kernels of a CPU
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(**features).loss.backward()
    products = batch_size * counter.get_total_flops()
    # torch does not count LSTMs
    _, lstm_macs = count_macs_by_kind(model, feature_extractor)
    return products, products + batch_size * 2 * 3 * lstm_macs


def build_step(config: PreTrainedConfig, arguments: TrainingArguments, accelerator: Accelerator) -> Callable[[], None]:
    """Build a function that performs the next step of a run."""
    feature_extractor = build_feature_extractor(config)
    dataset = load_examples(arguments, config, show_progress=True)
    model = build_model(config, arguments).to(accelerator.device).train()
    average, optimizers = build_average(model, arguments), build_optimizers(model, arguments)
    schedulers = [build_schedule(optimizer, arguments) for optimizer in optimizers]
    teacher = build_teacher(model, average, arguments, accelerator.num_processes)
    model, *optimizers = accelerator.prepare(model, *optimizers)
    forward = build_forward(model, arguments, accelerator)
    parts: Iterator[dict[str, torch.Tensor]] = iter(build_loader(dataset, arguments, 0, accelerator))

    def take_step() -> None:
        for _ in range(arguments.gradient_accumulation_steps):
            batch = remix_batch(teacher, feature_extractor, next(parts), accelerator)
            with accelerator.accumulate(model):
                loss = compute_loss(
                    forward, feature_extractor, batch, arguments.objective, config.activity_loss_weight
                )
                accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), arguments.max_grad_norm)
        update_weights(accelerator.unwrap_model(model), optimizers, schedulers, average)

    return take_step


def time_kernels(take_step: Callable[[], None], device: torch.device) -> Kernels:
    """Profile a few steps -> the time of the kernels of one step."""
    on_device = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_device else [])]
    with profile(activities=activities) as profiler:
        for _ in range(NUM_PROFILED_STEPS):
            take_step()
        synchronize(device)
    events = profiler.key_averages()
    operators = [event for event in events if event.device_type == DeviceType.CPU and event.key.startswith("aten::")]
    own_us = {
        event.key: event.self_device_time_total if on_device else event.self_cpu_time_total for event in operators
    }
    products_us = sum(us for name, us in own_us.items() if name.removeprefix("aten::").startswith(PRODUCTS))
    # operators of other libraries or of torch.compile are not aten operators but have kernels
    kernels = [event for event in events if event.device_type == DeviceType.CUDA and not event.is_user_annotation]
    total_us = sum(event.self_device_time_total for event in kernels) if on_device else sum(own_us.values())
    return Kernels(total_us * 1e-6 / NUM_PROFILED_STEPS, products_us * 1e-6 / NUM_PROFILED_STEPS)


def time_steps(take_step: Callable[[], None], num_steps: int, device: torch.device) -> float:
    """Seconds of a step, including the wait for data."""
    synchronize(device)
    started = time.perf_counter()
    for _ in tqdm(range(num_steps), desc="Training", unit="step", file=sys.stderr):
        take_step()
    synchronize(device)
    return (time.perf_counter() - started) / num_steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("config", help="yaml file of a run")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that override those of the file")
    parser.add_argument("--warmup-steps", type=int, default=5, help="steps before the measured ones (default: 5)")
    parser.add_argument("--steps", type=int, default=20, help="measured steps (default: 20)")


def run(options: argparse.Namespace) -> dict[str, str | float | None]:
    """Print a table and return its numbers."""
    if options.steps < 1 or options.warmup_steps < 0:
        raise SettingsError(
            f"--steps is {options.steps} and --warmup-steps {options.warmup_steps}: they must be at least 1 and 0."
        )
    # as in a run
    keep_freed_memory()
    arguments = load_arguments(options.config, options.overrides)
    arguments.max_steps = options.warmup_steps + options.steps + NUM_PROFILED_STEPS
    config = build_checked_config(arguments)
    accelerator = build_accelerator(arguments)
    device = accelerator.device
    num_chunks = arguments.batch_size * arguments.num_chunks
    products, operations = count_operations(config, num_chunks, device)
    dtypes = [torch.float32, *([torch.bfloat16] if arguments.mixed_precision == "bf16" else [])]
    # a CPU may be slower in bf16
    ceiling = max(measure_ceiling(device, dtype) for dtype in dtypes)
    take_step = build_step(config, arguments, accelerator)
    for _ in range(options.warmup_steps):
        take_step()
    step_s = time_steps(take_step, options.steps, device)
    kernels = time_kernels(take_step, device)
    audio_s = num_chunks * config.chunk_length / config.sampling_rate
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    results = Results(
        device=name,
        steps_per_s=1 / step_s,
        audio_s_per_s=audio_s / step_s,
        tflop_per_s=operations / step_s * 1e-12,
        ceiling_tflop_per_s=ceiling * 1e-12,
        share_of_ceiling=operations / step_s / ceiling,
        products_share_of_ceiling=products / kernels.products_s / ceiling if kernels.products_s > 0 else None,
        idle_share=max(0.0, 1 - kernels.total_s / step_s) if kernels.total_s > 0 else None,
    )
    print(results.table(options.config, arguments))
    return asdict(results)


def percent(share: float | None) -> str:
    """A cell of the table."""
    return "not measured: the profiler saw no kernel" if share is None else f"{100 * share:.1f} %"


@dataclass
class Results:
    """The printed values, in seconds of audio or of the clock, and 10 ** 12 floating-point operations."""

    device: str
    steps_per_s: float
    audio_s_per_s: float
    tflop_per_s: float
    ceiling_tflop_per_s: float
    share_of_ceiling: float
    # None if the profiler may not access the kernels
    products_share_of_ceiling: float | None
    idle_share: float | None

    def table(self, config: str, arguments: TrainingArguments) -> str:
        """A line for each number, below a title with the conditions."""
        precision = "float32" if arguments.mixed_precision == "no" else arguments.mixed_precision
        rows = [
            ("steps per second", f"{self.steps_per_s:.2f}"),
            ("seconds of audio per second", f"{self.audio_s_per_s:.1f}"),
            ("achieved, TFLOP/s", f"{self.tflop_per_s:.3g}"),
            ("ceiling of a matrix product, TFLOP/s", f"{self.ceiling_tflop_per_s:.3g}"),
            ("share of the ceiling, whole step", percent(self.share_of_ceiling)),
            ("share of the ceiling, convolutions and products", percent(self.products_share_of_ceiling)),
            ("idle", percent(self.idle_share)),
        ]
        num_chunks = arguments.batch_size * arguments.num_chunks
        title = f"{config}, {precision}, batches of {num_chunks} chunks, {self.device}, torch {torch.__version__}"
        return "\n".join(
            [title, "", "| measured | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
        )
