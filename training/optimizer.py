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
"""Optimizers, their schedule, and the moving average of the weights."""

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import PreTrainedModel, get_cosine_schedule_with_warmup

from .arguments import TrainingArguments


def build_optimizers(model: PreTrainedModel, arguments: TrainingArguments) -> list[torch.optim.Optimizer]:
    """
    Build Adam, or Muon for all matrices and Adam for all other parameters, for a model on its final device.

    Muon (Jordan et al. 2024) updates a matrix by the orthogonal matrix nearest to its gradient. The update has equal size in
    all directions, including those that are rare in gradients. Scaled to Adam's updates, it uses the same learning rate (arXiv
    2502.16982).
    """
    # a fused step is one kernel; on a CPU its rounding would differ
    settings = {"lr": arguments.learning_rate, "fused": model.device.type == "cuda"}
    if arguments.optimizer == "adam":
        return [torch.optim.Adam(model.parameters(), **settings)]
    matrices = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    others = [parameter for parameter in model.parameters() if parameter.ndim != 2]
    muon = torch.optim.Muon(matrices, lr=arguments.learning_rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.Adam(others, **settings)]


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


def build_average(model: PreTrainedModel, arguments: TrainingArguments) -> AveragedModel | None:
    """The exponential moving average of the weights of an unwrapped model; `None` without `ema_decay`."""
    if arguments.ema_decay is None:
        return None
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(arguments.ema_decay))
    flatten_lstms(average.module)
    return average


def flatten_lstms(model: PreTrainedModel) -> PreTrainedModel:
    """Gather the weights of each LSTM of a copied model: otherwise a GPU would do this in every batch."""
    for module in model.modules():
        if isinstance(module, torch.nn.RNNBase):
            module.flatten_parameters()
    return model


def update_weights(
    model: PreTrainedModel,
    optimizers: list[torch.optim.Optimizer],
    schedulers: list[torch.optim.lr_scheduler.LambdaLR],
    average: AveragedModel | None,
) -> None:
    """Perform an optimizer step, once the gradients are computed."""
    for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    if average:
        update_average(average, model)


def update_average(average: AveragedModel, model: PreTrainedModel) -> None:
    """`average.update_parameters(model)` for a model without buffers, but without its synchronisation with a GPU."""
    if average.n_averaged == 0:
        average.update_parameters(model)
        return
    averaged, weights = ([weight.detach() for weight in part.parameters()] for part in (average.module, model))
    # an exponential average does not depend on the number of updates
    average.multi_avg_fn(averaged, weights, None)
    average.n_averaged += 1
