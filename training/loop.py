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

import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin, set_seed
from torch.utils.data import DataLoader
from transformers import FeatureExtractionMixin, PreTrainedConfig

from audioslots_hf.families import FAMILIES
from audioslots_hf.losses import activity_loss, mixit_negative_snr
from audioslots_hf.modeling_outputs import AudioSeparationOutput

from .arguments import TrainingArguments
from .checkpoints import resume, save_plain_models
from .data.examples import TrainingExamples, load_examples
from .data.mixtures import Mixture, load_mixtures
from .data.resident import ResidentLoader, ResidentSpeech
from .model import build_config, build_feature_extractor, build_model
from .optimizer import build_average, build_optimizers, build_schedule, update_weights
from .remixing import build_teacher, remix_batch
from .run import Run
from .settings import SettingsError


def train(arguments: TrainingArguments, build_run: Callable[..., Run] = Run) -> Path:
    """
    Train a model, resuming from the last checkpoint in `output_dir` if there is one.

    Writes to `output_dir`: `arguments.json`, `log.jsonl`, TensorBoard events, `checkpoint-STEP/` (to resume), `best/` (the
    highest validation SI-SNRi, or the last without validation) and `last/`, both loadable by `from_pretrained`. A run that was
    killed at any moment resumes without a difference in its results. `build_run` takes the arguments of [`Run`].

    Returns:
        The folder of the best model.
    """
    started = time.monotonic()
    config = build_checked_config(arguments)
    accelerator = build_accelerator(arguments)

    # the model and its optimizers
    set_seed(arguments.seed)
    model = build_model(config, arguments).to(accelerator.device)
    feature_extractor = build_feature_extractor(config, arguments.model.get("pretrained"))
    average = build_average(model, arguments)
    optimizers = build_optimizers(model, arguments)
    # the loop advances them once per optimizer step; if prepared, Accelerate would step them once per process
    schedulers = [build_schedule(optimizer, arguments) for optimizer in optimizers]
    teacher = build_teacher(model, average, arguments, accelerator.num_processes)

    # the mixtures
    valid_mixtures = load_valid_mixtures(arguments, config, accelerator.is_main_process)
    dataset = load_examples(arguments, config, accelerator.is_main_process)

    # the newest checkpoint
    model, *optimizers = accelerator.prepare(model, *optimizers)
    accelerator.register_for_checkpointing(*schedulers, *([average] if average else []))
    save_plain_models(accelerator, feature_extractor)
    state = resume(accelerator, arguments)
    # curves of repeated steps replace the old ones
    accelerator.init_trackers("tensorboard", init_kwargs={"tensorboard": {"purge_step": state.step + 1}})

    # the steps
    loader = build_loader(dataset, arguments, state.step, accelerator)
    trained = average.module if average else accelerator.unwrap_model(model)
    run = build_run(accelerator, arguments, trained, feature_extractor, valid_mixtures, state, started)
    # the model itself keeps its own names: it is validated and saved
    forward = build_forward(model, arguments, accelerator)
    model.train()
    run.begin()
    for batch in run.parts(loader):
        batch = remix_batch(teacher, feature_extractor, batch, accelerator)
        with accelerator.accumulate(model):
            loss = compute_loss(forward, feature_extractor, batch, arguments.objective, config.activity_loss_weight)
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


def build_checked_config(arguments: TrainingArguments) -> PreTrainedConfig:
    """The configuration of the model; raises a `SettingsError` for a missing path, or a loss that does not suit the model."""
    arguments.check_paths()
    config = build_config(arguments.model)
    check_objective(arguments, config)
    return config


def check_objective(arguments: TrainingArguments, config: PreTrainedConfig) -> None:
    """Raise a `SettingsError` if the model lacks the outputs of its loss, or `num_chunks` does not suit the model."""
    if arguments.is_unsupervised and config.estimates_domain != "waveform":
        able = [name for name, family in FAMILIES.items() if family.config_class.estimates_domain == "waveform"]
        raise SettingsError(
            f"`objective` {arguments.objective!r} needs waveforms as estimates, which {config.model_type} does not have: set "
            f"`model.model_type` to {' or '.join(able)}, or `objective` to matched."
        )
    if config.sequential_slots and arguments.is_unsupervised:
        raise SettingsError(
            f"`objective` {arguments.objective!r} assigns the estimates of every chunk anew, so it cannot train "
            "`sequential_slots`: set one of them to its default."
        )
    size = config.speaker_embedding_size
    if arguments.num_chunks == 1 and (size > 0 or config.sequential_slots):
        # the new weights would receive no gradient
        part = (
            "sequential slots" if config.sequential_slots else f"speaker embeddings (`speaker_embedding_size` {size})"
        )
        raise SettingsError(
            f"The model has {part}, which need several chunks of a mixture: set `num_chunks` (1) to 2 or more."
        )
    if arguments.num_chunks > 1 and not (size > 0 or config.sequential_slots):
        raise SettingsError(
            f"`num_chunks` is {arguments.num_chunks}, but the model has no speaker embeddings and no sequential slots: set it to "
            "1, or set `model.speaker_embedding_size` to 64 or `model.sequential_slots` to true in a family with this field."
        )


def build_accelerator(arguments: TrainingArguments) -> Accelerator:
    """
    Build the accelerator of a run.

    Raises:
        `SettingsError`: the batch cannot be divided among the processes.
    """
    accelerator = Accelerator(
        # otherwise each of several processes without an accelerator would run as the only one
        cpu=not torch.accelerator.is_available(),
        mixed_precision=arguments.mixed_precision,
        # passed as a plugin, so that environment variables of a launcher do not override it.
        # (all examples of a run form whole batches, so the end of a loader has no meaning)
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
    """The forward function for training: the model, compiled around its LSTMs if the settings say so."""
    if not arguments.compile:
        return model
    # on a CPU, torch 2.14 crashes in the backward pass of convolutions with a changed memory layout
    return torch.compile(model, options={"layout_optimization": accelerator.device.type != "cpu"})


def load_valid_mixtures(
    arguments: TrainingArguments, config: PreTrainedConfig, show_progress: bool = True
) -> list[Mixture]:
    """The validation mixtures of a run, in memory; none without `valid`."""
    if arguments.valid is None:
        return []
    # an autoencoder receives each reference alone, so mixtures may have any number of sources
    num_sources = None if config.is_autoencoder else config.num_sources
    mixtures = load_mixtures(
        arguments.valid, config.sampling_rate, num_sources, arguments.num_valid_mixtures, show_progress
    )
    return [mixtures[index] for index in range(len(mixtures))]


def build_loader(
    dataset: TrainingExamples, arguments: TrainingArguments, start_step: int, accelerator: Accelerator
) -> DataLoader | ResidentLoader:
    """Parts of batches in the order of their index from `start_step`: a resumed run gets the same data as an uninterrupted one."""
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
    activity_weight: float = 0.0,
) -> torch.Tensor:
    """
    The loss of the mixtures of a batch; for mixtures of mixtures, the references are the recordings.

    There, the activity of an estimate is learned from the estimate itself, with the weight `activity_weight`.
    """
    mixtures, references, recording_ids = cut_chunks(batch, feature_extractor.chunk_length)
    features = feature_extractor(mixtures, sampling_rate=feature_extractor.sampling_rate, labels=references)
    if len(mixtures) > len(batch["mixture"]):
        features["recording_ids"] = recording_ids
    if objective == "mixit":
        recordings = features.pop("labels")
        outputs = model(**features)
        loss = mixit_negative_snr(outputs.estimates, recordings)
        if outputs.activity is not None:
            loss = loss + activity_weight * activity_loss(outputs.activity, outputs.estimates.detach())
        return loss
    return model(**features).loss


def cut_chunks(batch: dict[str, torch.Tensor], chunk_length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Cut mixtures into successive chunks: `(num_chunks, chunk_length)`, their references
    `(num_chunks, num_sources, chunk_length)`, and the number `(num_chunks,)` of the mixture of each chunk.
    """
    mixtures = batch["mixture"].unflatten(-1, (-1, chunk_length))
    references = batch["references"].unflatten(-1, (-1, chunk_length)).transpose(1, 2)
    recording_ids = torch.arange(len(mixtures), device=mixtures.device).repeat_interleave(mixtures.shape[1])
    return mixtures.flatten(0, 1), references.flatten(0, 1), recording_ids
