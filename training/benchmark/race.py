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
A race of configurations: the same data in the same order, the same compute, and curves of validation SI-SNRi against it.

Compute is the CPU time of the steps on a CPU, so that other load costs a contestant nothing, and their time on a device.
Reading, validation and saving are free. Contestants train in turn, in slices. The learning rate follows the steps of each
configuration: `decay_rate` or `max_steps` should fit the minutes. Each contestant has its own folder, and a race that was
interrupted goes on. The table compares at the compute and at the steps that every contestant has reached; "dB per doubling" is
the slope of a curve against the logarithm of the compute. Example: `race --minutes 60 --configs galr-cpu.yaml "galr-cpu.yaml model.encoder_kernel_size=32"`.
"""

import argparse
import dataclasses
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from audioslots_hf.families import FAMILIES
from audioslots_hf.files import write_text
from training.arguments import TrainingArguments, load_arguments
from training.checkpoints import list_checkpoints, load_state
from training.loop import train
from training.model import build_config
from training.reporting.figures import save_figure, start_figure
from training.run import Run
from training.settings import SettingsError

from .curves import fit_curve


CONFIGS = Path(__file__).parents[1] / "configs"
# settings that determine the data, its order and the scores
COMMON = (
    "seed",
    "batch_size",
    "num_chunks",
    "objective",
    "speech",
    "mixtures",
    "augmentations",
    "valid",
    "num_valid_mixtures",
    "speech_on_device",
    "mixed_precision",
)
COMMON_OF_MODEL = ("sampling_rate", "chunk_length", "num_sources")


class RaceRun(Run):
    """A slice of a race: ends after `slice_s` seconds of compute, with a validation, and logs the compute of all slices."""

    def __init__(self, slice_s: float, accelerator: Accelerator, *arguments: Any):
        super().__init__(accelerator, *arguments)
        self.slice_s = slice_s
        self.earlier_s = self.slice_began = self.compute_s = 0.0

    def begin(self) -> None:
        """Start the clock after the validation before the first step."""
        super().begin()
        self.earlier_s = read_compute(self.output_dir)
        self.slice_began = self.read_clock()

    def read_clock(self) -> float:
        """Seconds of this process's CPU time, or of wall time if the steps run on a device."""
        if self.accelerator.device.type == "cpu":
            return time.process_time()
        torch.accelerator.synchronize()
        return time.monotonic()

    def check_time(self) -> bool:
        """Whether the compute of this slice is used up."""
        used = self.read_clock() - self.slice_began
        self.compute_s = self.earlier_s + used
        return used >= self.slice_s

    def save_checkpoint(self) -> None:
        """Log the compute before the checkpoint: a resumed run drops lines after its checkpoint, so both always agree."""
        self.write(compute_s=self.compute_s)
        super().save_checkpoint()


@dataclasses.dataclass
class Contestant:
    """A configuration with overrides, in its own folder."""

    name: str
    arguments: TrainingArguments
    failure: str | None = None

    @property
    def folder(self) -> Path:
        """Folder of its run."""
        return Path(self.arguments.output_dir)

    def is_over(self, seconds: float) -> bool:
        """Whether it has used its compute, has done its last step, or has failed."""
        checkpoints = list_checkpoints(self.folder)
        step = load_state(checkpoints[-1]).step if checkpoints else 0
        return self.failure is not None or step >= self.arguments.max_steps or read_compute(self.folder) >= seconds

    def train(self, slice_s: float) -> None:
        """Train for a slice. One whose loss is no number leaves the race."""
        try:
            train(self.arguments, lambda *arguments: RaceRun(slice_s, *arguments))
        except FloatingPointError as error:
            self.failure = str(error)
            print(f"{self.name} leaves the race: {error}", file=sys.stderr)


def read_lines(folder: Path) -> list[dict[str, float]]:
    """The log of a contestant up to its last checkpoint."""
    checkpoints = list_checkpoints(folder)
    if not checkpoints:
        return []
    last_step = load_state(checkpoints[-1]).step
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["step"] <= last_step]


def read_compute(folder: Path) -> float:
    """Seconds of compute of a contestant up to its last checkpoint."""
    return max((line["compute_s"] for line in read_lines(folder) if "compute_s" in line), default=0.0)


def read_curve(folder: Path) -> list[dict[str, float]]:
    """The points of a contestant's curve: minutes of compute, step, SI-SNRi in dB."""
    lines = read_lines(folder)
    compute = {0: 0.0} | {line["step"]: line["compute_s"] for line in lines if "compute_s" in line}
    scores = {line["step"]: line["valid_si_snri"] for line in lines if "valid_si_snri" in line}
    return [
        {"minutes": compute[step] / 60, "step": step, "si_snri": score}
        for step, score in sorted(scores.items())
        if step in compute
    ]


def load_contestant(text: str, overrides: list[str], output: Path) -> Contestant:
    """A contestant from its configuration and overrides, separated by spaces, and those that are for all."""
    name, *own = text.split()
    path = Path(name) if Path(name).exists() else CONFIGS / name
    folder = output / re.sub(r"[^\w.=-]+", "_", " ".join([path.stem, *own]))
    arguments = load_arguments(path, [*overrides, *own, f"output_dir={json.dumps(str(folder))}"])
    if arguments.valid is None:
        raise SettingsError(
            f"{text} has no validation mixtures (`valid`), which a race needs: pass valid.metadata=CSV."
        )
    arguments = dataclasses.replace(
        arguments,
        # validated at the start, and at the end of every slice; workers have their own CPU time
        validate_first=True,
        valid_steps=arguments.max_steps,
        save_steps=arguments.max_steps,
        num_workers=0,
        max_minutes=None,
        patience=None,
    )
    return Contestant(text, arguments)


def check_same_data(contestants: list[Contestant]) -> None:
    """Raise a `SettingsError` that names the first setting by which two contestants would have other data or scores."""
    names = [contestant.folder for contestant in contestants]
    if twice := [contestant.name for contestant in contestants if names.count(contestant.folder) > 1]:
        raise SettingsError(f"`--configs` names {twice[0]!r} twice: leave one out.")
    values = []
    for contestant in contestants:
        config = build_config(contestant.arguments.model)
        plain = contestant.arguments.to_dict()
        values.append(
            {key: plain[key] for key in COMMON} | {f"model.{key}": getattr(config, key) for key in COMMON_OF_MODEL}
        )
    for contestant, other in zip(contestants, values, strict=True):
        for key, value in values[0].items():
            if other[key] != value:
                raise SettingsError(
                    f"`{key}` is {other[key]} in {contestant.name!r}, but {value} in {contestants[0].name!r}: a race needs "
                    f"the same data. Pass {key}=VALUE before --configs, which is for all."
                )


def count_parameters(contestant: Contestant) -> int:
    """Number of parameters of its model."""
    config = build_config(contestant.arguments.model)
    with torch.device("meta"):
        return FAMILIES[config.model_type].model_class(config).num_parameters()


def compare(contestants: list[Contestant]) -> dict[str, dict[str, float | None]]:
    """Scores at equal compute and at equal steps, between the points of a curve on the line that joins them, and slopes."""
    if not contestants:
        return {}
    curves = {item.name: read_curve(item.folder) for item in contestants}
    shared = {key: min(curve[-1][key] for curve in curves.values()) for key in ("minutes", "step")}
    rows = {}
    for item in contestants:
        columns = {key: [point[key] for point in curves[item.name]] for key in ("minutes", "step", "si_snri")}
        # before the first step the logarithm of the compute is infinite
        trained = columns["minutes"][1:], columns["si_snri"][1:]
        rows[item.name] = {
            "parameters": count_parameters(item),
            "steps": float(np.interp(shared["minutes"], columns["minutes"], columns["step"])),
            "at_equal_compute": float(np.interp(shared["minutes"], columns["minutes"], columns["si_snri"])),
            "at_equal_steps": float(np.interp(shared["step"], columns["step"], columns["si_snri"])),
            "db_per_doubling": fit_curve(*trained).slope if len(trained[0]) > 1 else None,
        }
    print(
        f"| contestant | parameters | steps in {shared['minutes']:.1f} min | SI-SNRi at {shared['minutes']:.1f} min, dB "
        f"| SI-SNRi at {shared['step']} steps, dB | dB per doubling |\n|{' --- |' * 6}"
    )
    for name, row in rows.items():
        slope = "-" if row["db_per_doubling"] is None else f"{row['db_per_doubling']:.2f}"
        print(
            f"| `{name}` | {row['parameters']:,} | {row['steps']:,.0f} | {row['at_equal_compute']:.2f} "
            f"| {row['at_equal_steps']:.2f} | {slope} |"
        )
    return rows


def plot_curves(contestants: list[Contestant], path: Path) -> None:
    """Draw the curves of all contestants."""
    figure, axes = start_figure()
    for contestant in contestants:
        curve = read_curve(contestant.folder)
        axes.plot(*zip(*((point["minutes"], point["si_snri"]) for point in curve), strict=True), label=contestant.name)
    axes.set_xlabel("minutes of compute")
    axes.set_ylabel("SI-SNRi of the validation mixtures, dB")
    axes.legend()
    save_figure(figure, path)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values for all, before --configs")
    parser.add_argument("--minutes", type=float, required=True, help="minutes of compute of each contestant")
    parser.add_argument("--configs", nargs="+", required=True, help='"FILE [key=value ...]" for each contestant')
    parser.add_argument("--slice-minutes", type=float, default=5, help="minutes of a turn (default: 5)")
    parser.add_argument("--output", type=Path, default=Path("runs/race"), help="folder (default: runs/race)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train all contestants in turn, and draw their curves after every turn."""
    for name in ("minutes", "slice_minutes"):
        if not (value := getattr(options, name)) > 0:
            raise SettingsError(f"`--{name.replace('_', '-')}` ({value}) must be above 0.")
    contestants = [load_contestant(text, options.overrides, options.output) for text in options.configs]
    check_same_data(contestants)
    for contestant in contestants:
        contestant.arguments.check_paths()
    seconds = 60 * options.minutes
    while left := [contestant for contestant in contestants if not contestant.is_over(seconds)]:
        # the one behind trains, so all take turns
        contestant = min(left, key=lambda item: read_compute(item.folder))
        contestant.train(min(60 * options.slice_minutes, seconds - read_compute(contestant.folder)))
        if with_curve := [item for item in contestants if read_curve(item.folder)]:
            plot_curves(with_curve, options.output / "race.png")
    result = {
        "minutes": options.minutes,
        "rows": compare([item for item in contestants if item.failure is None and read_curve(item.folder)]),
        "curves": {contestant.name: read_curve(contestant.folder) for contestant in contestants},
        "failures": {item.name: item.failure for item in contestants if item.failure is not None},
    }
    write_text(options.output / "race.json", json.dumps(result, indent=2))
    return result
