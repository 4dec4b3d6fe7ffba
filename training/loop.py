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
"""The training loop: explicit, on Accelerate."""

import dataclasses
import json
import math
import re
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from huggingface_hub.errors import StrictDataclassError
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import (
    AutoModel,
    FeatureExtractionMixin,
    PreTrainedConfig,
    PreTrainedModel,
    get_cosine_schedule_with_warmup,
)

from audioslots_hf import FAMILIES

from .arguments import SettingsError, TrainingArguments
from .data import Mixture, TrainingExamples, load_examples, load_mixtures
from .evaluation import evaluate_mixtures, summarize
from .files import write_atomically


# What may differ when a run is resumed: it changes neither the model nor what it learns from.
CHANGEABLE = {
    "log_steps",
    "max_minutes",
    "mixtures",
    "num_kept_checkpoints",
    "num_valid_mixtures",
    "num_workers",
    "output_dir",
    "save_steps",
    "speech",
    "valid",
    "valid_steps",
}


def train(arguments: TrainingArguments) -> Path:
    """
    Train a model, resuming from the last checkpoint in `output_dir` if there is one.

    Writes to `output_dir`: `arguments.json`, `log.jsonl`, TensorBoard events, `checkpoint-STEP/` (to resume), `best/` (the
    highest validation SI-SNRi, or the last without validation) and `last/`, both loadable by `from_pretrained`.

    Returns:
        The folder of the best model.
    """
    arguments.check_paths()
    config = build_config(arguments.model)
    output_dir = Path(arguments.output_dir)
    accelerator = Accelerator(
        mixed_precision=arguments.mixed_precision, log_with="tensorboard", project_dir=str(output_dir)
    )
    set_seed(arguments.seed)
    model: PreTrainedModel = AutoModel.from_config(config)
    feature_extractor = build_feature_extractor(config)
    optimizer = torch.optim.Adam(model.parameters(), lr=arguments.learning_rate)
    # advanced by hand once per optimiser step, so it is not prepared: Accelerate would step it once per process
    scheduler = build_schedule(optimizer, arguments)
    valid_mixtures = load_valid_mixtures(arguments, config, accelerator.is_main_process)
    dataset = load_examples(arguments, config, accelerator.is_main_process)
    model, optimizer = accelerator.prepare(model, optimizer)
    accelerator.register_for_checkpointing(scheduler)

    check_same_run(output_dir, arguments)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        output_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(output_dir / "arguments.json", json.dumps(arguments.to_dict(), indent=2))
    state = resume(accelerator, output_dir)
    loader = accelerator.prepare(build_loader(dataset, arguments, state["step"], accelerator))
    accelerator.init_trackers("tensorboard")
    run = Run(accelerator, arguments, model, feature_extractor, valid_mixtures, state)

    model.train()
    for batch in run.progress(loader):
        features = feature_extractor(batch["mixture"], sampling_rate=config.sampling_rate, labels=batch["references"])
        loss = model(**features).loss
        accelerator.backward(loss)
        gradient_norm = accelerator.clip_grad_norm_(model.parameters(), arguments.max_grad_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        run.after_step(loss, gradient_norm, scheduler.get_last_lr()[0])
        if run.is_over:
            break
    run.finish()
    accelerator.end_training()
    return output_dir / "best"


def build_config(values: dict[str, Any]) -> PreTrainedConfig:
    """
    The configuration of the model to train, of the family that `model_type` names.

    Raises:
        `SettingsError`: an unknown family, or a misspelt field, which transformers would swallow.
    """
    values = dict(values)
    model_type = values.pop("model_type", "audioslots")
    if model_type not in FAMILIES:
        raise SettingsError(f"`model.model_type` ({model_type!r}) must be one of {', '.join(FAMILIES)}.")
    config_class = FAMILIES[model_type][0]
    known = {item.name for item in dataclasses.fields(config_class)}
    if unknown := sorted(set(values) - known):
        raise SettingsError(f"Unknown key `model.{unknown[0]}`: {config_class.__name__} has no such field.")
    try:
        return config_class(**values)
    except StrictDataclassError as error:
        raise SettingsError(f"The model cannot be built: {error}") from error


def build_feature_extractor(config: PreTrainedConfig) -> FeatureExtractionMixin:
    """The feature extractor that fits a model's configuration."""
    return FAMILIES[config.model_type][2].from_config(config)


def build_schedule(
    optimizer: torch.optim.Optimizer, arguments: TrainingArguments
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up, then a cosine to zero or, with `decay_rate`, a step down every `decay_steps`."""
    if arguments.decay_rate is None:
        return get_cosine_schedule_with_warmup(optimizer, arguments.warmup_steps, arguments.max_steps)

    def factor(step: int) -> float:
        warmup = min(1.0, (step + 1) / max(1, arguments.warmup_steps))
        return warmup * arguments.decay_rate ** (step // arguments.decay_steps)

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def load_valid_mixtures(
    arguments: TrainingArguments, config: PreTrainedConfig, show_progress: bool = True
) -> list[Mixture]:
    """The validation mixtures of a run, in memory; none without `valid`."""
    if arguments.valid is None:
        return []
    mixtures = load_mixtures(
        arguments.valid, config.sampling_rate, config.num_sources, arguments.num_valid_mixtures, show_progress
    )
    return [mixtures[index] for index in range(len(mixtures))]


def build_loader(
    dataset: TrainingExamples, arguments: TrainingArguments, start_step: int, accelerator: Accelerator
) -> DataLoader:
    """Batches in the order of their index, from `start_step` on: a resumed run sees what an unbroken one would."""
    batch_size = arguments.batch_size // accelerator.num_processes
    if batch_size * accelerator.num_processes != arguments.batch_size:
        raise SettingsError(
            f"`batch_size` ({arguments.batch_size}) must be a multiple of the {accelerator.num_processes} processes."
        )
    indices = range(start_step * arguments.batch_size, len(dataset))
    return DataLoader(dataset, batch_size, sampler=indices, num_workers=arguments.num_workers, drop_last=True)


class Run:
    """What happens around the steps of a run: logs, validation, checkpoints, the clock."""

    def __init__(
        self,
        accelerator: Accelerator,
        arguments: TrainingArguments,
        model: torch.nn.Module,
        feature_extractor: FeatureExtractionMixin,
        valid_mixtures: list[Mixture],
        state: dict[str, float],
    ):
        self.accelerator = accelerator
        self.arguments = arguments
        self.model = model
        self.feature_extractor = feature_extractor
        self.valid_mixtures = valid_mixtures
        self.output_dir = Path(arguments.output_dir)
        self.step = state["step"]
        self.best_score = state["best_score"]
        self.losses: list[torch.Tensor] = []
        self.bar: tqdm | None = None
        self.started = self.logged = time.monotonic()
        self.time_is_up = False

    @property
    def is_over(self) -> bool:
        """Whether the last step is done or the time is up."""
        return self.time_is_up or self.step >= self.arguments.max_steps

    def progress(self, loader: DataLoader) -> tqdm:
        """The loader behind a progress bar that shows steps per second and the loss."""
        self.bar = tqdm(
            loader,
            initial=self.step,
            total=self.arguments.max_steps,
            unit="step",
            desc="Training",
            disable=not self.accelerator.is_main_process,
        )
        return self.bar

    def after_step(self, loss: torch.Tensor, gradient_norm: torch.Tensor, learning_rate: float) -> None:
        """Count the step, then log, validate and save where it is due."""
        self.step += 1
        self.losses.append(loss.detach())
        if self.step % self.arguments.log_steps == 0 or self.step == self.arguments.max_steps:
            self.log_losses(gradient_norm, learning_rate)
        if self.step % self.arguments.valid_steps == 0:
            self.validate()
        if self.step % self.arguments.save_steps == 0:
            self.save_checkpoint()

    def log_losses(self, gradient_norm: torch.Tensor, learning_rate: float) -> None:
        """Write the mean loss since the last time, and look at the clock; one synchronisation for all of them."""
        now = time.monotonic()
        max_minutes = self.arguments.max_minutes
        # the clocks of the processes differ, and all of them have to stop at the same step
        time_is_up = float(max_minutes is not None and now - self.started > 60 * max_minutes)
        mean_loss = torch.stack(self.losses).mean()
        loss, time_is_up = self.accelerator.reduce(
            torch.stack([mean_loss, torch.full_like(mean_loss, time_is_up)]), reduction="mean"
        ).tolist()
        self.time_is_up = time_is_up > 0
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss} at step {self.step}: lower `learning_rate` ({self.arguments.learning_rate})."
            )
        steps_per_second = len(self.losses) / (now - self.logged)
        self.losses, self.logged = [], now
        self.bar.set_postfix(loss=f"{loss:.4f}")
        self.write(
            loss=loss,
            gradient_norm=float(gradient_norm),
            learning_rate=learning_rate,
            steps_per_second=steps_per_second,
        )

    def write(self, **values: float) -> None:
        """One line of the log, and the same for TensorBoard."""
        if self.accelerator.is_main_process:
            with open(self.output_dir / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": self.step, **values}) + "\n")
        self.accelerator.log(values, step=self.step)

    def validate(self) -> None:
        """Measure SI-SNRi without references at inference; keep the model if it is the best so far."""
        model = self.accelerator.unwrap_model(self.model)
        if self.valid_mixtures and self.accelerator.is_main_process:
            model.eval()
            scores = summarize(evaluate_mixtures(self.valid_mixtures, model, self.feature_extractor))
            model.train()
            self.write(valid_si_snr=scores["si_snr"], valid_si_snri=scores["si_snri"])
            if scores["si_snri"] > self.best_score:
                self.best_score = scores["si_snri"]
                self.save_model("best")
        self.accelerator.wait_for_everyone()
        self.logged = time.monotonic()

    def save_model(self, name: str) -> None:
        """Write the model and its feature extractor to a temporary folder, then rename it."""
        folder, temporary = self.output_dir / name, self.output_dir / f"{name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        self.accelerator.unwrap_model(self.model).save_pretrained(temporary)
        self.feature_extractor.save_pretrained(temporary)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)

    def save_checkpoint(self) -> None:
        """Write all that resuming needs to a temporary folder, rename it, drop the oldest."""
        folder = self.output_dir / f"checkpoint-{self.step}"
        self.accelerator.wait_for_everyone()
        if folder.exists():
            return
        temporary = self.output_dir / f"checkpoint-{self.step}.tmp"
        self.accelerator.save_state(str(temporary))
        # every process writes a part of it
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            state = {"step": self.step, "best_score": self.best_score}
            (temporary / "state.json").write_text(json.dumps(state), encoding="utf-8")
            # beside the weights, these make it a folder for `from_pretrained` as well
            self.accelerator.unwrap_model(self.model).config.save_pretrained(temporary)
            self.feature_extractor.save_pretrained(temporary)
            temporary.rename(folder)
            for old in list_checkpoints(self.output_dir)[: -self.arguments.num_kept_checkpoints]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()

    def finish(self) -> None:
        """Validate and save once more."""
        self.bar.close()
        if self.step % self.arguments.valid_steps != 0:
            self.validate()
        self.save_checkpoint()
        if self.accelerator.is_main_process:
            self.save_model("last")
            if not self.valid_mixtures:
                self.save_model("best")


def list_checkpoints(output_dir: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first."""
    folders = [path for path in output_dir.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted(folders, key=lambda path: int(path.name.split("-")[1]))


def check_same_run(output_dir: Path, arguments: TrainingArguments) -> None:
    """
    Refuse to continue a run with other settings than it began with.

    Raises:
        `SettingsError`: names the first setting that differs.
    """
    path = output_dir / "arguments.json"
    if not path.exists() or not list_checkpoints(output_dir):
        return
    before, now = json.loads(path.read_text(encoding="utf-8")), json.loads(json.dumps(arguments.to_dict()))
    for key in sorted(set(now) - CHANGEABLE):
        if before.get(key) != now[key]:
            raise SettingsError(
                f"{output_dir} holds a run with `{key}` {before.get(key)}, not {now[key]}: resume it with the same value, or "
                "choose another output_dir."
            )


def resume(accelerator: Accelerator, output_dir: Path) -> dict[str, float]:
    """Load the newest checkpoint, if any, and say at which step the run stands."""
    checkpoints = list_checkpoints(output_dir)
    if not checkpoints:
        return {"step": 0, "best_score": -math.inf}
    accelerator.load_state(str(checkpoints[-1]))
    accelerator.print(f"Resuming from {checkpoints[-1]}")
    return json.loads((checkpoints[-1] / "state.json").read_text(encoding="utf-8"))
