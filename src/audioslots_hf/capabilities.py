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
Capabilities of a family, declared on its classes: no code outside a family depends on its type.

The attributes and methods here are defaults; a family overrides those in which it differs.
"""

import dataclasses
import functools
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

from .model_files import CONFIG_NAME, FEATURE_EXTRACTOR_NAME, check_settings


class ConfigCapabilities:
    """
    Capabilities that follow from the configuration alone. A family also has `sampling_rate`, `chunk_length`, `num_sources`.

    It stands before `PreTrainedConfig` among the bases, because it also validates assignments.
    """

    # the domain of the estimates, and of labels: "waveform", or "compressed_magnitude" of an STFT
    estimates_domain = "waveform"
    # whether the model reconstructs a single source: its evaluation then takes the input from the references
    is_autoencoder = False
    # size of the embeddings that tell the speakers of a recording apart, 0 for a family without
    speaker_embedding_size = 0
    # whether the slots of a chunk start those of the next one, so that the order of the estimates is the model's own
    sequential_slots = False
    # weight of the loss of the activity of each estimate, 0 for a family without
    activity_loss_weight = 0.0

    def __setattr__(self, name: str, value: Any) -> None:
        name = self.attribute_map.get(name, name)
        # the first assignment is that of the constructor, which validates all fields together
        is_first = name not in self.__dict__
        before = self.__dict__.get(name)
        super().__setattr__(name, value)
        if is_first or name not in _list_own_fields(type(self)):
            return
        try:
            self.validate()
        except Exception:
            super().__setattr__(name, before)
            raise

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """
        Build a configuration from the values of a file and `kwargs`, which are validated together.

        Raises:
            `ValueError`: a value of the file is beyond all reason.
        """
        check_settings(config_dict, CONFIG_NAME, cls)
        own = _list_own_fields(cls)
        names = {name: cls.attribute_map.get(name, name) for name in kwargs}
        config_dict = dict(config_dict)
        config_dict |= {names[name]: kwargs.pop(name) for name in [*kwargs] if names[name] in own}
        if not cls.__module__.startswith("transformers_modules."):
            # the installed package has the pipeline: the code in the repository is needed by others only
            config_dict.pop("custom_pipelines", None)
        return super().from_dict(config_dict, **kwargs)

    @property
    def input_length_step(self) -> int | None:
        """Inputs may have any multiple of this number of samples; `None` if every input has the length of a chunk."""
        return None

    @property
    def min_input_length(self) -> int | None:
        """The smallest number of samples that an exported model takes; `None` if every input has the length of a chunk."""
        return None


class ModelCapabilities:
    """Capabilities of a model."""

    # the configuration fields that may exceed those of the checkpoint that a model is fine-tuned from
    growable_fields: tuple[str, ...] = ()
    # the model without its masks or decoder, which it holds as `model`
    model_class: type[PreTrainedModel]

    def start_new_parts(self, before: PreTrainedConfig) -> set[str]:
        """
        Initialize the parts that a checkpoint lacks, so that the model separates as well as the checkpoint before training.

        Args:
            before (`PreTrainedConfig`):
                Configuration of the checkpoint.

        Returns:
            The names of all parameters that are absent from the checkpoint because of the `growable_fields`.
        """
        return set()


class FeatureExtractorCapabilities:
    """
    Capabilities of a feature extractor.

    It stands before `FeatureExtractionMixin` among the bases, because it also checks files.
    """

    # keyword arguments of `post_process_audio_separation` for each evaluated kind of masks, the paper's first. A family
    # that estimates waveforms has neither masks nor an oracle, because its estimates could equal the references
    mask_kinds: dict[str, dict[str, str | float]] = {}
    # settings of the feature extractor that the model configuration lacks: a fine-tuned model keeps those of its checkpoint
    inherited_fields: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, feature_extractor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """
        Build a feature extractor from the values of a file and `kwargs`.

        Raises:
            `ValueError`: a value of the file is beyond all reason.
        """
        check_settings(feature_extractor_dict, FEATURE_EXTRACTOR_NAME, cls)
        return super().from_dict(feature_extractor_dict, **kwargs)

    @property
    def default_masks(self) -> dict[str, str | float]:
        """Default keyword arguments of `post_process_audio_separation`, if it applies masks."""
        return {}

    def describe_framing(self) -> dict[str, dict[str, int]]:
        """Sizes that the scores of an oracle depend on, besides the chunk length."""
        return {}


@functools.cache
def _list_own_fields(config_class: type) -> frozenset[str]:
    """The names of the fields of a family, without those that transformers adds to every configuration."""
    inherited = {field.name for field in dataclasses.fields(PreTrainedConfig)}
    return frozenset(field.name for field in dataclasses.fields(config_class) if field.name not in inherited)


__all__ = ["ConfigCapabilities", "FeatureExtractorCapabilities", "ModelCapabilities"]
