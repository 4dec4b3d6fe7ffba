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
"""Figure 2 of the AudioSlots paper: the spectrograms of a mixture, its references and the estimates of models."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from audioslots_hf import load_separator
from audioslots_hf.files import replacing
from audioslots_hf.metrics import order_estimates, si_snr_improvement
from audioslots_hf.pipeline_audio_separation import AudioSeparationPipeline
from audioslots_hf.plots import plot_separation

from ..arguments import MixtureArguments
from ..data.mixtures import Mixture, load_mixtures
from ..evaluation.protocols import separate_mixtures


@dataclass
class Separated:
    """Estimates of one mixture in the order of its references, `(num_sources, num_samples)`, and their SI-SNRi in dB."""

    estimates: torch.Tensor
    improvements: list[float]


def separate(mixture: Mixture, pipeline: AudioSeparationPipeline) -> Separated:
    """Separate one mixture with a model; only the final order uses the references."""
    ((_, estimates),) = separate_mixtures([mixture], pipeline.model, pipeline.feature_extractor)
    references = mixture.references[None]
    _, improvements = si_snr_improvement(estimates[None], references, mixture.waveform[None])
    return Separated(order_estimates(estimates[None], references)[0], improvements[0].tolist())


def draw_separation(path: Path, mixture: Mixture, separators: dict[str, AudioSeparationPipeline]) -> None:
    """Draw the paper's Figure 2: the mixture, its references, and the estimates of each model."""
    tracks = {f"mixture {mixture.mixture_id}": mixture.waveform.numpy()}
    for number, reference in enumerate(mixture.references, start=1):
        tracks[f"reference {number}"] = reference.numpy()
    for name, pipeline in separators.items():
        separated = separate(mixture, pipeline)
        for number, improvement in enumerate(separated.improvements, start=1):
            title = f"{name}, source {number}: SI-SNRi {improvement:.1f} dB"
            tracks[title] = separated.estimates[number - 1].numpy()
    rate = next(iter(separators.values())).model.config.sampling_rate
    with replacing(path) as temporary:
        plot_separation(temporary, tracks, rate)


def load_figure_2(options: argparse.Namespace) -> tuple[Mixture, dict[str, AudioSeparationPipeline]]:
    """
    The first mixture of the list, and the models that separate it.

    Raises:
        `ValueError`: a model or a file cannot be loaded, or the models do not fit together.
    """
    separators = {}
    if options.autoencoder is not None:
        separators["autoencoder"] = load_separator(options.autoencoder, device="cpu")
        check_autoencoder(options.autoencoder, separators["autoencoder"].model)
    separators[Path(options.model).name] = pipeline = load_separator(options.model, device="cpu")
    rates = {separator.model.config.sampling_rate for separator in separators.values()}
    if len(rates) > 1:
        raise ValueError(f"--model and --autoencoder work at different sampling rates: {sorted(rates)} Hz.")
    listed = MixtureArguments(metadata=str(options.metadata), root=str(options.root))
    config = pipeline.model.config
    num_sources = None if config.is_autoencoder else config.num_sources
    mixtures = load_mixtures(listed, rates.pop(), num_sources, 1, show_progress=False)
    return mixtures[0], separators


def check_autoencoder(name: str, model: PreTrainedModel) -> None:
    """Raise a `ValueError` unless the model is an autoencoder."""
    if not model.config.is_autoencoder:
        raise ValueError(
            f"--autoencoder {name} separates {model.config.num_sources} sources: it must be an autoencoder."
        )
