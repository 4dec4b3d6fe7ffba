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
A generative finish: the estimates of a separator refined by flow matching, against several passes of the separator alone.

Trains a small flow (`refiner.py`) on the mixtures of a training config, with the estimates of its `model.pretrained`, for `--minutes`
of CPU time, or of time on a device, the separation included. The gain on the validation mixtures, their first 4 s, is measured six
times on the way. Then the test mixtures are separated, and refined in each number of steps. `--judged` also rates their first
mixtures by DNSMOS P.835 (`pip install speechmos onnxruntime librosa`). Example: `refine continue.yaml model.chunk_length=32000 --minutes 30`.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from audioslots_hf import SlotGalrConfig, load_separator
from audioslots_hf.allocator import keep_freed_memory
from audioslots_hf.files import replacing, write_text
from audioslots_hf.separator import Separator
from training.arguments import MixtureArguments, TrainingArguments, load_arguments
from training.data.examples import load_examples
from training.data.mixtures import Mixture, load_mixtures
from training.evaluation.scoring import score_estimates
from training.evaluation.stopwatch import Stopwatch
from training.model import build_config
from training.optimizer import build_optimizers
from training.reporting.figures import save_figure, start_figure
from training.settings import SettingsError

from .curves import fit_curve
from .refiner import Refiner, flow_loss, refine


CONFIGS = Path(__file__).parents[1] / "configs"
VALID_S = 4
NUM_VALIDATIONS = 6
# share of the compute in which the learning rate rises
WARMUP_SHARE = 0.05
# dB for which the table says how much training the curve would need
WANTED_GAIN_DB = 0.3


@dataclass
class Row:
    """A way to separate the test mixtures: scores in dB, CPU seconds, and DNSMOS of the tracks that were judged."""

    si_snri: list[float] = field(default_factory=list)
    seconds: float = 0.0
    mos: list[float] = field(default_factory=list)


def build_refiner(separator: Separator, hidden_size: int, num_layers: int, is_bf16: bool) -> Refiner:
    """An untrained flow for the estimates of a separator."""
    config = SlotGalrConfig(
        sampling_rate=separator.sampling_rate,
        num_slots=separator.model.config.num_sources,
        hop_length=256,
        map_hidden_size=hidden_size,
        map_intermediate_size=hidden_size * 3 // 2,
        num_source_layers=num_layers,
        chunk_length=256 * 250,
    )
    refiner = Refiner(config).to(separator.device)
    if is_bf16 and separator.device.type == "cpu":
        # the backward pass of PyTorch's own attention is slower in bfloat16 than in float32
        refiner.set_attn_implementation("eager")
    return refiner


def load_judge() -> Callable[[torch.Tensor], float]:
    """
    DNSMOS P.835 of a track of 16 kHz: its overall quality from 1 to 5, without any reference.

    Raises:
        `SettingsError`: it is not installed.
    """
    try:
        from speechmos import dnsmos
    except ImportError as error:
        raise SettingsError(
            f"`--judged` needs DNSMOS: pip install speechmos onnxruntime librosa ({error})."
        ) from error

    def judge(track: torch.Tensor) -> float:
        # the level is a matter of the mixture
        return float(dnsmos.run((0.5 * track / track.abs().max()).numpy(), 16000)["ovrl_mos"])

    return judge


@torch.no_grad()
def separate_crops(separator: Separator, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimates and references of the crops of a batch, with the mixtures at unit level."""
    references = batch["references"].to(separator.device)
    mixtures = references.sum(dim=1)
    levels = mixtures.square().mean(dim=-1, keepdim=True).sqrt().clamp(min=1e-8)
    estimates = separator.model(mixtures / levels).estimates.float()
    return estimates, references / levels.unsqueeze(1)


class Training:
    """Trains a flow for some seconds of compute, and measures its gain on validation mixtures on the way."""

    def __init__(
        self, separator: Separator, refiner: Refiner, arguments: TrainingArguments, seconds: float, output: Path
    ):
        self.separator, self.refiner, self.arguments = separator, refiner, arguments
        self.seconds, self.output = seconds, output
        self.optimizers = build_optimizers(refiner, arguments)
        config = separator.model.config
        mixtures = load_mixtures(
            arguments.valid, config.sampling_rate, config.num_sources, arguments.num_valid_mixtures
        )
        length = VALID_S * config.sampling_rate
        self.valid = [mixtures.read(index, 0, length) for index in range(len(mixtures))]
        self.estimates = [
            separator.separate(mixture.waveform[None])[0] for mixture in tqdm(self.valid, desc="Separating")
        ]
        self.curve: list[dict[str, float]] = []
        self.used = 0.0

    def read_clock(self) -> float:
        """Seconds of CPU time of this process, or of time on a device."""
        if self.separator.device.type == "cpu":
            return time.process_time()
        torch.accelerator.synchronize()
        return time.monotonic()

    def run(self, loader: DataLoader) -> None:
        """All steps; a validation is free."""
        bar = tqdm(loader, desc="Training", unit="step")
        began, losses = self.read_clock(), []
        for step, batch in enumerate(bar, start=1):
            losses.append(self.take_step(batch))
            now = self.read_clock()
            self.used, began = self.used + now - began, now
            if self.used >= self.seconds * (len(self.curve) + 1) / NUM_VALIDATIONS:
                self.validate(step, statistics.mean(losses))
                began, losses = self.read_clock(), []
            if self.used >= self.seconds:
                return

    def take_step(self, batch: dict[str, torch.Tensor]) -> float:
        """One step of the optimizers; returns the loss."""
        estimates, references = separate_crops(self.separator, batch)
        share = self.used / self.seconds
        rate = min(1.0, share / WARMUP_SHARE) * (0.5 + 0.5 * math.cos(math.pi * min(share, 1.0)))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                # the first step has the rate of the first per mille
                group["lr"] = self.arguments.learning_rate * max(rate, 1e-3)
        self.refiner.train()
        with torch.autocast(references.device.type, torch.bfloat16, enabled=self.arguments.mixed_precision == "bf16"):
            loss = flow_loss(self.refiner, estimates, references)
        if not loss.isfinite():
            raise SettingsError(f"The loss is {loss.item()}: lower `learning_rate` ({self.arguments.learning_rate}).")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.refiner.parameters(), self.arguments.max_grad_norm)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return loss.item()

    def validate(self, step: int, loss: float) -> None:
        """Add a point to the curve: the gain of a single step, and save the flow."""
        self.refiner.eval()
        gains = [
            score_estimates(mixture, refine_one(self.refiner, estimates, mixture, 1))["si_snri"]
            - score_estimates(mixture, estimates)["si_snri"]
            for mixture, estimates in zip(self.valid, self.estimates, strict=True)
        ]
        point = {"minutes": self.used / 60, "step": step, "loss_db": loss, "gain_db": statistics.mean(gains)}
        # beside the bar, on a line of its own
        tqdm.write(json.dumps(point), file=sys.stderr)
        self.curve.append(point)
        with replacing(self.output / "refiner.safetensors") as temporary:
            save_file({name: weight.contiguous() for name, weight in self.refiner.state_dict().items()}, temporary)


def refine_one(refiner: Refiner, estimates: torch.Tensor, mixture: Mixture, num_steps: int) -> torch.Tensor:
    """The refined estimates of a mixture, with the same noise whenever it is called."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        device = refiner.device
        refined = refine(refiner, estimates[None].to(device), mixture.waveform[None].to(device), num_steps)
    return refined[0].cpu()


def measure(
    separator: Separator,
    refiner: Refiner,
    mixtures: list[Mixture],
    steps: list[int],
    judge: Callable[[torch.Tensor], float] | None,
    num_judged: int,
) -> dict[str, Row]:
    """Separate, refine and score the test mixtures in every way."""
    twice = Separator(separator.model, separator.feature_extractor, passes=2)
    names = [
        "1 pass",
        "2 passes",
        *(f"1 pass, {count} {'step' if count == 1 else 'steps'} of the flow" for count in steps),
    ]
    rows = {name: Row() for name in names}
    refiner.eval()
    for index, mixture in enumerate(tqdm(mixtures, desc="Testing", unit="mixture")):
        ways = {
            "1 pass": lambda _, mixture=mixture: separator.separate(mixture.waveform[None])[0],
            "2 passes": lambda _, mixture=mixture: twice.separate(mixture.waveform[None])[0],
        } | {
            name: lambda first, mixture=mixture, count=count: refine_one(refiner, first, mixture, count)
            for name, count in zip(names[2:], steps, strict=True)
        }
        first = None
        for name, way in ways.items():
            stopwatch = Stopwatch(time.process_time)
            with stopwatch.measure(name):
                tracks = way(first)
            first = tracks if first is None else first
            row = rows[name]
            row.seconds += stopwatch.seconds[name]
            row.si_snri.append(score_estimates(mixture, tracks)["si_snri"])
            if judge is not None and index < num_judged:
                row.mos += [judge(track) for track in tracks]
    for name in names[2:]:
        rows[name].seconds += rows["1 pass"].seconds
    return rows


def describe(rows: dict[str, Row]) -> dict[str, dict[str, float | None]]:
    """Print the table; the means of each way, its gain with the standard error, and its time relative to one pass."""
    print("| estimates | SI-SNRi, dB | gain, dB | time, relative | DNSMOS |\n| --- | --- | --- | --- | --- |")
    base, results = rows["1 pass"], {}
    for name, row in rows.items():
        gains = [score - other for score, other in zip(row.si_snri, base.si_snri, strict=True)]
        error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else math.nan
        results[name] = {
            "si_snri": statistics.mean(row.si_snri),
            "gain_db": statistics.mean(gains),
            "gain_error_db": error,
            "relative_time": row.seconds / base.seconds,
            "mos": statistics.mean(row.mos) if row.mos else None,
        }
        mos = "-" if not row.mos else f"{results[name]['mos']:.2f}"
        print(
            f"| {name} | {results[name]['si_snri']:.2f} | {results[name]['gain_db']:+.2f} ± {error:.2f} "
            f"| {results[name]['relative_time']:.2f} | {mos} |"
        )
    return results


def plot_curve(curve: list[dict[str, float]], path: Path) -> None:
    """Draw the gain on the validation mixtures against compute."""
    figure, axes = start_figure()
    axes.plot([point["minutes"] for point in curve], [point["gain_db"] for point in curve], marker="o")
    axes.set_xlabel("minutes of compute")
    axes.set_ylabel("gain in SI-SNRi by one step of the flow, dB")
    save_figure(figure, path)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("config", help="yaml file of a run, or its name in training/configs, with `model.pretrained`")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that override those of the file")
    parser.add_argument("--minutes", type=float, required=True, help="minutes of compute of the training")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 5], help="steps of the flow (default: 1 2 5)")
    parser.add_argument("--hidden-size", type=int, default=48, help="width of the flow, a multiple of 4 (default: 48)")
    parser.add_argument("--layers", type=int, default=3, help="layers of the flow (default: 3)")
    parser.add_argument("--metadata", default="training/metadata/libri2mix_test.csv", help="list of test mixtures")
    parser.add_argument("--root", default="data/librispeech", help="its speech (default: data/librispeech)")
    parser.add_argument("--num-mixtures", type=int, default=60, help="mixtures of the list (default: 60)")
    parser.add_argument("--judged", type=int, default=0, help="mixtures that DNSMOS rates as well (default: none)")
    parser.add_argument("--output", type=Path, default=Path("runs/refine"), help="folder (default: runs/refine)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train the flow, print a table, draw the curve."""
    if not options.minutes > 0 or min(options.steps) < 1:
        raise SettingsError(
            f"`--minutes` ({options.minutes}) must be above 0, and `--steps` ({options.steps}) at least 1."
        )
    path = Path(options.config) if Path(options.config).exists() else CONFIGS / options.config
    arguments = load_arguments(path, options.overrides)
    arguments.check_paths()
    if arguments.valid is None or "pretrained" not in arguments.model:
        raise SettingsError(f"{path} needs `valid` and `model.pretrained`: pass both as key=value.")
    config = build_config(arguments.model)
    if config.estimates_domain != "waveform":
        raise SettingsError(f"`model.pretrained` ({arguments.model['pretrained']}) does not estimate waveforms.")
    judge = load_judge() if options.judged > 0 else None
    test = load_mixtures(
        MixtureArguments(metadata=options.metadata, root=options.root),
        config.sampling_rate,
        config.num_sources,
        options.num_mixtures,
    )
    keep_freed_memory()
    options.output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(arguments.seed)
    pipe = load_separator(arguments.model["pretrained"])
    separator = Separator(pipe.model, pipe.feature_extractor)
    refiner = build_refiner(separator, options.hidden_size, options.layers, arguments.mixed_precision == "bf16")
    loader = DataLoader(
        load_examples(arguments, config, True), arguments.batch_size, num_workers=arguments.num_workers
    )
    training = Training(separator, refiner, arguments, 60 * options.minutes, options.output)
    training.run(loader)
    plot_curve(training.curve, options.output / "refine.png")
    rows = measure(
        separator, refiner, [test[index] for index in range(len(test))], options.steps, judge, options.judged
    )
    fit = fit_curve([point["minutes"] for point in training.curve], [point["gain_db"] for point in training.curve])
    result = {
        "parameters": refiner.num_parameters(),
        "curve": training.curve,
        "rows": describe(rows),
        "db_per_doubling": fit.slope,
        "minutes_for_wanted_gain": fit.compute(WANTED_GAIN_DB),
    }
    write_text(options.output / "refine.json", json.dumps(result, indent=2))
    return result
