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
"""Registers all families, the voice encoders and the pipeline with transformers."""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoProcessor
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_voice_encoder import VoiceEncoderConfig
from .configuration_voice_ensemble import VoiceEncoderEnsembleConfig
from .families import FAMILIES, Family
from .modeling_voice_encoder import VoiceEncoderModel
from .modeling_voice_ensemble import VoiceEncoderEnsembleModel
from .pipeline_audio_separation import AudioSeparationPipeline
from .shipped import CHECKPOINTS_DIR, DEFAULT_CHECKPOINT


def register_family(family: Family) -> None:
    """Register a family with the Auto classes."""
    config_class, feature_extractor_class = family.config_class, family.feature_extractor_class
    AutoConfig.register(family.model_type, config_class)
    AutoModel.register(config_class, family.model_class)
    AutoFeatureExtractor.register(config_class, feature_extractor_class)
    # without it, AutoProcessor looks for an image processor first, and asks whether to trust the code of the folder
    AutoProcessor.register(config_class, feature_extractor_class)
    # every `save_pretrained` copies the code, so that a Hub repository also loads without this package
    config_class.register_for_auto_class()
    family.model_class.register_for_auto_class("AutoModel")
    feature_extractor_class.register_for_auto_class("AutoFeatureExtractor")


def _register_voice_encoders() -> None:
    """Register the voice encoders, which are not separation models, with the Auto classes."""
    for config_class, model_class in (
        (VoiceEncoderConfig, VoiceEncoderModel),
        (VoiceEncoderEnsembleConfig, VoiceEncoderEnsembleModel),
    ):
        AutoConfig.register(config_class.model_type, config_class)
        AutoModel.register(config_class, model_class)
        config_class.register_for_auto_class()
        model_class.register_for_auto_class("AutoModel")


def register() -> None:
    """Register the families and the voice encoders with the Auto classes, and the pipeline as `"audio-to-audio"`."""
    for family in FAMILIES.values():
        register_family(family)
    _register_voice_encoders()
    PIPELINE_REGISTRY.register_pipeline(
        "audio-to-audio",
        pipeline_class=AudioSeparationPipeline,
        pt_model=AutoModel,
        default={"model": (str(CHECKPOINTS_DIR / DEFAULT_CHECKPOINT), "main")},
        type="audio",
    )


register()


__all__ = ["register", "register_family"]
