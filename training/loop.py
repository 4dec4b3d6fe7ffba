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

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin, broadcast_object_list, set_seed
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import FeatureExtractionMixin, PreTrainedConfig, PreTrainedModel

from audioslots_hf.families import FAMILIES
from audioslots_hf.losses import mixit_negative_snr
from audioslots_hf.modeling_outputs import AudioSeparationOutput

from .arguments import TrainingArguments
from .checkpoints import RunState, resume, save_checkpoint, save_model, save_plain_models
from .data.examples import TrainingExamples, load_examples
from .data.mixtures import Mixture, load_mixtures
from .data.resident import ResidentLoader, ResidentSpeech
from .evaluation.scoring import evaluate_mixtures, summarize
from .model import build_config, build_feature_extractor, build_model
from .optimizer import build_average, build_optimizers, build_schedule, update_weights
from .settings import SettingsError


def train(arguments: TrainingArguments) -> Path:
    """
    Train a model, resuming from the last checkpoint in `output_dir` if there is one.

    Writes to `output_dir`: `arguments.json`, `log.jsonl`, TensorBoard events, `checkpoint-STEP/` (to resume), `best/` (the
    highest validation SI-SNRi, or the last where none was measured) and `last/`, both loadable by `from_pretrained`. A run
    that was killed, at whatever moment, goes on as if it had not been.

    Returns:
        The folder of the best model.
    """
    started = time.monotonic()
    arguments.check_paths()
    config = build_config(arguments.model)
    check_objective(arguments, config)
    accelerator = build_accelerator(arguments)

    # the model and its optimiser
    set_seed(arguments.seed)
    model = build_model(config, arguments).to(accelerator.device)
    feature_extractor = build_feature_extractor(config, arguments.model.get("pretrained"))
    average = build_average(model, arguments)
    optimizers = build_optimizers(model, arguments)
    # advanced by hand once per optimiser step, so they are not prepared: Accelerate would step them once per process
    schedulers = [build_schedule(optimizer, arguments) for optimizer in optimizers]

    # the mixtures
    valid_mixtures = load_valid_mixtures(arguments, config, accelerator.is_main_process)
    dataset = load_examples(arguments, config, accelerator.is_main_process)

    # the newest checkpoint
    model, *optimizers = accelerator.prepare(model, *optimizers)
    accelerator.register_for_checkpointing(*schedulers, *([average] if average else []))
    save_plain_models(accelerator, feature_extractor)
    state = resume(accelerator, arguments)
    # curves of steps that are taken again replace the old ones
    accelerator.init_trackers("tensorboard", init_kwargs={"tensorboard": {"purge_step": state.step + 1}})

    # the steps
    loader = build_loader(dataset, arguments, state.step, accelerator)
    trained = average.module if average else accelerator.unwrap_model(model)
    run = Run(accelerator, arguments, trained, feature_extractor, valid_mixtures, state, started)
    # the model itself stays as it is, under its own names: it is validated and saved
    forward = build_forward(model, arguments, accelerator)
    model.train()
    run.begin()
    for batch in run.parts(loader):
        with accelerator.accumulate(model):
            loss = compute_loss(forward, feature_extractor, batch, arguments.objective)
            accelerator.backward(loss)
        run.after_part(loss)
        if not accelerator.sync_gradients:
            continue
        gradient_norm = accelerator.clip_grad_norm_(model.parameters(), arguments.max_grad_norm)
        update_weights(accelerator.unwrap_model(model), optimizers, schedulers, average)
        run.after_step(gradient_norm, schedulers[0].get_last_lr()[0])
    run.finish()
    accelerator.end_training()
    return Path(arguments.output_dir) / "best"


def check_objective(arguments: TrainingArguments, config: PreTrainedConfig) -> None:
    """Raise a `SettingsError` if the model does not estimate what its loss needs: waveforms to add up, or speaker embeddings."""
    if arguments.objective == "mixit" and config.estimates_domain != "waveform":
        able = [name for name, family in FAMILIES.items() if family.config_class.estimates_domain == "waveform"]
        raise SettingsError(
            f"`objective` 'mixit' adds estimated waveforms up, and {config.model_type} estimates none: set "
            f"`model.model_type` to {' or '.join(able)}, or `objective` to matched."
        )
    size = config.speaker_embedding_size
    if size > 0 and arguments.num_chunks == 1:
        # no loss would reach them
        raise SettingsError(
            f"The model has speaker embeddings (`speaker_embedding_size` {size}), which are learned from several chunks of a "
            "mixture: set `num_chunks` (1) to 2 or more."
        )
    if size == 0 and arguments.num_chunks > 1:
        raise SettingsError(
            f"`num_chunks` is {arguments.num_chunks}, but the model has no speaker embeddings to learn from the chunks of a "
            "mixture: set it to 1, or `model.speaker_embedding_size` to 64 in a family that has such a field."
        )


def build_accelerator(arguments: TrainingArguments) -> Accelerator:
    """
    The accelerator of a run.

    Raises:
        `SettingsError`: the batch cannot be shared out among the processes.
    """
    accelerator = Accelerator(
        # else several processes without a device that computes would each take themselves for the only one
        cpu=not torch.accelerator.is_available(),
        mixed_precision=arguments.mixed_precision,
        # as a plugin it is not overridden by the environment that a launcher leaves
        # (the examples of a run are whole batches: the end of a loader says nothing)
        gradient_accumulation_plugin=GradientAccumulationPlugin(
            arguments.gradient_accumulation_steps, sync_with_dataloader=False
        ),
        log_with="tensorboard",
        project_dir=arguments.output_dir,
    )
    num_parts = accelerator.num_processes * arguments.gradient_accumulation_steps
    if arguments.batch_size % num_parts != 0:
        raise SettingsError(
            f"`batch_size` ({arguments.batch_size}) must be a multiple of {num_parts}: {accelerator.num_processes} processes "
            f"times `gradient_accumulation_steps` ({arguments.gradient_accumulation_steps})."
        )
    return accelerator


def build_forward(
    model: torch.nn.Module, arguments: TrainingArguments, accelerator: Accelerator
) -> Callable[..., AudioSeparationOutput]:
    """The model as it is called in training: compiled, if the settings ask for it, around its LSTMs."""
    if not arguments.compile:
        return model
    # on a CPU, torch 2.14 crashes in the backward pass of convolutions whose layout it has changed
    return torch.compile(model, options={"layout_optimization": accelerator.device.type != "cpu"})


def load_valid_mixtures(
    arguments: TrainingArguments, config: PreTrainedConfig, show_progress: bool = True
) -> list[Mixture]:
    """The validation mixtures of a run, in memory; none without `valid`."""
    if arguments.valid is None:
        return []
    # an autoencoder hears each reference alone, of mixtures of any number
    num_sources = None if config.is_autoencoder else config.num_sources
    mixtures = load_mixtures(
        arguments.valid, config.sampling_rate, num_sources, arguments.num_valid_mixtures, show_progress
    )
    return [mixtures[index] for index in range(len(mixtures))]


def build_loader(
    dataset: TrainingExamples, arguments: TrainingArguments, start_step: int, accelerator: Accelerator
) -> DataLoader | ResidentLoader:
    """Parts of batches in the order of their index, from `start_step` on: a resumed run sees what an unbroken one would."""
    num_processes = accelerator.num_processes
    part_size = arguments.batch_size // (num_processes * arguments.gradient_accumulation_steps)
    indices = range(start_step * arguments.batch_size, len(dataset))
    if arguments.speech_on_device:
        speech = ResidentSpeech(dataset.mixer, accelerator.device)
        return ResidentLoader(speech, arguments.seed, indices, part_size, accelerator.process_index, num_processes)
    loader = DataLoader(dataset, part_size, sampler=indices, num_workers=arguments.num_workers, drop_last=True)
    return accelerator.prepare(loader)


def compute_loss(
    model: Callable[..., AudioSeparationOutput],
    feature_extractor: FeatureExtractionMixin,
    batch: dict[str, torch.Tensor],
    objective: str,
) -> torch.Tensor:
    """The loss of the mixtures of a batch; for mixtures of mixtures, the references are what was recorded."""
    mixtures, references, recording_ids = cut_chunks(batch, feature_extractor.chunk_length)
    features = feature_extractor(mixtures, sampling_rate=feature_extractor.sampling_rate, labels=references)
    if len(mixtures) > len(batch["mixture"]):
        features["recording_ids"] = recording_ids
    if objective == "mixit":
        recordings = features.pop("labels")
        return mixit_negative_snr(model(**features).estimates, recordings)
    return model(**features).loss


def cut_chunks(batch: dict[str, torch.Tensor], chunk_length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Chunks of mixtures, one after the other: `(num_chunks, chunk_length)`, `(num_chunks, num_sources, chunk_length)` of
    references, and the number `(num_chunks,)` of the mixture that each is of.
    """
    mixtures = batch["mixture"].unflatten(-1, (-1, chunk_length))
    references = batch["references"].unflatten(-1, (-1, chunk_length)).transpose(1, 2)
    recording_ids = torch.arange(len(mixtures), device=mixtures.device).repeat_interleave(mixtures.shape[1])
    return mixtures.flatten(0, 1), references.flatten(0, 1), recording_ids


class Run:
    """What happens around the steps of a run: logs, validation, checkpoints, the clock."""

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
        # reading the speech counts as time of the run
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
        """Whether the last step is done, the time is up, or the patience at its end."""
        patience = self.arguments.patience
        is_stale = patience is not None and self.state.num_stale_validations >= patience
        return self.time_is_up or is_stale or self.state.step >= self.arguments.max_steps

    def parts(self, loader: DataLoader | ResidentLoader) -> Iterator[dict[str, torch.Tensor]]:
        """The examples of part after part, until the run is over."""
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
        """Validate before the first step, if the settings ask for it."""
        if self.arguments.validate_first and self.state.step == 0:
            self.validate()
            self.state.first_score = self.state.last_score

    def after_part(self, loss: torch.Tensor) -> None:
        """Keep the loss for the log."""
        self.losses.append(loss.detach().float())

    def after_step(self, gradient_norm: torch.Tensor, learning_rate: float) -> None:
        """Count the step, then log, validate and save where it is due."""
        self.state.step += 1
        self.gradient_norm = gradient_norm
        self.bar.update()
        if self.is_due(self.arguments.log_steps):
            self.log_losses(learning_rate)
        # a run that compares itself with its beginning is also measured where its time is up
        is_compared = self.arguments.validate_first and self.is_over
        if (self.is_due(self.arguments.valid_steps) or is_compared) and self.valid_mixtures:
            self.validate()
        if self.is_due(self.arguments.save_steps) or self.is_over:
            self.save_checkpoint()

    def is_due(self, num_steps: int) -> bool:
        """Whether what happens every `num_steps`, and at the end, happens now."""
        return self.state.step % num_steps == 0 or self.state.step == self.arguments.max_steps

    def log_losses(self, learning_rate: float) -> None:
        """Write the mean loss since the last time, and look at the clock."""
        now = time.monotonic()
        max_minutes = self.arguments.max_minutes
        # the clocks of the processes differ, and all of them have to stop at the same step
        time_is_up = float(max_minutes is not None and now - self.started > 60 * max_minutes)
        *losses, time_is_up = self.reduce_losses(time_is_up)
        self.time_is_up = time_is_up > 0
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

    def reduce_losses(self, *values: float) -> list[float]:
        """The losses since the last line of the log, and other values, as means over the processes; one synchronisation."""
        losses = torch.stack([*self.losses, *torch.tensor(values, device=self.accelerator.device)])
        losses = self.accelerator.reduce(losses, reduction="mean").tolist()
        if not all(map(math.isfinite, losses)):
            raise FloatingPointError(
                f"The loss is {sum(losses)} by step {self.state.step}: lower `learning_rate` "
                f"({self.arguments.learning_rate})."
            )
        return losses

    def write(self, **values: float) -> None:
        """One line of the log, and the same for TensorBoard."""
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
        # all processes have to know when the patience is at its end
        (score,) = broadcast_object_list([scores.get("si_snri")])
        self.state.last_score = score
        self.state.num_stale_validations += 1
        if score > self.state.best_score:
            self.state.best_score, self.state.num_stale_validations = score, 0
            self.save_model("best")
        # no time of the steps
        self.logged += time.monotonic() - started

    def save_model(self, name: str) -> None:
        """Write what the run has learned under a name."""
        if self.accelerator.is_main_process:
            save_model(self.output_dir / name, self.model, self.feature_extractor)
        self.accelerator.wait_for_everyone()

    def save_checkpoint(self) -> None:
        """Write down all that the next steps depend on, unless the last one has destroyed the weights."""
        if not math.isfinite(self.gradient_norm):
            raise FloatingPointError(
                f"The gradient is {float(self.gradient_norm)} at step {self.state.step}: lower `learning_rate` "
                f"({self.arguments.learning_rate}). The last checkpoint is as it was."
            )
        if self.losses:
            self.state.losses = self.reduce_losses()
            # the log of this run goes on from the same numbers as that of one that resumes from here
            self.losses = list(torch.tensor(self.state.losses, device=self.accelerator.device).unbind())
        else:
            self.state.losses = []
        save_checkpoint(self.accelerator, self.output_dir, self.state, self.arguments.num_kept_checkpoints)

    def finish(self) -> None:
        """Save the model; where none was validated, it is also the best. Compare it with the beginning of the run."""
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
    Make what is drawn in a part of a batch, as dropout is, a function of the seed and of its first example alone.

    So it neither depends on what ran before nor on the process, and no two processes draw the same.
    """
    torch.manual_seed(int(np.random.SeedSequence((seed, index)).generate_state(1)[0]))
