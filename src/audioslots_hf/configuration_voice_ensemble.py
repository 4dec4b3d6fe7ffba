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
"""Configuration of an ensemble of voice encoders."""

import dataclasses
from typing import Any

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig
from transformers.utils import auto_docstring

from .configuration_voice_encoder import VoiceEncoderConfig


MAX_ENCODERS = 16
VOICE_ENSEMBLE_ARGS = r"""
encoders (`list[dict]`, *optional*, defaults to two encoders with default settings):
    Settings of each encoder: a dictionary of fields of [`VoiceEncoderConfig`], of which the missing ones have their defaults, or a
    [`VoiceEncoderConfig`]. All encoders must have one `sampling_rate` and one `hop_length`, so that the same frame weights fit all of them.
"""
_INHERITED = {field.name for field in dataclasses.fields(PreTrainedConfig)}
_DEFAULTS = {
    field.name: field.default for field in dataclasses.fields(VoiceEncoderConfig) if field.name not in _INHERITED
}


def _complete(encoder: Any) -> Any:
    """All settings of an encoder as they are written to a file; a value of another type comes back unchanged"""
    if isinstance(encoder, VoiceEncoderConfig):
        return {name: getattr(encoder, name) for name in _DEFAULTS}
    return _DEFAULTS | encoder if isinstance(encoder, dict) else encoder


@auto_docstring(checkpoint="audioslots/voice-encoder", custom_args=VOICE_ENSEMBLE_ARGS)
@strict
class VoiceEncoderEnsembleConfig(PreTrainedConfig):
    model_type = "audioslots_voice_encoder_ensemble"

    encoders: list | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        encoders = [{}, {}] if self.encoders is None else self.encoders
        self.encoders = [_complete(encoder) for encoder in encoders]
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Part of `@strict`-powered validation: checks each encoder, and the encoders against each other."""
        if not 1 <= len(self.encoders) <= MAX_ENCODERS:
            raise ValueError(f"`encoders` has {len(self.encoders)} items: an ensemble has 1 to {MAX_ENCODERS}.")
        configs: list[VoiceEncoderConfig] = []
        for index, encoder in enumerate(self.encoders):
            if not isinstance(encoder, dict):
                raise ValueError(f"`encoders[{index}]` ({encoder!r}) must be a dictionary of settings of an encoder.")
            if unknown := sorted(str(name) for name in encoder if name not in _DEFAULTS):
                raise ValueError(
                    f"`encoders[{index}]` has `{unknown[0]}`, which is no setting of an encoder: {', '.join(_DEFAULTS)}."
                )
            try:
                configs.append(VoiceEncoderConfig(**encoder))
            except StrictDataclassError as error:
                raise ValueError(f"`encoders[{index}]`: {' '.join(str(error).split())}") from error
            for name in ("sampling_rate", "hop_length"):
                first, value = getattr(configs[0], name), getattr(configs[index], name)
                if value != first:
                    raise ValueError(
                        f"`{name}` is {first} in `encoders[0]` but {value} in `encoders[{index}]`: "
                        "one set of frame weights must fit all encoders."
                    )

    @property
    def encoder_configs(self) -> list[VoiceEncoderConfig]:
        """The configuration of each encoder."""
        return [VoiceEncoderConfig(**encoder) for encoder in self.encoders]

    @property
    def sampling_rate(self) -> int:
        """Sampling rate of the speech, in hertz."""
        return self.encoder_configs[0].sampling_rate

    @property
    def frame_length(self) -> int:
        """Number of samples from one frame weight to the next."""
        return self.encoder_configs[0].frame_length

    @property
    def embedding_size(self) -> int:
        """Width of the embedding, which joins those of all encoders."""
        return sum(encoder.embedding_size for encoder in self.encoder_configs)

    def num_frames(self, num_samples: int) -> int:
        """Number of frames, and of their weights, of a waveform."""
        return self.encoder_configs[0].num_frames(num_samples)


__all__ = ["VoiceEncoderEnsembleConfig"]
