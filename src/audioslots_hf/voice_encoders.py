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
"""From a name to a ready voice encoder."""

from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig, PreTrainedModel

from .bars import hiding_bars
from .model_files import CONFIG_NAME, check_finite, check_settings, check_weights
from .modeling_voice_encoder import VoiceEncoderModel
from .modeling_voice_ensemble import VoiceEncoderEnsembleModel


DEFAULT_VOICE_ENCODER = "voice-encoder-base"
# beside the checkpoints that separate
VOICES_DIR = Path(__file__).parent / "voices"
MODEL_CLASSES = {model.config_class.model_type: model for model in (VoiceEncoderModel, VoiceEncoderEnsembleModel)}


def list_voice_encoders() -> list[str]:
    """Names of the voice encoders that ship with the package."""
    return sorted(path.parent.name for path in VOICES_DIR.glob("*/config.json"))


def load_voice_encoder(
    model: str | Path | None = None, **model_kwargs
) -> VoiceEncoderModel | VoiceEncoderEnsembleModel:
    """
    Load a model that tells voices apart, in evaluation mode: a single encoder or an ensemble, by the `model_type` of its file.

    Args:
        model (`str` or `Path`, *optional*):
            Name of a shipped voice encoder, a folder, or a repository on the Hub. Defaults to the shipped one, which needs no
            network.
        model_kwargs:
            Passed to [`~transformers.PreTrainedModel.from_pretrained`], for instance `dtype` or `revision`.

    Raises:
        `OSError`: there is no such voice encoder. `ValueError`: its files cannot be used.
    """
    name = DEFAULT_VOICE_ENCODER if model is None else str(model)
    is_shipped = not isinstance(model, Path) and name in list_voice_encoders()
    checkpoint = VOICES_DIR / name if is_shipped else name
    settings, _ = PreTrainedConfig.get_config_dict(checkpoint, **model_kwargs)
    if not settings:
        raise OSError(f"{name} holds no {CONFIG_NAME}: it is no voice encoder.")
    try:
        model_class = _find_class(settings.get("model_type"))
        check_settings(settings, CONFIG_NAME, model_class.config_class)
        check_weights(model_class, model_class.config_class.from_dict(settings), checkpoint, model_kwargs)
        # downloads are over, and had their bars
        with hiding_bars():
            encoder = model_class.from_pretrained(checkpoint, **model_kwargs)
        check_finite(encoder)
    except (StrictDataclassError, ValueError) as error:
        # in one line, of which a check of transformers has two
        reason = " ".join(str(error).split())
        raise ValueError(f"The voice encoder {name!r} cannot be loaded: {reason}") from error
    return encoder.eval()


def _find_class(model_type: object) -> type[PreTrainedModel]:
    """The class of a voice encoder, or a `ValueError` if a type is that of another model."""
    if not isinstance(model_type, str) or model_type not in MODEL_CLASSES:
        raise ValueError(
            f"its `model_type` is {model_type!r}, which is no voice encoder of this package: {', '.join(MODEL_CLASSES)}."
        )
    return MODEL_CLASSES[model_type]


def load_voice_encoder_beside(model: PreTrainedModel) -> VoiceEncoderModel | VoiceEncoderEnsembleModel | None:
    """
    Load the voice encoder that a published model has in its own repository.

    Args:
        model ([`~transformers.PreTrainedModel`]):
            A model that was loaded from a folder or from the Hub.

    Returns:
        `None` where the package has its own, or the repository has none.
    """
    if list_voice_encoders() or not model.name_or_path:
        return None
    try:
        return load_voice_encoder(
            model.name_or_path,
            subfolder=f"{VOICES_DIR.name}/{DEFAULT_VOICE_ENCODER}",
            revision=getattr(model.config, "_commit_hash", None),
        )
    except OSError:
        return None


__all__ = [
    "DEFAULT_VOICE_ENCODER",
    "MODEL_CLASSES",
    "VOICES_DIR",
    "list_voice_encoders",
    "load_voice_encoder",
    "load_voice_encoder_beside",
]
