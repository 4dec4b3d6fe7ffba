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
"""One run around the steps of its loop: log, validation, checkpoints and the clock."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import FeatureExtractionMixin, PreTrainedModel

from .arguments import TrainingArguments
from .checkpoints import RunState, save_checkpoint, save_model
from .data.mixtures import Mixture
from .data.resident import ResidentLoader
from .evaluation.scoring import evaluate_mixtures, summarize


class Run:
    """The tasks around the steps of a run: logs, validation, checkpoints, the time limit."""

    def __init__(
        self,
        accelerator: Accelerator,
        arguments: TrainingArguments,
        model: PreTrainedModel,
        feature_extractor: FeatureExtractionMixin,
        valid_mixtures: list[Mixture],
        state: RunState,
        started: float,
    ):
        self.accelerator = accelerator
        self.arguments = arguments
        self.model = model
        self.feature_extractor = feature_extractor
        self.valid_mixtures = valid_mixtures
        self.output_dir = Path(arguments.output_dir)
        self.state = state
        self.losses = list(torch.tensor(state.losses, device=accelerator.device).unbind())
        # the time limit includes reading the speech
        self.started, self.logged = started, time.monotonic()
        self.logged_step = state.step
        self.time_is_up = False
        self.gradient_norm = torch.zeros(())
        self.bar = tqdm(
            initial=state.step,
            total=arguments.max_steps,
            unit="step",
            desc="Training",
            disable=not accelerator.is_main_process,
        )

    @property
    def is_over(self) -> bool:
        """Whether the last step is done, the time limit is reached, or the patience is exhausted."""
        patience = self.arguments.patience
        is_stale = patience is not None and self.state.num_stale_validations >= patience
        return self.time_is_up or is_stale or self.state.step >= self.arguments.max_steps

    def parts(self, loader: DataLoader | ResidentLoader) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the examples of successive parts until the run is over."""
        if self.is_over:
            return
        processes = self.accelerator.num_processes
        first_part = self.state.step * self.arguments.gradient_accumulation_steps * processes
        for number, batch in enumerate(loader):
            part = first_part + number * processes + self.accelerator.process_index
            seed_draws(self.arguments.seed, part * len(batch["mixture"]))
            yield batch
            if self.is_over:
                return

    def begin(self) -> None:
        """Validate before the first step, if the settings say so."""
        if self.arguments.validate_first and self.state.step == 0:
            self.validate()
            self.state.first_score = self.state.last_score

    def after_part(self, loss: torch.Tensor) -> None:
        """Keep the loss for the log."""
        self.losses.append(loss.detach().float())

    def after_step(self, gradient_norm: torch.Tensor, learning_rate: float) -> None:
        """Count the step, then log, validate and save at their intervals."""
        self.state.step += 1
        self.gradient_norm = gradient_norm
        self.bar.update()
        self.time_is_up = self.check_time()
        if self.is_due(self.arguments.log_steps):
            self.log_losses(learning_rate)
        # a run with a first validation also ends with one when its time is up
        is_compared = self.arguments.validate_first and self.is_over
        if (self.is_due(self.arguments.valid_steps) or is_compared) and self.valid_mixtures:
            self.validate()
        if self.is_due(self.arguments.save_steps) or self.is_over:
            self.save_checkpoint()

    def is_due(self, num_steps: int) -> bool:
        """Whether this step is a multiple of `num_steps` or the last one."""
        return self.state.step % num_steps == 0 or self.state.step == self.arguments.max_steps

    def log_losses(self, learning_rate: float) -> None:
        """Write the mean loss since the last line."""
        now = time.monotonic()
        losses = self.reduce_losses()
        loss = sum(losses) / len(losses)
        steps_per_second = (self.state.step - self.logged_step) / (now - self.logged)
        self.losses, self.logged, self.logged_step = [], now, self.state.step
        self.bar.set_postfix(loss=f"{loss:.4f}")
        self.write(
            loss=loss,
            gradient_norm=float(self.gradient_norm),
            learning_rate=learning_rate,
            steps_per_second=steps_per_second,
        )

    def check_time(self) -> bool:
        """Whether the time limit is reached on any process: all stop at the same step."""
        if self.arguments.max_minutes is None:
            return False
        is_up = time.monotonic() - self.started > 60 * self.arguments.max_minutes
        if self.accelerator.num_processes == 1:
            return is_up
        # the clocks of the processes differ
        votes = torch.tensor(float(is_up), device=self.accelerator.device)
        return self.accelerator.reduce(votes, reduction="sum").item() > 0

    def reduce_losses(self) -> list[float]:
        """Means over the processes of the losses since the last line of the log, in one synchronisation."""
        losses = torch.stack(self.losses)
        losses = self.accelerator.reduce(losses, reduction="mean").tolist()
        if not all(map(math.isfinite, losses)):
            raise FloatingPointError(
                f"The loss is {sum(losses)} by step {self.state.step}: lower `learning_rate` "
                f"({self.arguments.learning_rate})."
            )
        return losses

    def write(self, **values: float) -> None:
        """Write a line to the log and to TensorBoard."""
        if self.accelerator.is_main_process:
            with open(self.output_dir / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": self.state.step, **values}) + "\n")
        self.accelerator.log(values, step=self.state.step)

    def validate(self) -> None:
        """Measure SI-SNRi without references at inference; keep the model if it is the best so far."""
        started = time.monotonic()
        scores: dict[str, float] = {}
        if self.accelerator.is_main_process:
            self.model.eval()
            scores = summarize(evaluate_mixtures(self.valid_mixtures, self.model, self.feature_extractor))
            self.model.train()
            self.write(valid_si_snr=scores["si_snr"], valid_si_snri=scores["si_snri"])
        # all processes must know when the patience is exhausted
        (score,) = broadcast_object_list([scores.get("si_snri")])
        self.state.last_score = score
        self.state.num_stale_validations += 1
        if score > self.state.best_score:
            self.state.best_score, self.state.num_stale_validations = score, 0
            self.save_model("best")
        # excluded from the time of the steps
        self.logged += time.monotonic() - started

    def save_model(self, name: str) -> None:
        """Save the trained model under a name."""
        if self.accelerator.is_main_process:
            save_model(self.output_dir / name, self.model, self.feature_extractor)
        self.accelerator.wait_for_everyone()

    def save_checkpoint(self) -> None:
        """Write a checkpoint, unless the last step made the weights NaN or infinite."""
        if not math.isfinite(self.gradient_norm):
            raise FloatingPointError(
                f"The gradient is {float(self.gradient_norm)} at step {self.state.step}: lower `learning_rate` "
                f"({self.arguments.learning_rate}). The last checkpoint is unchanged."
            )
        if self.losses:
            self.state.losses = self.reduce_losses()
            # the log continues from the same values as that of a run that resumes from here
            self.losses = list(torch.tensor(self.state.losses, device=self.accelerator.device).unbind())
        else:
            self.state.losses = []
        save_checkpoint(self.accelerator, self.output_dir, self.state, self.arguments.num_kept_checkpoints)

    def finish(self) -> None:
        """Save the model, also as the best one without validation. Compare it with the beginning of the run."""
        self.bar.close()
        self.save_model("last")
        if self.state.best_score == -math.inf and not self.state.keeps_best:
            self.save_model("best")
        first, last = self.state.first_score, self.state.last_score
        if first is not None:
            self.accelerator.print(
                f"SI-SNRi on {len(self.valid_mixtures)} validation mixtures: {first:.2f} dB before, {last:.2f} dB after "
                f"{self.state.step} steps; best/ holds the model with {self.state.best_score:.2f} dB."
            )


def seed_draws(seed: int, index: int) -> None:
    """
    Seed the random draws of a part of a batch, such as dropout, by the seed of the run and the first example.

    So they depend neither on earlier steps nor on the process, and no two processes draw the same values.
    """
    torch.manual_seed(int(np.random.SeedSequence((seed, index)).generate_state(1)[0]))
