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
"""Masks: the shares of the mixture that the magnitudes of the sources give."""

import torch


def wiener_masks(magnitudes: torch.Tensor, exponent: float = 1.0) -> torch.Tensor:
    """
    Shares m_i ** exponent / sum_j m_j ** exponent, (..., num_sources, num_bins, num_frames) -> same, in float32.

    Where all magnitudes are 0, the sources share the cell equally. The paper does not state the exponent: 1 divides
    magnitudes, 2 powers. Negative magnitudes count as 0.
    """
    magnitudes = magnitudes.float().clamp(min=0)
    num_sources = magnitudes.shape[-3]
    loudest = magnitudes.amax(dim=-3, keepdim=True)
    # relative to the loudest source, powers neither underflow nor overflow at any level
    shares = (magnitudes / torch.where(loudest > 0, loudest, 1.0)) ** exponent
    masks = shares / shares.sum(dim=-3, keepdim=True).clamp(min=1)
    return torch.where(loudest > 0, masks, 1 / num_sources)


def binary_masks(magnitudes: torch.Tensor) -> torch.Tensor:
    """
    1 where a source is the largest, else 0, (..., num_sources, num_bins, num_frames) -> same, in float32.

    Where all magnitudes are 0, the sources share the cell equally.
    """
    magnitudes = magnitudes.float().clamp(min=0)
    num_sources = magnitudes.shape[-3]
    loudest, indices = magnitudes.max(dim=-3, keepdim=True)
    masks = torch.zeros_like(magnitudes).scatter_(-3, indices, 1.0)
    return torch.where(loudest > 0, masks, 1 / num_sources)


def apply_masks(masks: torch.Tensor, mixture_spectrograms: torch.Tensor) -> torch.Tensor:
    """
    Multiplies the mixture by each mask.

    Args:
        masks (`torch.Tensor` of shape `(..., num_sources, num_bins, num_frames)`):
            Masks of the network's bins and frames. The Nyquist bin and the last frame take the masks of their neighbours:
            a zero bin would limit white noise to 32 dB, and a zero frame would leave the end of a chunk to one window's edge.
        mixture_spectrograms (complex `torch.Tensor` of shape `(..., num_bins + 1, num_frames + 1)`):
            STFT of the mixture, with the Nyquist bin and the last frame.

    Returns:
        Complex `torch.Tensor` of shape `(..., num_sources, num_bins + 1, num_frames + 1)`.
    """
    masks = torch.cat([masks, masks[..., -1:, :]], dim=-2)
    masks = torch.cat([masks, masks[..., -1:]], dim=-1)
    return masks * mixture_spectrograms.unsqueeze(-3)


__all__ = ["apply_masks", "binary_masks", "wiener_masks"]
