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
"""Registration of all families and of the pipeline with transformers."""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_audioslots import AudioSlotsConfig
from .configuration_dprnn import DprnnConfig
from .configuration_galr import GalrConfig
from .feature_extraction_audioslots import AudioSlotsFeatureExtractor
from .feature_extraction_waveform import WaveformFeatureExtractor
from .modeling_audioslots import AudioSlotsForAudioSeparation
from .modeling_dprnn import DprnnForAudioSeparation
from .modeling_galr import GalrForAudioSeparation
from .pipeline_audio_separation import AudioSeparationPipeline


# by `model_type`: configuration, model, feature extractor
FAMILIES = {
    "audioslots": (AudioSlotsConfig, AudioSlotsForAudioSeparation, AudioSlotsFeatureExtractor),
    "galr": (GalrConfig, GalrForAudioSeparation, WaveformFeatureExtractor),
    "dprnn": (DprnnConfig, DprnnForAudioSeparation, WaveformFeatureExtractor),
}


def register() -> None:
    """Let the Auto classes and `pipeline("audio-to-audio")` find the families."""
    for model_type, (config_class, model_class, feature_extractor_class) in FAMILIES.items():
        AutoConfig.register(model_type, config_class)
        AutoModel.register(config_class, model_class)
        AutoFeatureExtractor.register(config_class, feature_extractor_class)
        # every `save_pretrained` carries its code, so that a Hub repository also loads where this package is not installed
        config_class.register_for_auto_class()
        model_class.register_for_auto_class("AutoModel")
        feature_extractor_class.register_for_auto_class("AutoFeatureExtractor")
    PIPELINE_REGISTRY.register_pipeline(
        "audio-to-audio", pipeline_class=AudioSeparationPipeline, pt_model=AutoModel, type="audio"
    )


register()
