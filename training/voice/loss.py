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
"""Losses of embeddings: additive angular margin softmax (ArcFace, arXiv 1801.07698) over classes, and imitation of a teacher."""

import math

import torch
from torch import nn


# of two targets that are taken for one voice
ALIKE_COSINE = 0.7


class AngularMarginLoss(nn.Module):
    """
    Cross-entropy of the scaled cosines to one direction per class, of which the own one is made harder by an angle.

    Args:
        embedding_size (`int`):
            Width of the embeddings.
        num_classes (`int`):
            Number of voices.
        scale (`float`):
            Factor of the cosines.
    """

    def __init__(self, embedding_size: int, num_classes: int, scale: float):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_classes, embedding_size) * embedding_size**-0.5)
        self.scale = scale

    def forward(
        self, embeddings: torch.Tensor, labels: torch.Tensor, margin: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        The loss and the share of the crops whose own class is the nearest.

        Args:
            embeddings (`torch.Tensor` of shape `(batch_size, embedding_size)`):
                Of length 1.
            labels (`torch.Tensor` of shape `(batch_size,)`):
                The class of each.
            margin (`float`):
                In radians.
        """
        cosines = embeddings @ nn.functional.normalize(self.weight, dim=-1).T
        own = cosines.gather(1, labels[:, None])
        accuracy = (cosines.argmax(dim=1) == labels).float().mean()
        sines = (1 - own.square()).clamp(min=1e-6).sqrt()
        # beyond the angle from which a margin would go past pi, a line
        harder = torch.where(
            own > -math.cos(margin), own * math.cos(margin) - sines * math.sin(margin), own - margin * math.sin(margin)
        )
        logits = self.scale * cosines.scatter(1, labels[:, None], harder)
        return nn.functional.cross_entropy(logits, labels), accuracy


def imitation_loss(
    embeddings: torch.Tensor, targets: torch.Tensor, labels: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    How far embeddings are from the targets of their voices, and how well they tell them from the targets of the others.

    Args:
        embeddings (`torch.Tensor` of shape `(batch_size, embedding_size)`):
            Of length 1.
        targets (`torch.Tensor` of shape `(num_voices, embedding_size)`):
            Of length 1. An embedding is not compared with other voices whose targets are nearly those of its own.
        labels (`torch.Tensor` of shape `(batch_size,)`):
            The voice of each embedding.
        scale (`float`):
            Factor of the cosines.

    Returns:
        The mean cosine distance to the own targets, and the cross-entropy of the scaled cosines to all targets.
    """
    distance = 1 - (embeddings * targets[labels]).sum(dim=1).mean()
    is_alike = targets @ targets.T > ALIKE_COSINE
    is_alike.fill_diagonal_(False)
    logits = (scale * embeddings @ targets.T).masked_fill(is_alike[labels], -math.inf)
    return distance, nn.functional.cross_entropy(logits, labels)
