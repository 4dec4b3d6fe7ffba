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
"""Separators for evaluation: of a model, of the oracle, and of the paper's autoencoder."""

from typing import Any

import torch
from transformers import FeatureExtractionMixin, PreTrainedModel

from audioslots_hf.chunking import Chunk, SeparatedChunks
from audioslots_hf.modeling_outputs import AudioSeparationOutput
from audioslots_hf.separator import Separator
from audioslots_hf.waveforms import root_mean_square


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
