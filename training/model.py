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
"""The model of a run: its configuration, weights and feature extractor, built from the settings."""

import contextlib
import dataclasses
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModel, FeatureExtractionMixin, PreTrainedConfig, PreTrainedModel

from audioslots_hf.families import DEFAULT_FAMILY, FAMILIES
from audioslots_hf.loading import explain
from audioslots_hf.model_files import BrokenModelError
from audioslots_hf.shipped import find_checkpoint

from .arguments import TrainingArguments
from .settings import SettingsError, build


def build_config(values: dict[str, Any]) -> PreTrainedConfig:
    """
    Build the configuration of the model: of the family `model_type`, or that of `pretrained` with changes.

    Raises:
        `SettingsError`: an unknown family or checkpoint, or a misspelt field, which transformers would ignore.
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
    """The types of the fields of a family, by name, without the fields that transformers adds to every model."""
    noted = {item.name for item in dataclasses.fields(PreTrainedConfig)}
    return {item.name: item.type for item in dataclasses.fields(config_class) if item.name not in noted}


def load_pretrained_values(name: str | None) -> dict[str, Any]:
    """The `model_type` and the fields of a checkpoint's configuration; empty without a name."""
    if name is None:
        return {}
    try:
        config = AutoConfig.from_pretrained(find_checkpoint(name))
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"`model.pretrained` ({name}) cannot be used: {explain(error, find_checkpoint(name))}"
        ) from error
    own = config.to_diff_dict().keys() & list_fields(type(config)).keys()
    return {"model_type": config.model_type} | {name: getattr(config, name) for name in own}


def build_model(config: PreTrainedConfig, arguments: TrainingArguments) -> PreTrainedModel:
    """
    Build a new model, or one with the weights of `pretrained`, for the settings and the machine.

    New parts from the `growable_fields` of the family do not change the estimates of `pretrained` until they are trained.

    Raises:
        `SettingsError`: the shapes of the weights of `pretrained` differ from those of the configuration.
    """
    name = arguments.model.get("pretrained")
    if name is None:
        model = AutoModel.from_config(config)
    else:
        checkpoint = find_checkpoint(name)
        try:
            # training uses float32 weights, also for a checkpoint in half precision
            model, found = AutoModel.from_pretrained(
                checkpoint, config=config, dtype=torch.float32, output_loading_info=True
            )
        except BrokenModelError as error:
            raise SettingsError(f"`model.pretrained`: {error}") from error
        except RuntimeError as error:
            raise SettingsError(
                f"The weights of `model.pretrained` ({name}) do not fit: change no sizes under `model`. {error}"
            ) from error
        added = model.start_new_parts(AutoConfig.from_pretrained(checkpoint))
        # weights that are missing according to the folder's own configuration are damage, not new parts
        if unlike := sorted({*found["missing_keys"]} ^ added | {*found["unexpected_keys"]}):
            growable = " or ".join(f"`{field}`" for field in model.growable_fields) or "nothing"
            raise SettingsError(
                f"The weights of `model.pretrained` ({name}) do not fit, for example {unlike[0]}: change no sizes under `model`; "
                f"for {config.model_type}, only {growable} may grow."
            )
    if arguments.gradient_checkpointing:
        # transformers 5.17 has only the old name
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable()
    if arguments.mixed_precision == "bf16" and not torch.accelerator.is_available():
        # on a CPU, the backward pass of PyTorch's own attention is about ten times slower in bfloat16 than in float32
        model.set_attn_implementation("eager")
    return model


def build_feature_extractor(config: PreTrainedConfig, pretrained: str | None = None) -> FeatureExtractionMixin:
    """The feature extractor that fits a model's configuration, with the masks of a checkpoint."""
    extractor_class = FAMILIES[config.model_type].feature_extractor_class
    feature_extractor = extractor_class.from_config(config)
    if pretrained is not None and extractor_class.inherited_fields:
        # a folder of weights alone uses the defaults
        with contextlib.suppress(OSError):
            before = extractor_class.from_pretrained(find_checkpoint(pretrained))
            for field in extractor_class.inherited_fields:
                setattr(feature_extractor, field, getattr(before, field))
    return feature_extractor
