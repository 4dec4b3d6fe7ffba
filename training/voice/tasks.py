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
"""The tasks of a voice encoder: to tell the voices of the training speech apart, or to imitate the embeddings of a teacher."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from audioslots_hf.configuration_voice_encoder import VoiceEncoderConfig

from ..data.effects import shift_formants
from ..settings import SettingsError
from .crops import VoiceCrops
from .loss import AngularMarginLoss, imitation_loss
from .settings import VoiceTrainingArguments
from .teacher import EMBEDDING_SIZE, SAMPLING_RATE, embed_teacher, load_teacher


MARGIN_WARMUP_SHARE = 0.5
# weight of the cosine distance to the target, beside the cross-entropy
DISTANCE_WEIGHT = 10.0
# of the voices
FORMANT_SHARE = 0.5
# batches whose mean embedding is the centre of the teacher's
NUM_CENTER_BATCHES = 8

# a teacher: waveforms (batch_size, num_samples) to embeddings (batch_size, 192) of any length
Teacher = Callable[[torch.Tensor], torch.Tensor]


def margin(step: int, arguments: VoiceTrainingArguments) -> float:
    """The margin rises from 0: at the start it would keep the classes from forming."""
    return arguments.margin * min(1.0, step / (MARGIN_WARMUP_SHARE * arguments.max_steps))


def draw_generator(step: int, arguments: VoiceTrainingArguments) -> np.random.Generator:
    """The draws of a step, which depend on seed and step alone."""
    return np.random.default_rng((arguments.seed, step))


class Classification(nn.Module):
    """
    Tell the voices of the training speech apart; a voice at another speed is another class.

    Args:
        crops ([`VoiceCrops`]):
            Of the training speech.
        arguments ([`VoiceTrainingArguments`]):
            Of the run.
        embedding_size (`int`):
            Width of the embeddings.
    """

    def __init__(self, crops: VoiceCrops, arguments: VoiceTrainingArguments, embedding_size: int):
        super().__init__()
        self.crops, self.arguments = crops, arguments
        self.loss = AngularMarginLoss(embedding_size, crops.num_classes, arguments.scale)

    def draw(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Crops `(batch_size, num_samples)`, and the class of each."""
        num_samples = self.crops.draw_length(rng, self.arguments.duration_s)
        batch = self.crops.draw(rng, self.arguments.batch_size, num_samples)
        return batch.waveforms, batch.labels

    def forward(
        self, embeddings: torch.Tensor, labels: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss, and values for the log."""
        loss, accuracy = self.loss(embeddings, labels, margin(step, self.arguments))
        return loss, {"accuracy": accuracy}


class Imitation(nn.Module):
    """
    Imitate the embeddings of a teacher, who hears more of a voice than the model does.

    The target of a voice is the sum of the embeddings of two clips, each less the mean of the teacher's embeddings. The two crops of
    the model lie within the clips.

    Args:
        crops ([`VoiceCrops`]):
            Of the training speech.
        arguments ([`VoiceTrainingArguments`]):
            Of the run.
        teacher (`Teacher`):
            On the device of the crops.
    """

    def __init__(self, crops: VoiceCrops, arguments: VoiceTrainingArguments, teacher: Teacher):
        super().__init__()
        self.crops, self.arguments, self.teacher = crops, arguments, teacher
        self.register_buffer("center", torch.zeros(EMBEDDING_SIZE))

    def find_center(self) -> None:
        """Take the mean embedding of the clips of the first batches: all embeddings of a teacher have a direction in common."""
        means = [
            self.teacher(self.draw_clips(draw_generator(step, self.arguments))).mean(dim=0)
            for step in range(NUM_CENTER_BATCHES)
        ]
        self.center.copy_(torch.stack(means).mean(dim=0))

    def draw_clips(self, rng: np.random.Generator) -> torch.Tensor:
        """Two clips of each voice, some with other formants: all first ones, then all second ones, `(batch_size, num_samples)`"""
        num_voices = self.arguments.batch_size // 2
        clips = self.crops.draw_clips(rng, num_voices, round(self.arguments.clip_s * self.crops.sampling_rate))
        bounds = self.arguments.augmentations.formants
        is_moved = torch.from_numpy(np.tile(rng.random(num_voices) < FORMANT_SHARE, 2)).to(clips.device)
        if bounds is not None and is_moved.any():
            factors = torch.from_numpy(np.tile(rng.uniform(*bounds, num_voices), 2)).to(clips.device)
            clips[is_moved] = shift_formants(clips[is_moved], factors[is_moved], self.crops.sampling_rate)
        return clips

    def draw(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Crops `(batch_size, num_samples)`, two of each voice, and the targets of the voices `(batch_size / 2, 192)`"""
        clips = self.draw_clips(rng)
        heard = normalize(self.teacher(clips) - self.center, dim=-1)
        targets = normalize(heard.unflatten(0, (2, -1)).sum(dim=0), dim=-1)
        num_samples = self.crops.draw_length(rng, self.arguments.duration_s)
        starts = torch.from_numpy(rng.integers(clips.shape[1] - num_samples + 1, size=len(clips))).to(clips.device)
        return clips.gather(1, starts[:, None] + torch.arange(num_samples, device=clips.device)), targets

    def forward(
        self, embeddings: torch.Tensor, targets: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss, and values for the log."""
        labels = torch.arange(len(targets), device=targets.device).repeat(2)
        distance, cross_entropy = imitation_loss(embeddings, targets, labels, self.arguments.scale)
        return DISTANCE_WEIGHT * distance + cross_entropy, {"distance": distance, "cross_entropy": cross_entropy}


def prepare_teacher(config: VoiceEncoderConfig, device: torch.device) -> Teacher:
    """
    The teacher on a device, for a model of this configuration.

    Raises:
        `SettingsError`: the teacher is not installed, or its embeddings or its speech have another size or rate.
    """
    for name, needed in (("embedding_size", EMBEDDING_SIZE), ("sampling_rate", SAMPLING_RATE)):
        value = getattr(config, name)
        if value != needed:
            raise SettingsError(f"`model.{name}` ({value}) must be that of the teacher: pass model.{name}={needed}.")
    return partial(embed_teacher, load_teacher().to(device))
