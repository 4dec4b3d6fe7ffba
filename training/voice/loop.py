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
"""The training loop of the voice encoder: one process, crops from memory, a checkpoint to resume from."""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from audioslots_hf.configuration_voice_encoder import VoiceEncoderConfig
from audioslots_hf.files import replacing, write_text
from audioslots_hf.leftovers import remove_leftovers
from audioslots_hf.loading import load_separator
from audioslots_hf.modeling_voice_encoder import VoiceEncoderModel

from ..checkpoints import cut_log
from ..settings import SettingsError
from .augmentation import active_frames, augment
from .crops import VoiceCrops, load_voices
from .settings import VoiceTrainingArguments
from .tasks import Classification, Imitation, Teacher, draw_generator, prepare_teacher
from .verification import Trials, cut_trials, embed


MAX_GRAD_NORM = 5.0
# of the crops of a validation
VALID_S = 2.0
CHECKPOINT = "checkpoint.pt"
# of the augmentation `separator_share`
SEPARATOR = "galr-small"


@dataclass
class Run:
    """The trained modules and the state of a run, and the separator of its crops."""

    model: VoiceEncoderModel
    task: Classification | Imitation
    optimizer: torch.optim.Optimizer
    separator: nn.Module | None = None
    step: int = 0

    def save(self, folder: Path) -> None:
        """Write the model for `from_pretrained`, and all that resuming needs."""
        with replacing(folder / CHECKPOINT) as temporary:
            states = {name: getattr(self, name).state_dict() for name in ("model", "task", "optimizer")}
            torch.save(states | {"step": self.step}, temporary)
        with replacing(folder / "last") as temporary:
            self.model.save_pretrained(temporary)

    def resume(self, folder: Path) -> None:
        """Go on from the checkpoint of a folder, if there is one, without the temporary files of a killed run."""
        remove_leftovers([folder])
        if (folder / CHECKPOINT).exists():
            states = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
            self.step = states.pop("step")
            for name, state in states.items():
                getattr(self, name).load_state_dict(state)


def learning_rate(step: int, arguments: VoiceTrainingArguments) -> float:
    """A linear warm-up, then a cosine to zero, by the share of the steps alone."""
    progress, warmup = (step + 1) / arguments.max_steps, arguments.warmup_share
    if progress < warmup:
        return arguments.learning_rate * progress / warmup
    return arguments.learning_rate * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup + 1e-9))) / 2


def take_step(run: Run, arguments: VoiceTrainingArguments) -> dict[str, float]:
    """Draw a batch that depends on seed and step alone, and learn from it."""
    rng = draw_generator(run.step, arguments)
    waveforms, answers = run.task.draw(rng)
    weights = active_frames(waveforms, run.model.config.frame_length)
    # half of the crops come with all of their frames
    weights[torch.from_numpy(rng.random(len(weights)) < 0.5).to(weights.device)] = 1.0
    waveforms = augment(waveforms, arguments.augmentations, rng, run.model.config.sampling_rate, run.separator)
    rate = learning_rate(run.step, arguments)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast(waveforms.device.type, torch.bfloat16, enabled=arguments.bf16):
        embeddings = run.model(waveforms, frame_weights=weights).embeddings
    loss, logged = run.task(embeddings, answers, run.step)
    if not torch.isfinite(loss):
        raise FloatingPointError(f"The loss of step {run.step} is {loss.item()}: lower `learning_rate`.")
    run.optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), MAX_GRAD_NORM)
    run.optimizer.step()
    run.step += 1
    return {"loss": loss.item()} | {name: value.item() for name, value in logged.items()} | {"learning_rate": rate}


def validate(model: VoiceEncoderModel, valid: list[Trials]) -> list[float]:
    """The equal error rate of each folder of validation voices."""
    model.eval()
    rates = [trials.equal_error_rate(embed(model, trials.crops)) for trials in valid]
    model.train()
    return rates


def build_config(arguments: VoiceTrainingArguments) -> VoiceEncoderConfig:
    """The configuration of the model that a run trains."""
    if arguments.pretrained is not None:
        return VoiceEncoderConfig.from_pretrained(arguments.pretrained)
    return VoiceEncoderConfig(**arguments.model)


def load_separation_model(sampling_rate: int, device: torch.device) -> nn.Module:
    """
    The separator of crops at this sampling rate.

    Raises:
        `SettingsError`: it has another rate.
    """
    model = load_separator(SEPARATOR, device=device).model
    if model.config.sampling_rate != sampling_rate:
        raise SettingsError(
            f"`separator_share` needs speech at {model.config.sampling_rate} Hz: pass separator_share=0 for {sampling_rate} Hz."
        )
    return model


def build_run(
    arguments: VoiceTrainingArguments,
    crops: VoiceCrops,
    teacher: Teacher | None = None,
    separator: nn.Module | None = None,
) -> Run:
    """A fresh or a pretrained model with its task and its optimiser; with a teacher the task is to imitate it."""
    torch.manual_seed(arguments.seed)
    if arguments.pretrained is None:
        model = VoiceEncoderModel(build_config(arguments))
    else:
        model = VoiceEncoderModel.from_pretrained(arguments.pretrained)
    model.to(crops.device).train()
    if teacher is None:
        task = Classification(crops, arguments, model.config.embedding_size)
    else:
        task = Imitation(crops, arguments, teacher)
    task.to(crops.device)
    parameters = [*model.parameters(), *task.parameters()]
    optimizer = torch.optim.AdamW(parameters, arguments.learning_rate, weight_decay=arguments.weight_decay)
    return Run(model, task, optimizer, separator)


def train(arguments: VoiceTrainingArguments) -> Path:
    """
    Train or resume a run.

    Returns:
        The folder of the model, for `VoiceEncoderModel.from_pretrained`.
    """
    arguments.check_paths()
    folder = Path(arguments.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    config, device = build_config(arguments), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rate = config.sampling_rate
    teacher = prepare_teacher(config, device) if arguments.teacher else None
    separator = load_separation_model(rate, device) if arguments.augmentations.separator_share > 0 else None
    voices = [load_voices(item, rate) for item in arguments.speech]
    valid = [cut_trials(load_voices(item, rate), round(VALID_S * rate)) for item in arguments.valid]
    weights = [item.weight for item in arguments.speech]
    crops = VoiceCrops(voices, weights, arguments.augmentations.speeds, rate, device)
    run = build_run(arguments, crops, teacher, separator)
    run.resume(folder)
    if arguments.teacher and run.step == 0:
        run.task.find_center()
    write_text(folder / "arguments.json", json.dumps(arguments.to_dict(), indent=2))
    cut_log(folder / "log.jsonl", run.step)
    sums, logged_step, started = {}, run.step, time.monotonic()
    progress = tqdm(total=arguments.max_steps, initial=run.step, desc="Training", unit="step", mininterval=5)
    while run.step < arguments.max_steps:
        for name, value in take_step(run, arguments).items():
            sums[name] = sums.get(name, 0.0) + value
        progress.update()
        is_last = run.step == arguments.max_steps
        if run.step % arguments.log_steps == 0 or is_last:
            line = {"step": run.step} | {name: value / (run.step - logged_step) for name, value in sums.items()}
            if valid and (run.step % arguments.valid_steps == 0 or is_last):
                line["equal_error_rates"] = validate(run.model, valid)
            line["seconds"] = time.monotonic() - started
            with open(folder / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            sums, logged_step = {}, run.step
        if run.step % arguments.save_steps == 0 or is_last:
            run.save(folder)
    return folder / "last"
