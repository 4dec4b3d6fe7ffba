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
"""Signal-to-noise and signal-to-distortion ratios, and their improvement over the mixture."""

import torch

from .matching import match_estimates, reorder_estimates


MIN_SI_SNR_DB = -150.0
# larger SDRs are rounding noise
MAX_SDR_DB = 120.0


def si_snr(estimates: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """
    Zero-mean scale-invariant signal-to-noise ratio in dB, (..., num_samples) twice -> (...).

    SI-SNR = 10 log10(|a r|^2 / |a r - e|^2) with a = <e, r> / |r|^2 (Luo and Mesgarani 2018, arXiv 1711.00541).
    Computed in float64 and limited to about +-150 dB. A silent estimate gets the lower limit: the 0 dB of 0 / 0 would exceed
    the value of many mixtures. For a silent reference every estimate has 0 dB or less.
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
    ratios = 10 * torch.log10((signal + floor) / (noise + floor))
    is_silent = (signal + noise == 0) & (reference_energy.squeeze(-1) > 0)
    return torch.where(is_silent, MIN_SI_SNR_DB, ratios)


def sdr(estimates: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """
    Signal-to-distortion ratio of BSS eval in dB, (..., num_samples) twice -> (...).

    The reference may pass through any filter of 512 taps first (Vincent et al. 2006, "Performance measurement in blind audio
    source separation"). torchmetrics computes it in float64. 1e-12 of the energy of the reference is added to the diagonal
    of the normal equations. A reference of few frequencies is then not singular, and a perfect estimate gets about 120 dB.
    Silence is limited to -120 dB.

    Raises:
        `ImportError`: torchmetrics is not installed.
    """
    try:
        from torchmetrics.functional.audio import signal_distortion_ratio
    except ImportError as error:
        raise ImportError('SDR needs torchmetrics: pip install "audioslots-hf[metrics]"') from error
    filter_length = 512
    # circular correlations shorter than two filters would overlap themselves
    missing = max(0, filter_length - references.shape[-1])
    estimates, references = (
        torch.nn.functional.pad(_normalize_peak(signals.double()), (0, missing)) for signals in (estimates, references)
    )
    ratios = signal_distortion_ratio(
        estimates, references, filter_length=filter_length, load_diag=10 ** (-MAX_SDR_DB / 10)
    )
    # an estimate that shares nothing with the reference gives the logarithm of 0, or of a negative rounding error
    return ratios.nan_to_num(nan=-MAX_SDR_DB).clamp(-MAX_SDR_DB, MAX_SDR_DB)


def _normalize_peak(signals: torch.Tensor) -> torch.Tensor:
    """Float64 (..., num_samples) -> the same with a peak of 1; silence is unchanged."""
    return signals / signals.abs().amax(dim=-1, keepdim=True).clamp(min=1e-300)


def best_order(estimates: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """
    The order of the estimates with the highest mean SI-SNR: reference j goes with estimate `order[j]`.

    `(batch_size, num_sources, num_samples)` twice -> int64 `(batch_size, num_sources)`.
    """
    # pair by pair, to hold only one pair in memory
    costs = [
        torch.stack([-si_snr(estimate, reference) for reference in references.unbind(dim=1)], dim=-1)
        for estimate in estimates.unbind(dim=1)
    ]
    return match_estimates(torch.stack(costs, dim=1))


def order_estimates(estimates: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """The estimates in the order of the references, `(batch_size, num_sources, num_samples)` twice -> same."""
    return reorder_estimates(estimates, best_order(estimates, references))


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
            Baseline of the improvement.

    Returns:
        Two `torch.Tensor` of shape `(batch_size, num_sources)`, in the order of the references.
    """
    ratios = si_snr(order_estimates(estimates, references), references)
    return ratios, ratios - si_snr(mixtures.unsqueeze(1), references)


def score_separation(
    estimates: torch.Tensor,
    references: torch.Tensor,
    mixtures: torch.Tensor | None = None,
    with_sdr: bool = True,
) -> dict[str, torch.Tensor]:
    """
    Every score of every source, after the best permutation by SI-SNR.

    Args:
        estimates (`torch.Tensor` of shape `(batch_size, num_sources, num_samples)`):
            Estimates, in any order.
        references (`torch.Tensor` of shape `(batch_size, num_sources, num_samples)`):
            True sources.
        mixtures (`torch.Tensor` of shape `(batch_size, num_samples)`, *optional*):
            Baseline of the improvements, which are left out without it.
        with_sdr (`bool`, *optional*, defaults to `True`):
            Whether to compute SDR as well, which takes most of the time and needs torchmetrics.

    Returns:
        `dict` of `torch.Tensor` of shape `(batch_size, num_sources)`: `order` as from [`best_order`], and in the order
        of the references, in dB, `si_snr`, with mixtures `si_snri`, and the same of `sdr`.
    """
    order = best_order(estimates, references)
    estimates = reorder_estimates(estimates, order)
    scores = {"order": order}
    metrics = {"si_snr": si_snr, "sdr": sdr} if with_sdr else {"si_snr": si_snr}
    for name, metric in metrics.items():
        scores[name] = metric(estimates, references)
        if mixtures is not None:
            scores[f"{name}i"] = scores[name] - metric(mixtures.unsqueeze(1).expand_as(references), references)
    return scores


__all__ = [
    "MAX_SDR_DB",
    "MIN_SI_SNR_DB",
    "best_order",
    "order_estimates",
    "score_separation",
    "sdr",
    "si_snr",
    "si_snr_improvement",
]
