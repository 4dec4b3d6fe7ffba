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
from typing import Any

import torch
from transformers import FeatureExtractionMixin, PreTrainedModel

from audioslots_hf.chunking import Chunk, SeparatedChunks
from audioslots_hf.metrics import si_snr_improvement
from audioslots_hf.modeling_outputs import AudioSeparationOutput
from audioslots_hf.separator import Separator
from audioslots_hf.waveforms import root_mean_square

from .data.mixtures import Mixture
from .stopwatch import Stopwatch


PROTOCOLS = ("practical", "paper")


class ReferenceSeparator(Separator):
    """
    A separator that is given the references of every mixture, and shows how well masks of some estimates of them separate.

    A subclass estimates the references of chunks, in the domain of the feature extractor.
    """

    def estimate_references(self, labels: torch.Tensor, references: list[torch.Tensor]) -> torch.Tensor:
        """
        The estimates that the masks are made of.

        Args:
            labels (`torch.Tensor` of shape `(num_chunks, num_sources, num_bins, num_frames)`):
                The references as the feature extractor gives them to a model.
            references (`list` of `torch.Tensor` of shape `(num_sources, num_samples)`):
                Their waveforms, of each chunk.
        """
        raise NotImplementedError

    @torch.inference_mode()
    def separate_chunks(self, chunks: list[Chunk]) -> SeparatedChunks:
        """Mask every mixture with what is estimated of its references."""
        mixtures = [row for chunk in chunks for row in chunk.samples]
        references = [sources for chunk in chunks for sources in chunk.references]
        features = self.feature_extractor(mixtures, sampling_rate=self.sampling_rate, labels=references)
        outputs = AudioSeparationOutput(estimates=self.estimate_references(features["labels"], references))
        estimates = self.feature_extractor.post_process_audio_separation(outputs, features, **self.post_process_kwargs)
        return SeparatedChunks(estimates)


class OracleSeparator(ReferenceSeparator):
    """A separator that knows the true magnitudes: what a perfect model would reach with these masks and this framing."""

    def __init__(self, feature_extractor: FeatureExtractionMixin, **kwargs):
        super().__init__(None, feature_extractor, **kwargs)

    @property
    def device(self) -> torch.device:
        """Without a model all is computed on the CPU."""
        return torch.device("cpu")

    def estimate_references(self, labels: torch.Tensor, references: list[torch.Tensor]) -> torch.Tensor:
        """The magnitudes of the references."""
        return labels


class AutoencoderSeparator(ReferenceSeparator):
    """
    The separator of the paper's autoencoder row: every true source through the bottleneck alone, then masks.

    It tells what the bottleneck alone costs.
    """

    def estimate_references(self, labels: torch.Tensor, references: list[torch.Tensor]) -> torch.Tensor:
        """What the one-slot model makes of the magnitudes of the references."""
        rows = [reference for sources in references for reference in sources]
        num_sources = len(references[0])
        features = self.feature_extractor(rows, sampling_rate=self.sampling_rate).to(self.device)
        estimates = self.model(**features).estimates.cpu().unflatten(0, (-1, num_sources)).squeeze(2)
        # the network saw each source at unit level
        waveforms = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        levels = root_mean_square(waveforms, torch.tensor([len(row) for row in rows]))
        # what it makes of silence has no level: in a mixture as long as its longest voice, it would drown the other
        levels = (levels * waveforms.any(dim=-1)).unflatten(0, (-1, num_sources))
        return self.feature_extractor.restore_levels(estimates, levels)


def build_separator(
    model: PreTrainedModel | None, feature_extractor: FeatureExtractionMixin, **kwargs: Any
) -> Separator:
    """The separator of a model; without a model the oracle, and of an autoencoder the paper's row for it."""
    if model is None:
        return OracleSeparator(feature_extractor, **kwargs)
    separator_class = AutoencoderSeparator if model.config.is_autoencoder else Separator
    return separator_class(model, feature_extractor, **kwargs)


def separate_mixtures(
    mixtures: Iterable[Mixture],
    model: PreTrainedModel | None,
    feature_extractor: FeatureExtractionMixin,
    protocol: str = "practical",
    stopwatch: Stopwatch | None = None,
    **post_process_kwargs,
) -> Iterator[tuple[Mixture, torch.Tensor]]:
    """
    Separate mixtures, whose chunks go through the model together, as [`evaluate_mixtures`] does.

    Yields:
        `tuple` of each mixture and its estimates, `(num_sources, num_samples)`, in any order of the sources.

    Raises:
        `ValueError`: no such protocol.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"`protocol` is {protocol!r}: it must be one of {', '.join(PROTOCOLS)}.")
    kwargs = {"post_process_kwargs": post_process_kwargs}
    if protocol == "paper":
        kwargs |= {"chunk_hop_length": feature_extractor.chunk_length, "order_by_references": True}
    separator = build_separator(model, feature_extractor, **kwargs)
    if stopwatch is not None:
        separator.separate_chunks = stopwatch.measure("model")(separator.separate_chunks)
    yield from join_mixtures(mixtures, separator)


def join_mixtures(mixtures: Iterable[Mixture], separator: Separator) -> Iterator[tuple[Mixture, torch.Tensor]]:
    """Each mixture with its estimates, `(num_sources, num_samples)`."""
    chunks = (
        chunk
        for mixture in mixtures
        for chunk in separator.cut([mixture.waveform[None]], mixture.references[None], recording=mixture)
    )
    parts = []
    for part, chunk in separator.stream_chunks(chunks):
        parts.append(part[0])
        if chunk.is_last:
            yield chunk.recording, torch.cat(parts, dim=-1)
            parts = []


def score_estimates(mixture: Mixture, estimates: torch.Tensor) -> dict[str, float | str]:
    """SI-SNR of the mixture, SI-SNR and SI-SNRi in dB: their means over the sources, then those of each source."""
    ratios, improvements = si_snr_improvement(estimates[None], mixture.references[None], mixture.waveform[None])
    scores = {"input_si_snr": ratios - improvements, "si_snr": ratios, "si_snri": improvements}
    return {
        "mixture_id": mixture.mixture_id,
        **{key: values.mean().item() for key, values in scores.items()},
        **{
            f"source_{number}_{key}": values[0, number - 1].item()
            for number in range(1, 1 + len(mixture.references))
            for key, values in scores.items()
        },
    }


def evaluate_mixtures(
    mixtures: Iterable[Mixture],
    model: PreTrainedModel | None,
    feature_extractor: FeatureExtractionMixin,
    protocol: str = "practical",
    stopwatch: Stopwatch | None = None,
    **post_process_kwargs,
) -> Iterator[dict[str, float | str]]:
    """
    Score a model on mixtures, one result each; with `model=None` score the oracle. An autoencoder is scored on the references.

    `"practical"` overlaps the chunks and follows the sources without references, as the pipeline does.
    `"paper"` takes disjoint chunks and orders the sources of each by the references (AudioSlots, section 3).
    """
    for mixture, estimates in separate_mixtures(
        mixtures, model, feature_extractor, protocol, stopwatch, **post_process_kwargs
    ):
        yield score_estimates(mixture, estimates)


def summarize(results: Iterable[dict[str, float | str]]) -> dict[str, float]:
    """Means over the mixtures."""
    results = list(results)
    return {
        "num_mixtures": len(results),
        **{key: sum(result[key] for result in results) / len(results) for key in ("si_snr", "si_snri")},
    }
