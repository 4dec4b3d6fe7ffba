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
"""Native Hugging Face models for blind source separation."""

import sys
from typing import TYPE_CHECKING

from . import families


__version__ = "0.1.0"

__all__ = [
    "AudioSeparationOutput",
    "AudioSeparationPipeline",
    "SeparationCancelled",
    "VoiceEncoderConfig",
    "VoiceEncoderEnsembleConfig",
    "VoiceEncoderEnsembleModel",
    "VoiceEncoderModel",
    "load_separator",
    "load_voice_encoder",
    *families.list_public_classes(),
]


def __getattr__(name: str) -> type:
    """Import the public classes of the families on first use."""
    return families.find_public_class(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# The command imports each module on first use only.
if TYPE_CHECKING or "_audioslots_command" not in sys.modules:
    from . import registration  # noqa: F401
    from .configuration_voice_encoder import VoiceEncoderConfig
    from .configuration_voice_ensemble import VoiceEncoderEnsembleConfig
    from .loading import load_separator
    from .modeling_outputs import AudioSeparationOutput
    from .modeling_voice_encoder import VoiceEncoderModel
    from .modeling_voice_ensemble import VoiceEncoderEnsembleModel
    from .pipeline_audio_separation import AudioSeparationPipeline
    from .progress import SeparationCancelled
    from .voice_encoders import load_voice_encoder
