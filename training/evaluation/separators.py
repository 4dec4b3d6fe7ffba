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
"""Separators for evaluation: for a model, for the oracle, and for the paper's autoencoder."""

from typing import Any

import torch
from transformers import FeatureExtractionMixin, PreTrainedModel

from audioslots_hf.chunking import Chunk, SeparatedChunks
from audioslots_hf.modeling_outputs import AudioSeparationOutput
from audioslots_hf.separator import Separator
from audioslots_hf.waveforms import root_mean_square


class ReferenceSeparator(Separator):
    """
    A separator with access to the references of every mixture, which masks the mixture by estimates of the references.

    A subclass estimates the references of chunks, in the domain of the feature extractor.
    """

    def estimate_references(self, labels: torch.Tensor, references: list[torch.Tensor]) -> torch.Tensor:
        """
        The estimates from which the masks are computed.

        Args:
            labels (`torch.Tensor` of shape `(num_chunks, num_sources, num_bins, num_frames)`):
                The references in the domain of the model, from the feature extractor.
            references (`list` of `torch.Tensor` of shape `(num_sources, num_samples)`):
                Their waveforms, for each chunk.
        """
        raise NotImplementedError

    @torch.inference_mode()
    def separate_chunks(self, chunks: list[Chunk]) -> SeparatedChunks:
        """Mask every mixture by the estimates of its references."""
        mixtures = [row for chunk in chunks for row in chunk.samples]
        references = [sources for chunk in chunks for sources in chunk.references]
        features = self.feature_extractor(mixtures, sampling_rate=self.sampling_rate, labels=references)
        outputs = AudioSeparationOutput(estimates=self.estimate_references(features["labels"], references))
        estimates = self.feature_extractor.post_process_audio_separation(outputs, features, **self.post_process_kwargs)
        return SeparatedChunks(estimates)


class OracleSeparator(ReferenceSeparator):
    """A separator that uses the true magnitudes: the upper limit of a model with these masks and this framing."""

    def __init__(self, feature_extractor: FeatureExtractionMixin, **kwargs):
        super().__init__(None, feature_extractor, **kwargs)

    @property
    def device(self) -> torch.device:
        """The CPU, because there is no model."""
        return torch.device("cpu")

    def estimate_references(self, labels: torch.Tensor, references: list[torch.Tensor]) -> torch.Tensor:
        """The magnitudes of the references."""
        return labels


class AutoencoderSeparator(ReferenceSeparator):
    """
    The separator of the paper's autoencoder row: each true source passes through the bottleneck alone, then masks follow.

    It measures the loss in the bottleneck.
    """

    def estimate_references(self, labels: torch.Tensor, references: list[torch.Tensor]) -> torch.Tensor:
        """Estimates of the one-slot model for the magnitudes of the references."""
        rows = [reference for sources in references for reference in sources]
        num_sources = len(references[0])
        features = self.feature_extractor(rows, sampling_rate=self.sampling_rate).to(self.device)
        estimates = self.model(**features).estimates.cpu().unflatten(0, (-1, num_sources)).squeeze(2)
        # the input of the network was each source at unit level
        waveforms = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        levels = root_mean_square(waveforms, torch.tensor([len(row) for row in rows]))
        # estimates for silence have no defined level: they would mask the other voice in a mixture of the longest length
        levels = (levels * waveforms.any(dim=-1)).unflatten(0, (-1, num_sources))
        return self.feature_extractor.restore_levels(estimates, levels)


def build_separator(
    model: PreTrainedModel | None, feature_extractor: FeatureExtractionMixin, **kwargs: Any
) -> Separator:
    """The separator for a model: the oracle without a model, and the paper's autoencoder row for an autoencoder."""
    if model is None:
        return OracleSeparator(feature_extractor, **kwargs)
    separator_class = AutoencoderSeparator if model.config.is_autoencoder else Separator
    return separator_class(model, feature_extractor, **kwargs)
