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
"""The list of model families, by `model_type`: all other code finds their classes here."""

import importlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """
    One family, stored as names: its classes are imported on first use, so that listing the families needs no torch.

    Args:
        model_type (`str`):
            Name in configurations, settings and results. The family lives in `configuration_<model_type>.py` and
            `modeling_<model_type>.py`.
        title (`str`):
            Display name.
        prefix (`str`):
            First part of the names of its classes: `<prefix>Config`, `<prefix>ForAudioSeparation`, `<prefix>Model` and
            `<prefix>PreTrainedModel`.
        feature_extraction (`str`):
            Module of its feature extractor, which families may share.
        feature_extractor (`str`):
            Class of its feature extractor.
    """

    model_type: str
    title: str
    prefix: str
    feature_extraction: str
    feature_extractor: str

    @property
    def config_class(self) -> type:
        """Its configuration."""
        return self.load(f"{self.prefix}Config")

    @property
    def model_class(self) -> type:
        """Its model for audio separation."""
        return self.load(f"{self.prefix}ForAudioSeparation")

    @property
    def feature_extractor_class(self) -> type:
        """Its feature extractor."""
        return self.load(self.feature_extractor)

    @property
    def modules(self) -> dict[str, str]:
        """Its public classes, each with the module that holds it."""
        modeling = [f"{self.prefix}{suffix}" for suffix in ("ForAudioSeparation", "Model", "PreTrainedModel")]
        return {
            f"{self.prefix}Config": f"configuration_{self.model_type}",
            **dict.fromkeys(modeling, f"modeling_{self.model_type}"),
            self.feature_extractor: self.feature_extraction,
        }

    def load(self, name: str) -> type:
        """One of its public classes."""
        return getattr(importlib.import_module(f".{self.modules[name]}", __package__), name)


FAMILIES = {
    family.model_type: family
    for family in (
        Family(
            "audioslots", "AudioSlots", "AudioSlots", "feature_extraction_audioslots", "AudioSlotsFeatureExtractor"
        ),
        Family("galr", "GALR", "Galr", "feature_extraction_waveform", "WaveformFeatureExtractor"),
        Family("slot_galr", "SlotGALR", "SlotGalr", "feature_extraction_waveform", "WaveformFeatureExtractor"),
        Family("dprnn", "DPRNN", "Dprnn", "feature_extraction_waveform", "WaveformFeatureExtractor"),
    )
}
# the default family of the settings; an oracle without a model takes its framing and masks
DEFAULT_FAMILY = FAMILIES["audioslots"]


def list_public_classes() -> list[str]:
    """The names of the public classes of all families."""
    return sorted({name for family in FAMILIES.values() for name in family.modules})


def find_public_class(name: str) -> type:
    """
    A public class of a family.

    Raises:
        `AttributeError`: no family has such a class.
    """
    for family in FAMILIES.values():
        if name in family.modules:
            return family.load(name)
    raise AttributeError(f"module {__package__!r} has no attribute {name!r}")


__all__ = ["DEFAULT_FAMILY", "FAMILIES", "Family", "find_public_class", "list_public_classes"]
