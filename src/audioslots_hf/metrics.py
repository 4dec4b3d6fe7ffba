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
"""Scale-invariant signal-to-noise ratio and its improvement over the mixture."""

import torch

from .losses import find_permutation


def si_snr(estimates: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """
    Zero-mean scale-invariant signal-to-noise ratio in dB, (..., num_samples) twice -> (...).

    SI-SNR = 10 log10(|a r|^2 / |a r - e|^2) with a = <e, r> / |r|^2 (Luo and Mesgarani 2018, arXiv 1711.00541).
    Computed in float64 and limited to about +-150 dB, so that silence gives a number.
    """
    estimates, references = estimates.double(), references.double()
    estimates = estimates - estimates.mean(dim=-1, keepdim=True)
    references = references - references.mean(dim=-1, keepdim=True)
    eps = 1e-15
    reference_energy = references.square().sum(dim=-1, keepdim=True)
    scale = (estimates * references).sum(dim=-1, keepdim=True) / reference_energy.clamp(min=1e-300)
    targets = scale * references
    signal = targets.square().sum(dim=-1)
    noise = (targets - estimates).square().sum(dim=-1)
    floor = eps * (signal + noise) + 1e-300
    return 10 * torch.log10((signal + floor) / (noise + floor))


def best_permutation(estimates: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """
    The order of the references with the highest mean SI-SNR: estimate i goes with reference `permutation[i]`.

    `(batch_size, num_sources, num_samples)` twice -> int64 `(batch_size, num_sources)`.
    """
    return find_permutation(-si_snr(estimates.unsqueeze(2), references.unsqueeze(1)))


def order_estimates(estimates: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """The estimates in the order of the references, `(batch_size, num_sources, num_samples)` twice -> same."""
    order = best_permutation(estimates, references).argsort(dim=-1)
    return estimates.gather(1, order.unsqueeze(-1).expand_as(estimates))


def si_snr_improvement(
    estimates: torch.Tensor, references: torch.Tensor, mixtures: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    SI-SNR and SI-SNRi in dB of every source, after the best permutation of the utterance.

    Args:
        estimates (`torch.Tensor` of shape `(batch_size, num_sources, num_samples)`):
            Estimates, in any order.
        references (`torch.Tensor` of shape `(batch_size, num_sources, num_samples)`):
            True sources.
        mixtures (`torch.Tensor` of shape `(batch_size, num_samples)`):
            What the improvement is measured against.

    Returns:
        Two `torch.Tensor` of shape `(batch_size, num_sources)`, in the order of the references.
    """
    ratios = si_snr(order_estimates(estimates, references), references)
    return ratios, ratios - si_snr(mixtures.unsqueeze(1), references)
