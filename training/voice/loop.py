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

import numpy as np
import torch
from safetensors.torch import load_file
from tqdm.auto import tqdm

from audioslots_hf.configuration_voice_encoder import VoiceEncoderConfig
from audioslots_hf.files import replacing, write_text
from audioslots_hf.leftovers import remove_leftovers
from audioslots_hf.modeling_voice_encoder import VoiceEncoderModel

from ..checkpoints import cut_log
from ..settings import SettingsError
from .augmentation import active_frames, augment
from .crops import VoiceCrops, load_voices
from .loss import AngularMarginLoss
from .settings import VoiceTrainingArguments
from .verification import Trials, cut_trials, embed


MARGIN_WARMUP_SHARE = 0.5
MAX_GRAD_NORM = 5.0
# of the crops of a validation
VALID_S = 2.0
CHECKPOINT = "checkpoint.pt"


@dataclass
class Run:
    """The trained modules and the state of a run; of a teacher the targets, (num_recordings, num_speeds, embedding_size)"""

    model: VoiceEncoderModel
    loss: AngularMarginLoss
    optimizer: torch.optim.Optimizer
    targets: torch.Tensor | None = None
    step: int = 0

    def save(self, folder: Path) -> None:
        """Write the model for `from_pretrained`, and all that resuming needs."""
        with replacing(folder / CHECKPOINT) as temporary:
            states = {name: getattr(self, name).state_dict() for name in ("model", "loss", "optimizer")}
            torch.save(states | {"step": self.step}, temporary)
        with replacing(folder / "last") as temporary:
            self.model.save_pretrained(temporary)

    def resume(self, folder: Path) -> None:
        """Go on from the checkpoint of a folder, if there is one, without the temporary files of a killed run."""
        remove_leftovers([folder])
        if (folder / CHECKPOINT).exists():
            states = torch.load(folder / CHECKPOINT, weights_only=True)
            self.step = states.pop("step")
            for name, state in states.items():
                getattr(self, name).load_state_dict(state)


def learning_rate(step: int, arguments: VoiceTrainingArguments) -> float:
    """A linear warm-up, then a cosine to zero, by the share of the steps alone."""
    progress, warmup = (step + 1) / arguments.max_steps, arguments.warmup_share
    if progress < warmup:
        return arguments.learning_rate * progress / warmup
    return arguments.learning_rate * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup + 1e-9))) / 2


def margin(step: int, arguments: VoiceTrainingArguments) -> float:
    """The margin rises from 0: at the start it would keep the classes from forming."""
    return arguments.margin * min(1.0, step / (MARGIN_WARMUP_SHARE * arguments.max_steps))


def take_step(run: Run, crops: VoiceCrops, arguments: VoiceTrainingArguments) -> dict[str, float]:
    """Draw a batch that depends on seed and step alone, and learn from it."""
    rng = np.random.default_rng((arguments.seed, run.step))
    batch = crops.draw(rng, arguments.batch_size, crops.draw_length(rng, arguments.duration_s))
    weights = active_frames(batch.waveforms, run.model.config.frame_length)
    # half of the crops come with all of their frames
    weights[torch.from_numpy(rng.random(len(weights)) < 0.5)] = 1.0
    waveforms = augment(batch.waveforms, arguments.augmentations, rng, crops.sampling_rate)
    rate = learning_rate(run.step, arguments)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16):
        embeddings = run.model(waveforms, frame_weights=weights).embeddings
    loss, accuracy = run.loss(embeddings, batch.labels, margin(run.step, arguments))
    if not torch.isfinite(loss):
        raise FloatingPointError(f"The loss of step {run.step} is {loss.item()}: lower `learning_rate`.")
    logged = {"loss": loss.item(), "accuracy": accuracy.item(), "learning_rate": rate}
    if run.targets is not None:
        distance = 1 - (embeddings * run.targets[batch.recordings, batch.speeds]).sum(dim=1).mean()
        loss = loss + arguments.target_weight * distance
        logged["distance"] = distance.item()
    run.optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), MAX_GRAD_NORM)
    run.optimizer.step()
    run.step += 1
    return logged


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


def load_targets(arguments: VoiceTrainingArguments, crops: VoiceCrops, embedding_size: int) -> dict[str, torch.Tensor]:
    """
    The embeddings of the teacher, or nothing without one.

    Raises:
        `SettingsError`: they were made with other speech, speeds or sizes.
    """
    if arguments.targets is None:
        return {}
    targets = load_file(arguments.targets)
    expected = (int(crops.offsets[-1]), len(crops.speeds), embedding_size)
    found = tuple(targets["recordings"].shape)
    if found != expected:
        raise SettingsError(
            f"`targets` names {arguments.targets} with targets of shape {found}, but (recordings, speeds, embedding size) are {expected}: "
            "run `python -m training.voice.teach` with the same settings."
        )
    return targets


def build_run(arguments: VoiceTrainingArguments, crops: VoiceCrops) -> Run:
    """A fresh or a pretrained model with its loss and its optimiser."""
    torch.manual_seed(arguments.seed)
    if arguments.pretrained is None:
        model = VoiceEncoderModel(build_config(arguments))
    else:
        model = VoiceEncoderModel.from_pretrained(arguments.pretrained)
    model.train()
    size = model.config.embedding_size
    targets = load_targets(arguments, crops, size)
    loss = AngularMarginLoss(size, crops.num_classes, arguments.scale, targets.get("voices"))
    parameters = [value for value in [*model.parameters(), *loss.parameters()] if value.requires_grad]
    optimizer = torch.optim.AdamW(parameters, arguments.learning_rate, weight_decay=arguments.weight_decay)
    return Run(model, loss, optimizer, targets.get("recordings"))


def train(arguments: VoiceTrainingArguments) -> Path:
    """
    Train or resume a run.

    Returns:
        The folder of the model, for `VoiceEncoderModel.from_pretrained`.
    """
    arguments.check_paths()
    folder = Path(arguments.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    rate = build_config(arguments).sampling_rate
    voices = [load_voices(item, rate) for item in arguments.speech]
    valid = [cut_trials(load_voices(item, rate), round(VALID_S * rate)) for item in arguments.valid]
    weights = [item.weight for item in arguments.speech]
    crops = VoiceCrops(voices, weights, arguments.augmentations.speeds, rate)
    run = build_run(arguments, crops)
    run.resume(folder)
    write_text(folder / "arguments.json", json.dumps(arguments.to_dict(), indent=2))
    cut_log(folder / "log.jsonl", run.step)
    sums, started = {}, time.monotonic()
    progress = tqdm(total=arguments.max_steps, initial=run.step, desc="Training", unit="step", mininterval=5)
    while run.step < arguments.max_steps:
        for name, value in take_step(run, crops, arguments).items():
            sums[name] = sums.get(name, 0.0) + value
        progress.update()
        is_last = run.step == arguments.max_steps
        if run.step % arguments.log_steps == 0 or is_last:
            line = {"step": run.step} | {name: value / arguments.log_steps for name, value in sums.items()}
            if valid and (run.step % arguments.valid_steps == 0 or is_last):
                line["equal_error_rates"] = validate(run.model, valid)
            line["seconds"] = time.monotonic() - started
            with open(folder / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            sums = {}
        if run.step % arguments.save_steps == 0 or is_last:
            run.save(folder)
    return folder / "last"
