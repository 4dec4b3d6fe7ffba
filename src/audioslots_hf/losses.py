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
"""Permutation-invariant losses: the cost of every pair, an optimal assignment, the cost of the assigned pairs."""

from contextlib import AbstractContextManager, nullcontext

import torch

from .matching import match_estimates, matched_costs, reorder_estimates


# upper limit of the SNR in mixture invariant training (arXiv 2006.12701)
MAX_MIXIT_SNR_DB = 30.0
# the same for matched sources, and the level below the mixture at which a reference counts as silent (arXiv 2011.00803)
MAX_SNR_DB = 30.0
SILENCE_DB = 20.0
# a frame is active down to this level below the loudest frame of its reference, if the mixture is no louder by the other
ACTIVITY_DB, MIXTURE_ACTIVITY_DB = 40.0, 50.0


def pairwise_mse(estimates: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """
    Mean squared error of every estimate to every reference.

    `(batch_size, num_sources, ...)` twice -> `(batch_size, num_sources, num_sources)`, estimates along rows.
    """
    differences = estimates.flatten(2).unsqueeze(2) - references.flatten(2).unsqueeze(1)
    return differences.square().mean(dim=-1)


def pairwise_negative_si_snr(estimates: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """
    Negative zero-mean SI-SNR in dB of every estimate against every reference (Luo and Mesgarani, arXiv 1711.00541).

    `(batch_size, num_sources, num_samples)` twice -> `(batch_size, num_sources, num_sources)`, estimates along rows. In
    float32, for signals near unit level: for a silent reference, the cost decreases with the energy of the estimate.
    """
    estimates = estimates - estimates.mean(dim=-1, keepdim=True)
    references = references - references.mean(dim=-1, keepdim=True)
    eps = 1e-8 * estimates.shape[-1]
    products = estimates @ references.transpose(1, 2)
    reference_energies = references.square().sum(dim=-1).unsqueeze(1)
    estimate_energies = estimates.square().sum(dim=-1).unsqueeze(2)
    # |target|^2 and |estimate - target|^2, where the target is the projection of the estimate on the reference
    signal = products.square() / (reference_energies + eps)
    noise = (estimate_energies - signal).clamp(min=0)
    return -10 * torch.log10((signal + eps) / (noise + eps))


def matched_negative_si_snr(estimates: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """
    Negative SI-SNR in dB for permutation-invariant training: the value for the best order of the references.

    `(batch_size, num_sources, num_samples)` twice -> scalar, in float32. SI-SNR has no meaning for a silent reference, so mixtures
    with one are measured by the thresholded SNR of [`matched_snr`], in which leaks into silence cost as errors do.
    """
    _check_same_shape(estimates, references)
    # half precision would round the products, and their difference is the noise: small errors would look like none
    with without_autocast(estimates.device):
        estimates, references = estimates.float(), references.float()
        costs = pairwise_negative_si_snr(estimates, references)
        has_silence = _find_silent(references).any(dim=1)
        costs = torch.where(has_silence[:, None, None], _pairwise_negative_snr(estimates, references), costs)
    return matched_costs(costs).mean()


def _find_silent(references: torch.Tensor) -> torch.Tensor:
    """Whether each reference lies 20 dB below the mixture: (batch_size, num_sources, num_samples) -> bool (batch_size, num_sources)"""
    energies = references.square().sum(dim=-1)
    mixture_energies = references.sum(dim=1).square().sum(dim=-1, keepdim=True)
    return energies <= 10 ** (-SILENCE_DB / 10) * mixture_energies


def _pairwise_negative_snr(estimates: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """
    Thresholded negative SNR in dB of every estimate against every reference, defined for silent references too.

    `(batch_size, num_sources, num_samples)` twice -> `(batch_size, num_sources, num_sources)`, estimates along rows. The error
    is measured against the energy of the reference, or where that is 20 dB below the mixture, against such an energy: leaks
    into silence cost as errors do. The SNR stops to grow at 30 dB (Wisdom et al. 2021, arXiv 2011.00803).
    """
    energies = references.square().sum(dim=-1)
    mixture_energies = references.sum(dim=1).square().sum(dim=-1, keepdim=True)
    eps = 1e-8 * references.shape[-1]
    energies = torch.maximum(energies, 10 ** (-SILENCE_DB / 10) * mixture_energies).unsqueeze(1) + eps
    # from the differences: of inner products, half precision and float32 would leave no small error
    errors = (estimates.unsqueeze(2) - references.unsqueeze(1)).square().sum(dim=-1)
    return 10 * torch.log10(errors / energies + 10 ** (-MAX_SNR_DB / 10))


def matched_snr(estimates: torch.Tensor, references: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Thresholded negative SNR of the best order of the estimates, and that order.

    `(batch_size, num_sources, num_samples)` twice -> a scalar in float32, and the int64 order `(batch_size, num_sources)` of
    [`~matching.match_estimates`].
    """
    _check_same_shape(estimates, references)
    with without_autocast(estimates.device):
        costs = _pairwise_negative_snr(estimates.float(), references.float())
    orders = match_estimates(costs)
    return costs.gather(1, orders.unsqueeze(1)).mean(), orders


def activity_loss(activity: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """
    Cross-entropy of the activity of each estimate against the frames in which its reference sounds.

    Args:
        activity (`torch.Tensor` of shape `(batch_size, num_sources, num_frames)`):
            Log-odds.
        references (`torch.Tensor` of shape `(batch_size, num_sources, num_samples)`):
            References in the order of the activity; `num_samples` is a multiple of `num_frames`.
    """
    targets = active_frames(references, activity.shape[-1]).to(torch.float32)
    return torch.nn.functional.binary_cross_entropy_with_logits(activity.float(), targets)


def active_frames(references: torch.Tensor, num_frames: int) -> torch.Tensor:
    """(batch_size, num_sources, num_samples) -> bool (batch_size, num_sources, num_frames): whether each reference sounds"""
    powers = references.float().unflatten(-1, (num_frames, -1)).square().mean(dim=-1)
    # a pause of a few frames within a word is none
    smoothed = torch.nn.functional.avg_pool1d(powers, 9, stride=1, padding=4)
    loudest = smoothed.amax(dim=-1, keepdim=True)
    loudest_of_all = loudest.amax(dim=1, keepdim=True)
    floor = torch.maximum(loudest * 10 ** (-ACTIVITY_DB / 10), loudest_of_all * 10 ** (-MIXTURE_ACTIVITY_DB / 10))
    return smoothed > floor + 1e-12


def without_autocast(device: torch.device) -> AbstractContextManager:
    """Disable autocast: computations inside the context are not rounded to half precision."""
    # some devices, such as meta, have no autocast to disable
    is_on = torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)
    return torch.autocast(device.type, enabled=False) if is_on else nullcontext()


def _check_same_shape(estimates: torch.Tensor, references: torch.Tensor) -> None:
    """Raise a `ValueError` unless there is one reference per estimate."""
    if estimates.shape != references.shape:
        raise ValueError(
            f"The references have shape {tuple(references.shape)} but the estimates {tuple(estimates.shape)}: "
            "give one reference per source of the model."
        )


def matched_mse(estimates: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """
    Matched mean squared error of AudioSlots (paper, section 2): Hungarian matching, then the MSE of the matched pairs.

    `(batch_size, num_sources, ...)` twice -> scalar, in float32.
    """
    _check_same_shape(estimates, references)
    costs = pairwise_mse(estimates.float(), references.float())
    return matched_costs(costs).mean()


def speaker_scores(embeddings: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """
    Similarity of the sources of one chunk to those of another, from embeddings, as log-odds.

    `(..., num_sources, embedding_size)` twice -> `(..., num_sources, num_sources)`. The mean over the sources of a chunk,
    which reflects their shared words and noise, is subtracted first: only the differences count.
    """
    centred = [values - values.mean(dim=-2, keepdim=True) for values in (embeddings, others)]
    return centred[0] @ centred[1].transpose(-1, -2) / max(1, embeddings.shape[-1]) ** 0.5


def speaker_contrastive_loss(
    embeddings: torch.Tensor, estimates: torch.Tensor, references: torch.Tensor, recording_ids: torch.Tensor
) -> torch.Tensor:
    """
    Contrastive loss of speaker embeddings: identify each source among those of every other chunk of its recording.

    Cross-entropy (InfoNCE, van den Oord et al., arXiv 1807.03748) of [`speaker_scores`] over all pairs of chunks of one
    recording. The estimates of both chunks are first put into the order of their references. Chunks with two silent references
    have no such order and are ignored.

    Args:
        embeddings (`torch.Tensor` of shape `(batch_size, num_sources, embedding_size)`):
            Embedding of each estimate.
        estimates (`torch.Tensor` of shape `(batch_size, num_sources, ...)`):
            Estimates; the order may differ between chunks.
        references (`torch.Tensor` of shape `(batch_size, num_sources, ...)`):
            True sources, all chunks of a recording in the same order.
        recording_ids (`torch.Tensor` of shape `(batch_size,)`):
            Recording that each chunk belongs to.

    Returns:
        A scalar `torch.Tensor`, in float32; 0 if no two chunks belong to one recording.

    Raises:
        `ValueError`: the number of references differs from that of estimates, or the number of ids from that of chunks.
    """
    _check_same_shape(estimates, references)
    if recording_ids.shape != (len(embeddings),):
        raise ValueError(
            f"`recording_ids` has shape {tuple(recording_ids.shape)} but must have ({len(embeddings)},): one for each chunk."
        )
    costs = pairwise_mse(estimates.detach().float(), references.float())
    embeddings = reorder_estimates(embeddings.float(), match_estimates(costs))
    with without_autocast(embeddings.device):
        # (batch_size, batch_size, num_sources, num_sources)
        scores = speaker_scores(embeddings.unsqueeze(1), embeddings.unsqueeze(0))
    losses = -scores.log_softmax(dim=-1).diagonal(dim1=-2, dim2=-1).mean(dim=-1)
    has_order = (~references.flatten(2).any(dim=-1)).sum(dim=-1) < 2
    together = (recording_ids[:, None] == recording_ids) & has_order[:, None] & has_order
    together = together.fill_diagonal_(False)
    return (losses * together).sum() / together.sum().clamp(min=1)


def mixit_negative_snr(estimates: torch.Tensor, recordings: torch.Tensor) -> torch.Tensor:
    """
    Mixture invariant training (Wisdom et al. 2020, arXiv 2006.12701): needs recordings, but no true sources.

    The input of the model is the sum of the recordings. Every estimate is assigned to one recording, so that the sums of the
    estimates fit the recordings best. The loss is the negative SNR in dB of these sums, averaged over the recordings. As in
    the paper, the SNR is limited to 30 dB, because an unlimited one would grow on the recording that fits already and
    dominate the gradient. Unlike SI-SNR it depends on the scale, so the sums must reproduce the level of the recordings.

    Args:
        estimates (`torch.Tensor` of shape `(batch_size, num_sources, num_samples)`):
            Estimates, in any order, at the scale of the recordings.
        recordings (`torch.Tensor` of shape `(batch_size, num_recordings, num_samples)`):
            Recordings whose sum is the input, near unit level; each may contain several sources, or silence.

    Returns:
        A scalar `torch.Tensor`, in float32.

    Raises:
        `ValueError`: the batch sizes or numbers of samples differ, or there are fewer estimates than recordings.
    """
    _check_mixit_shapes(estimates, recordings)
    estimates, recordings = estimates.float(), recordings.float()
    with without_autocast(estimates.device):
        assignment = _find_mixit_assignment(estimates.detach(), recordings)
        errors = recordings - assignment @ estimates
        return _negative_snr(errors.square().sum(dim=-1), recordings).mean()


def _check_mixit_shapes(estimates: torch.Tensor, recordings: torch.Tensor) -> None:
    """Raise a `ValueError` unless the estimates can be divided among the recordings."""
    fits = estimates.ndim == recordings.ndim == 3 and estimates.shape[::2] == recordings.shape[::2]
    if not fits or estimates.shape[1] < recordings.shape[1]:
        raise ValueError(
            f"The recordings have shape {tuple(recordings.shape)} but the estimates {tuple(estimates.shape)}: give recordings "
            "(batch_size, num_recordings, num_samples) and estimates (batch_size, num_sources, num_samples), with no "
            "more recordings than sources."
        )


def _find_mixit_assignment(estimates: torch.Tensor, recordings: torch.Tensor) -> torch.Tensor:
    """Assignment of the estimates to the recordings, zeros and ones: (batch_size, num_recordings, num_sources)"""
    candidates = all_assignments(recordings.shape[1], estimates)
    # |recording - sum of its estimates|^2 from inner products: only the best sum of waveforms is computed
    inner = (recordings @ estimates.transpose(1, 2)).unsqueeze(1)
    gram = (estimates @ estimates.transpose(1, 2)).unsqueeze(1)
    energies = recordings.square().sum(dim=-1).unsqueeze(1)
    # (batch_size, num_assignments, num_recordings)
    errors = energies - 2 * (candidates * inner).sum(dim=-1) + (candidates @ gram * candidates).sum(dim=-1)
    costs = _negative_snr(errors.clamp(min=0), recordings.unsqueeze(1)).sum(dim=-1)
    return candidates[costs.argmin(dim=-1)]


def all_assignments(num_recordings: int, estimates: torch.Tensor) -> torch.Tensor:
    """Every way to give each estimate to one recording: (num_recordings ** num_sources, num_recordings, num_sources)"""
    num_sources = estimates.shape[1]
    numbers = torch.arange(num_recordings**num_sources, device=estimates.device)[:, None]
    # the digits of a number in base `num_recordings` are the recordings of the estimates
    owners = numbers // num_recordings ** torch.arange(num_sources, device=estimates.device) % num_recordings
    recordings = torch.arange(num_recordings, device=estimates.device)[:, None]
    return (owners.unsqueeze(1) == recordings).to(estimates.dtype)


def _negative_snr(error_energies: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Thresholded negative SNR in dB from the energy of the error: (..., num_references) of (..., num_references, num_samples)"""
    energies = references.square().sum(dim=-1)
    eps = 1e-8 * references.shape[-1]
    return 10 * torch.log10((error_energies + 10 ** (-MAX_MIXIT_SNR_DB / 10) * energies + eps) / (energies + eps))


__all__ = [
    "ACTIVITY_DB",
    "MAX_MIXIT_SNR_DB",
    "MAX_SNR_DB",
    "MIXTURE_ACTIVITY_DB",
    "SILENCE_DB",
    "active_frames",
    "activity_loss",
    "all_assignments",
    "matched_mse",
    "matched_negative_si_snr",
    "matched_snr",
    "mixit_negative_snr",
    "pairwise_mse",
    "pairwise_negative_si_snr",
    "speaker_contrastive_loss",
    "speaker_scores",
    "without_autocast",
]
