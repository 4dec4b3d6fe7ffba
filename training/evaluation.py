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
"""Scores of a separator on a list of mixtures."""

from collections.abc import Iterable, Iterator

import torch
from transformers import BatchFeature, FeatureExtractionMixin, PreTrainedModel

from audioslots_hf.chunking import (
    SeparateChunks,
    chunk_separator,
    default_hop_length,
    iter_chunks,
    separate_waveforms,
)
from audioslots_hf.metrics import si_snr_improvement
from audioslots_hf.modeling_outputs import AudioSeparationOutput
from audioslots_hf.waveforms import root_mean_square

from .data import Mixture


PROTOCOLS = ("practical", "paper")


def oracle_separator(
    references: torch.Tensor, feature_extractor: FeatureExtractionMixin, hop_length: int, **post_process_kwargs
) -> SeparateChunks:
    """
    A separator that knows the true magnitudes: what a perfect model would reach with the same masks and framing.

    Args:
        references (`torch.Tensor` of shape `(num_sources, num_samples)`):
            True sources of the one recording it will be given, from its start.
    """
    chunks = iter_chunks([references], feature_extractor.chunk_length, hop_length)

    def separate_chunks(mixtures: list[torch.Tensor]) -> torch.Tensor:
        labels = [next(chunks)[0] for _ in mixtures]
        features: BatchFeature = feature_extractor(
            mixtures, sampling_rate=feature_extractor.sampling_rate, labels=labels
        )
        outputs = AudioSeparationOutput(estimates=features["labels"])
        return feature_extractor.post_process_audio_separation(outputs, features, **post_process_kwargs)

    return separate_chunks


def autoencoder_separator(
    references: torch.Tensor,
    model: PreTrainedModel,
    feature_extractor: FeatureExtractionMixin,
    hop_length: int,
    **post_process_kwargs,
) -> SeparateChunks:
    """
    The separator of the paper's autoencoder row: every true source through the bottleneck alone, then masks.

    Like [`oracle_separator`], with what the one-slot model makes of the true magnitudes in their place: it tells what the
    bottleneck alone costs.
    """
    chunks = iter_chunks([references], feature_extractor.chunk_length, hop_length)
    num_sources = len(references)

    @torch.inference_mode()
    def separate_chunks(mixtures: list[torch.Tensor]) -> torch.Tensor:
        rows = [reference for _ in mixtures for reference in next(chunks)[0]]
        sampling_rate = feature_extractor.sampling_rate
        features = feature_extractor(rows, sampling_rate=sampling_rate).to(model.device)
        estimates = model(**features).estimates.cpu().unflatten(0, (-1, num_sources)).squeeze(2)
        # the network saw each source at unit level
        waveforms = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        levels = root_mean_square(waveforms, torch.tensor([len(row) for row in rows])).unflatten(0, (-1, num_sources))
        estimates = estimates * levels[..., None, None] ** feature_extractor.compression_exponent
        features = feature_extractor(mixtures, sampling_rate=sampling_rate)
        outputs = AudioSeparationOutput(estimates=estimates)
        return feature_extractor.post_process_audio_separation(outputs, features, **post_process_kwargs)

    return separate_chunks


def evaluate_mixture(
    mixture: Mixture, separate_chunks: SeparateChunks, chunk_length: int, hop_length: int, protocol: str
) -> dict[str, float | str]:
    """Mean SI-SNR and SI-SNRi in dB over the sources of one mixture."""
    references = mixture.references[None] if protocol == "paper" else None
    estimates = separate_waveforms(
        mixture.waveform[None], separate_chunks, chunk_length, hop_length, references=references
    )
    ratios, improvements = si_snr_improvement(estimates, mixture.references[None], mixture.waveform[None])
    return {
        "mixture_id": mixture.mixture_id,
        "si_snr": ratios.mean().item(),
        "si_snri": improvements.mean().item(),
    }


def evaluate_mixtures(
    mixtures: Iterable[Mixture],
    model: PreTrainedModel | None,
    feature_extractor: FeatureExtractionMixin,
    protocol: str = "practical",
    **post_process_kwargs,
) -> Iterator[dict[str, float | str]]:
    """
    Score a model on mixtures, one result each; with `model=None` score the oracle. A model of one source is scored as the
    paper's autoencoder.

    `"practical"` overlaps the chunks and follows the sources without references, as the pipeline does.
    `"paper"` takes disjoint chunks and orders the sources of each by the references (AudioSlots, section 3).
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"`protocol` is {protocol!r}: it must be one of {', '.join(PROTOCOLS)}.")
    chunk_length = feature_extractor.chunk_length
    hop_length = chunk_length
    if protocol == "practical":
        hop_length = default_hop_length(chunk_length, feature_extractor.sampling_rate)
    for mixture in mixtures:
        if model is None:
            separate_chunks = oracle_separator(
                mixture.references, feature_extractor, hop_length, **post_process_kwargs
            )
        elif model.config.num_sources == 1:
            separate_chunks = autoencoder_separator(
                mixture.references, model, feature_extractor, hop_length, **post_process_kwargs
            )
        else:
            separate_chunks = chunk_separator(model, feature_extractor, **post_process_kwargs)
        yield evaluate_mixture(mixture, separate_chunks, chunk_length, hop_length, protocol)


def summarize(results: Iterable[dict[str, float | str]]) -> dict[str, float]:
    """Means over the mixtures."""
    results = list(results)
    return {
        "num_mixtures": len(results),
        **{key: sum(result[key] for result in results) / len(results) for key in ("si_snr", "si_snri")},
    }
