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
Training on recordings without sources, by remixing of estimates (RemixIT, Tzinis et al. 2022, arXiv 2202.08862).

A teacher separates recordings of several voices. Estimates of different recordings are summed to new mixtures, which the
model separates with these estimates as references. They contain the errors of the teacher, but the errors of different
recordings are independent, and the voices of a new mixture are combined anew. For speech separation, see also Saijo and
Ogawa 2023 (arXiv 2211.10194).
"""

import copy

import torch
from accelerate import Accelerator
from torch.optim.swa_utils import AveragedModel
from transformers import FeatureExtractionMixin, PreTrainedModel

from .arguments import TrainingArguments
from .optimizer import flatten_lstms
from .settings import SettingsError


def build_teacher(
    model: PreTrainedModel, average: AveragedModel | None, arguments: TrainingArguments, num_processes: int
) -> PreTrainedModel | None:
    """
    The teacher of a run by remixing: the average of the weights, which follows the model, or else the model before its first step.

    Returns `None` for other objectives. Call it before a checkpoint is loaded into the model.

    Raises:
        `SettingsError`: a part of a batch has fewer recordings than a new mixture.
    """
    if arguments.objective != "remixit":
        return None
    part_size = arguments.batch_size // (num_processes * arguments.gradient_accumulation_steps)
    if part_size < model.config.num_sources:
        raise SettingsError(
            f"`objective` 'remixit' sums estimates of {model.config.num_sources} different recordings, but a part of a batch "
            f"has {part_size}: raise `batch_size` ({arguments.batch_size}), or lower `gradient_accumulation_steps` "
            f"({arguments.gradient_accumulation_steps})."
        )
    if average is not None:
        return average.module
    return flatten_lstms(copy.deepcopy(model))


def remix_batch(
    teacher: PreTrainedModel | None,
    feature_extractor: FeatureExtractionMixin,
    batch: dict[str, torch.Tensor],
    accelerator: Accelerator,
) -> dict[str, torch.Tensor]:
    """A batch of new mixtures by [`remix_recordings`], in the precision of the run; without a teacher the batch as it is."""
    if teacher is None:
        return batch
    with accelerator.autocast():
        return remix_recordings(teacher, feature_extractor, batch["mixture"])


@torch.no_grad()
def remix_recordings(
    teacher: PreTrainedModel, feature_extractor: FeatureExtractionMixin, recordings: torch.Tensor
) -> dict[str, torch.Tensor]:
    """
    Separate recordings, and sum the estimates to new mixtures.

    Args:
        teacher (`PreTrainedModel`):
            Separates without dropout.
        feature_extractor (`FeatureExtractionMixin`):
            That of the teacher.
        recordings (`torch.Tensor` of shape `(batch_size, num_samples)`):
            Recordings of several voices, `batch_size` at least the number of sources of the teacher.

    Returns:
        `dict` with the examples of a batch: `mixture` `(batch_size, num_samples)` and `references`
        `(batch_size, num_sources, num_samples)`.
    """
    # a validation ends with the average in training mode
    teacher.eval()
    features = feature_extractor(recordings, sampling_rate=feature_extractor.sampling_rate)
    estimates = feature_extractor.post_process_audio_separation(teacher(**features), features)
    references = shuffle_estimates(estimates)
    return {"mixture": references.sum(dim=1), "references": references}


def shuffle_estimates(estimates: torch.Tensor) -> torch.Tensor:
    """
    Shuffle estimates, so that each is used once, and no two of a new mixture are from one recording.

    `(batch_size, num_sources, num_samples)` -> same. The estimates of a recording are first put into a random order, because
    the order of a model may depend on the voices. The recordings of a batch are random already.
    """
    orders = torch.rand(estimates.shape[:2], device=estimates.device).argsort(dim=1)
    estimates = estimates.gather(1, orders.unsqueeze(-1).expand_as(estimates))
    return torch.stack([estimates[:, index].roll(index, dims=0) for index in range(estimates.shape[1])], dim=1)
