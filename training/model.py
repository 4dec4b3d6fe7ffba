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
"""The model of a run: from the settings to its configuration, its weights and its feature extractor."""

import contextlib
import dataclasses
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModel, FeatureExtractionMixin, PreTrainedConfig, PreTrainedModel

from audioslots_hf.families import DEFAULT_FAMILY, FAMILIES
from audioslots_hf.loading import find_checkpoint, list_checkpoints

from .arguments import TrainingArguments
from .settings import SettingsError, build


def build_config(values: dict[str, Any]) -> PreTrainedConfig:
    """
    The configuration of the model to train: of the family that `model_type` names, or that of `pretrained` with changes.

    Raises:
        `SettingsError`: an unknown family or checkpoint, or a misspelt field, which transformers would swallow.
    """
    values = dict(values)
    inherited = load_pretrained_values(values.pop("pretrained", None))
    model_type = inherited.pop("model_type", None) or values.get("model_type", DEFAULT_FAMILY.model_type)
    if values.pop("model_type", model_type) != model_type:
        raise SettingsError(f"`model.model_type` differs from that of `model.pretrained`, {model_type}: leave it out.")
    if model_type not in FAMILIES:
        raise SettingsError(f"`model.model_type` ({model_type!r}) must be one of {', '.join(FAMILIES)}.")
    config_class = FAMILIES[model_type].config_class
    values = {config_class.attribute_map.get(name, name): value for name, value in values.items()}
    types = list_fields(config_class)
    if unknown := sorted(values.keys() - types.keys()):
        raise SettingsError(f"Unknown key `model.{unknown[0]}`: {config_class.__name__} has no such field.")
    values = {
        name: build(float, value, f"model.{name}") if types[name] is float else value for name, value in values.items()
    }
    try:
        return config_class(**(inherited | values))
    except StrictDataclassError as error:
        raise SettingsError(f"The model cannot be built: {error}") from error


def list_fields(config_class: type[PreTrainedConfig]) -> dict[str, Any]:
    """The types of what describes a model of a family, by name; not what transformers notes down about any model."""
    noted = {item.name for item in dataclasses.fields(PreTrainedConfig)}
    return {item.name: item.type for item in dataclasses.fields(config_class) if item.name not in noted}


def load_pretrained_values(name: str | None) -> dict[str, Any]:
    """The `model_type` and the fields of a checkpoint's configuration; none without a name."""
    if name is None:
        return {}
    try:
        config = AutoConfig.from_pretrained(find_checkpoint(name))
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"`model.pretrained` ({name}) is none of the shipped checkpoints ({', '.join(list_checkpoints())}), no folder "
            f"with a model, and the Hub gave none: {str(error).strip().splitlines()[0]}"
        ) from error
    own = config.to_diff_dict().keys() & list_fields(type(config)).keys()
    return {"model_type": config.model_type} | {name: getattr(config, name) for name in own}


def build_model(config: PreTrainedConfig, arguments: TrainingArguments) -> PreTrainedModel:
    """
    A fresh model, or one with the weights of `pretrained`, that computes as the settings and the machine ask for.

    Parts that `pretrained` lacks, added by the `growable_fields` of its family, leave its estimates as they are until they are
    trained.

    Raises:
        `SettingsError`: the weights of `pretrained` are of other shapes than the configuration asks for.
    """
    name = arguments.model.get("pretrained")
    if name is None:
        model = AutoModel.from_config(config)
    else:
        checkpoint = find_checkpoint(name)
        try:
            # training keeps float32 weights, also of a checkpoint in half precision
            model, found = AutoModel.from_pretrained(
                checkpoint, config=config, dtype=torch.float32, output_loading_info=True
            )
        except RuntimeError as error:
            raise SettingsError(
                f"The weights of `model.pretrained` ({name}) do not fit: change no sizes under `model`. {error}"
            ) from error
        added = model.start_new_parts(AutoConfig.from_pretrained(checkpoint))
        # weights that a folder lacks by its own configuration are damage, and no new part
        if unlike := sorted({*found["missing_keys"]} ^ added | {*found["unexpected_keys"]}):
            growable = " or ".join(f"`{field}`" for field in model.growable_fields) or "nothing"
            raise SettingsError(
                f"The weights of `model.pretrained` ({name}) do not fit, {unlike[0]} for one: change no sizes under `model`; "
                f"of a model of {config.model_type}, only {growable} may grow."
            )
    if arguments.gradient_checkpointing:
        # transformers 5.17 knows only the old name
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable()
    if arguments.mixed_precision == "bf16" and not torch.accelerator.is_available():
        # on a CPU, the backward pass of PyTorch's own attention takes some ten times as long in bfloat16 as in float32
        model.set_attn_implementation("eager")
    return model


def build_feature_extractor(config: PreTrainedConfig, pretrained: str | None = None) -> FeatureExtractionMixin:
    """The feature extractor that fits a model's configuration, with the masks of a checkpoint."""
    extractor_class = FAMILIES[config.model_type].feature_extractor_class
    feature_extractor = extractor_class.from_config(config)
    if pretrained is not None and extractor_class.inherited_fields:
        # a folder of weights alone has the defaults
        with contextlib.suppress(OSError):
            before = extractor_class.from_pretrained(find_checkpoint(pretrained))
            for field in extractor_class.inherited_fields:
                setattr(feature_extractor, field, getattr(before, field))
    return feature_extractor
