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
A flow that refines the estimates of a separator (flow matching, arXiv 2210.02747; for separation FLOSS, arXiv 2505.16119).

The flow leads from the estimates, to which a little noise is added, to the sources. Velocities of all sources sum to zero, so that the
sources add up to the mixture at every step, and no source has a number: the network is equivariant to their order. It has the
layers of SlotGALR, in which each source is a slot.
"""

import torch
from torch import nn

from audioslots_hf import SlotGalrConfig
from audioslots_hf.losses import pairwise_mse
from audioslots_hf.matching import match_estimates, reorder_estimates
from audioslots_hf.modeling_slot_galr import (
    SlotGalrDecoder,
    SlotGalrEncoder,
    SlotGalrLayer,
    SlotGalrPreTrainedModel,
)
from audioslots_hf.stft import inverse_real_stft, real_stft


# standard deviation of the noise that is added to each estimate, relative to that of the mixture
NOISE = 0.01
# of the crops, the share that trains the first step, the only one of a flow of one step
FIRST_STEP_SHARE = 0.5


class Refiner(SlotGalrPreTrainedModel):
    """The velocity of each source, from the sources on their way, the mixture and the time, which goes from 0 to 1."""

    def __init__(self, config: SlotGalrConfig):
        super().__init__(config)
        self.source_encoder = SlotGalrEncoder(config)
        self.mixture_encoder = SlotGalrEncoder(config)
        self.time_proj = nn.Linear(2 * config.num_fourier_frequencies, config.map_hidden_size)
        self.layers = nn.ModuleList([SlotGalrLayer(config) for _ in range(config.num_source_layers)])
        self.source_decoder = SlotGalrDecoder(config)
        self.mixture_decoder = SlotGalrDecoder(config)
        self.post_init()
        # an untrained flow leaves the estimates as they are
        for decoder in (self.source_decoder, self.mixture_decoder):
            for projection in decoder.bands:
                nn.init.zeros_(projection.weight)

    def forward(self, sources: torch.Tensor, mixtures: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """
        Args:
            sources (`torch.Tensor` of shape `(batch_size, num_sources, num_samples)`):
                Sources that add up to the mixtures; `num_samples` is a multiple of `hop_length`.
            mixtures (`torch.Tensor` of shape `(batch_size, num_samples)`):
                Mixtures at unit level.
            times (`torch.Tensor` of shape `(batch_size,)`):
                From 0 to 1.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_sources, num_samples)`, whose sum over the sources is zero.
        """
        num_fft, hop_length = self.config.n_fft, self.config.hop_length
        # (batch_size, num_sources, 2, num_bins, num_frames)
        spectra = real_stft(sources.flatten(0, 1), num_fft, hop_length).unflatten(0, sources.shape[:2])
        mixture_spectra = real_stft(mixtures, num_fft, hop_length).unsqueeze(1)
        encoded = self.source_encoder(spectra.flatten(0, 1)).view(
            *sources.shape[:2], spectra.shape[-1], -1, self.config.map_hidden_size
        )
        angles = (
            torch.pi * times[:, None] * torch.arange(1, self.config.num_fourier_frequencies + 1, device=times.device)
        )
        clock = self.time_proj(torch.cat([angles.sin(), angles.cos()], dim=-1))
        hidden_states = encoded + self.mixture_encoder(mixture_spectra.squeeze(1)) + clock[:, None, None, None]
        for layer in self.layers:
            hidden_states = layer(hidden_states)
        velocities = multiply(self.source_decoder(hidden_states), spectra) + multiply(
            self.mixture_decoder(hidden_states), mixture_spectra
        )
        waveforms = inverse_real_stft(velocities, num_fft, hop_length)
        return zero_sum(waveforms)


def multiply(masks: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
    """The complex product of two tensors with real and imaginary parts in the third dimension."""
    (real, imaginary), (other_real, other_imaginary) = masks.unbind(dim=2), spectra.unbind(dim=2)
    products = (real * other_real - imaginary * other_imaginary, real * other_imaginary + imaginary * other_real)
    return torch.stack(products, dim=2)


def zero_sum(sources: torch.Tensor) -> torch.Tensor:
    """Subtract the mean over the sources: (batch_size, num_sources, num_samples) -> same"""
    return sources - sources.mean(dim=1, keepdim=True)


def add_noise(estimates: torch.Tensor) -> torch.Tensor:
    """The start of the flow: estimates of mixtures at unit level with noise that does not change their sum."""
    return estimates + NOISE * zero_sum(torch.randn_like(estimates))


def flow_loss(refiner: Refiner, estimates: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """
    The error of the velocity at a random point of each flow, in dB of the distance between its ends: 0 for an untrained flow.

    As in FLOSS, the order of the sources is chosen once, at the start of the flow.

    Args:
        refiner ([`Refiner`]):
            The network.
        estimates (`torch.Tensor` of shape `(batch_size, num_sources, num_samples)`):
            Estimates of a separator that add up to the mixtures, at unit level.
        references (`torch.Tensor` of shape `(batch_size, num_sources, num_samples)`):
            The sources of the same mixtures.

    Returns:
        A scalar `torch.Tensor`, the mean over the batch.
    """
    padding = (0, -references.shape[-1] % refiner.config.hop_length)
    estimates, references = nn.functional.pad(estimates, padding), nn.functional.pad(references, padding)
    mixtures = references.sum(dim=1)
    starts = add_noise(reorder_estimates(estimates, match_estimates(pairwise_mse(estimates, references))))
    draws = torch.rand(len(estimates), 2, device=estimates.device)
    times = torch.where(draws[:, 0] < FIRST_STEP_SHARE, 0.0, draws[:, 1])
    targets = references - starts
    points = starts + times[:, None, None] * targets
    errors = (refiner(points, mixtures, times) - targets).square().sum(dim=(1, 2))
    distances = targets.square().sum(dim=(1, 2))
    return 10 * torch.log10((errors + 1e-8) / (distances + 1e-8)).mean()


@torch.inference_mode()
def refine(refiner: Refiner, estimates: torch.Tensor, mixtures: torch.Tensor, num_steps: int) -> torch.Tensor:
    """
    Follow the flow from the estimates by Euler's method.

    Args:
        refiner ([`Refiner`]):
            The network.
        estimates (`torch.Tensor` of shape `(batch_size, num_sources, num_samples)`):
            Estimates that add up to the mixtures, of any level and length.
        mixtures (`torch.Tensor` of shape `(batch_size, num_samples)`):
            The mixtures.
        num_steps (`int`):
            Number of passes through the network.

    Returns:
        `torch.Tensor` of shape `(batch_size, num_sources, num_samples)`: the sources, which add up to the mixtures.
    """
    levels = mixtures.square().mean(dim=-1).sqrt().clamp(min=1e-8)[:, None, None]
    padding = (0, -mixtures.shape[-1] % refiner.config.hop_length)
    inputs = nn.functional.pad(mixtures / levels[:, 0], padding)
    sources = add_noise(nn.functional.pad(estimates / levels, padding))
    for step in range(num_steps):
        times = torch.full((len(sources),), step / num_steps, device=sources.device)
        sources = sources + refiner(sources, inputs, times) / num_steps
    return sources[..., : mixtures.shape[-1]] * levels
