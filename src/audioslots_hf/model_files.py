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
The files of a model, checked before any of it is built: their numbers decide about work and memory.

Configurations, feature extractors and models check their files themselves, so that all ways to load them are safe:
[`load_separator`], the pipeline of transformers and the Auto classes, also where the code comes from the repository.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file

from .bounds import MAX_SAMPLING_RATE, MIN_SAMPLING_RATE


CONFIG_NAME = "config.json"
FEATURE_EXTRACTOR_NAME = "preprocessor_config.json"
# A settings file has a few hundred bytes, an index a hundred bytes for each tensor.
MAX_JSON_BYTES = 2**24
MAX_COUNT = 1_000
MAX_SIZE = 2**16
MAX_CHUNK_S = 600
DTYPES = ("float32", "float16", "bfloat16", "float64", "auto")
# of tensors in files
FILE_DTYPES = ("F64", "F32", "F16", "BF16")
# keyword arguments of `from_pretrained` that decide about where its files come from
HUB_ARGUMENTS = ("revision", "token", "cache_dir", "local_files_only", "force_download", "subfolder")
# settings of transformers, and the type that they must have
SETTING_TYPES = {
    "architectures": list,
    "attn_implementation": str,
    "_attn_implementation": str,
    "auto_map": dict,
    "feature_extractor_type": str,
    "id2label": dict,
    "label2id": dict,
    "num_labels": int,
    "processor_class": str,
}
# settings that would change how transformers treats the models, and that none of ours has
FOREIGN_SETTINGS = (
    "quantization_config",
    "attribute_map",
    "sub_configs",
    "base_model_tp_plan",
    "layer_types",
    "rope_parameters",
)
MAX_NAMES = 3


class BrokenModelError(Exception):
    """
    A model whose weights cannot be used; the message says why.

    No `ValueError`: the pipeline of transformers would load the model once more in float32, and then print tracebacks.
    """


def read_json(path: str, name: str) -> dict[str, Any]:
    """A settings file as a dictionary, or a `ValueError` that names it."""
    file = Path(path)
    if file.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f"{name} has {file.stat().st_size:,} bytes: at most {MAX_JSON_BYTES:,} are read.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name} holds a {type(content).__name__} instead of an object with settings.")
    return content


def check_types(settings: dict[str, Any], name: str) -> None:
    """Raise a `ValueError` if a setting of transformers in a settings file has a wrong type, at which transformers itself would fail."""
    for field, kind in SETTING_TYPES.items():
        if not isinstance(settings.get(field), kind | None):
            raise ValueError(f"`{field}` ({settings[field]!r}) in {name} must be of the type {kind.__name__}.")
    # null is no map
    auto_map = settings.get("auto_map", {})
    if auto_map is None or not all(isinstance(code, str | list | tuple) for code in auto_map.values()):
        raise ValueError(f"`auto_map` ({auto_map!r}) in {name} must hold names of classes and where their code is.")


def check_settings(settings: dict[str, Any], name: str, owner: type) -> None:
    """
    Raise a `ValueError` if a value in a settings file is beyond all reason, before any work or allocation by it.

    The types and the relations of other fields are left to the configurations, which check them when they are built.

    Args:
        settings (`dict`):
            The content of the file.
        name (`str`):
            Name of the file, for messages.
        owner (`type`):
            The class of the configuration or feature extractor.
    """
    for field in ("dtype", "torch_dtype"):
        dtype = settings.get(field)
        dtype = str(dtype) if isinstance(dtype, torch.dtype) else dtype
        if dtype is not None and (not isinstance(dtype, str) or dtype.removeprefix("torch.") not in DTYPES):
            raise ValueError(f"`{field}` ({dtype!r}) in {name} must be one of {', '.join(DTYPES)}.")
    foreign = [field for field in FOREIGN_SETTINGS if settings.get(field) is not None]
    foreign += [] if settings.get("return_dict", True) is True else ["return_dict"]
    if foreign:
        raise ValueError(f"{name} sets `{foreign[0]}`, which models of this package do not have.")
    check_types(settings, name)
    if not all(isinstance(item, str) for item in settings.get("architectures") or ()):
        raise ValueError(f"`architectures` ({settings['architectures']!r}) in {name} must hold names of classes.")
    _check_names(settings, owner, name)
    _check_numbers(settings, name)


def _check_numbers(settings: dict[str, Any], name: str) -> None:
    """Raise a `ValueError` if a number is out of its bounds, also in the settings of a part, or a list is too long."""
    for field, value in settings.items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            low, high = _find_bounds(field, settings)
            if not (math.isfinite(number) and low <= number <= high):
                raise ValueError(f"`{field}` ({value}) in {name} must be from {low} to {high}.")
        items = value if isinstance(value, list) else []
        if len(items) > MAX_COUNT:
            raise ValueError(f"`{field}` in {name} has {len(items)} items: at most {MAX_COUNT} are taken.")
        for index, item in enumerate(items):
            if isinstance(item, dict):
                _check_numbers(item, f"`{field}[{index}]` of {name}")


def _check_names(settings: dict[str, Any], owner: type, name: str) -> None:
    """Raise a `ValueError` if a setting would take the place of a method, or of a value that the class computes."""
    for field in settings:
        member = getattr(owner, field, None)
        if callable(member):
            raise ValueError(f"`{field}` in {name} is no setting: it is a method of {owner.__name__}.")
        if isinstance(member, property) and member.fset is None:
            raise ValueError(f"`{field}` in {name} is no setting: {owner.__name__} computes it.")


def _find_bounds(field: str, settings: dict[str, Any]) -> tuple[int, int]:
    """The smallest and the largest value that a field may have."""
    if field == "sampling_rate":
        return MIN_SAMPLING_RATE, MAX_SAMPLING_RATE
    if field == "chunk_length":
        rate = settings.get("sampling_rate")
        return 1, MAX_CHUNK_S * (rate if isinstance(rate, int) else MIN_SAMPLING_RATE * 16)
    return 0, MAX_COUNT if field.startswith("num_") or field.endswith(("_layers", "_depths")) else MAX_SIZE


def check_feature_extractor(feature_extractor: Any, config: PreTrainedConfig) -> None:
    """Raise a `ValueError` if settings of a feature extractor differ from the model's, or their type is wrong."""
    for field in ("sampling_rate", "chunk_length", "n_fft", "hop_length", "compression_exponent"):
        if not hasattr(feature_extractor, field) or not hasattr(config, field):
            continue
        value, expected = getattr(feature_extractor, field), getattr(config, field)
        if type(value) is not type(expected):
            raise ValueError(f"`{field}` ({value!r}) in {FEATURE_EXTRACTOR_NAME} must be like {expected!r}.")
        # some models take shorter chunks than those of their training
        if field != "chunk_length" and value != expected:
            raise ValueError(f"`{field}` is {value} in {FEATURE_EXTRACTOR_NAME} but {expected} in {CONFIG_NAME}.")


def check_weights(
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    checkpoint: str | os.PathLike,
    options: dict[str, Any],
) -> None:
    """
    Compare the tensors in the files of a checkpoint with those of the model, without an allocation of either.

    Args:
        model_class (`type`):
            Class of the model.
        config (`PreTrainedConfig`):
            Its configuration.
        checkpoint (`str` or path):
            A folder, or a repository on the Hub, from which only the files are fetched that loading needs anyway.
        options (`dict`):
            Keyword arguments of `from_pretrained`.

    Raises:
        `OSError`: there is no such checkpoint. `ValueError`: with the fault.
    """
    found = _read_tensors(str(checkpoint), options)
    model = build_skeleton(model_class, config)
    prefix = f"{model.base_model_prefix}."
    expected = model.state_dict()
    # a base model may come from a separation model, and the reverse
    names = {
        name: next((key for key in (name, prefix + name, name.removeprefix(prefix)) if key in found), None)
        for name in expected
    }
    if missing := [name for name, key in names.items() if key is None]:
        saved = f" It was saved as {config.architectures[0]}." if config.architectures else ""
        raise ValueError(
            f"its weights lack {len(missing)} of the {len(expected)} tensors of {model_class.__name__}, which would be random: "
            f"{_shorten(missing)}.{saved} Save the whole model, with its `save_pretrained`; to train them, pass "
            "`output_loading_info=True`, which also returns their names."
        )
    faults = []
    for name, key in names.items():
        dtype, shape = found[key]
        if shape != list(expected[name].shape):
            faults.append(f"{name} has the shape {shape} instead of {list(expected[name].shape)}")
        elif expected[name].is_floating_point() and dtype not in FILE_DTYPES:
            faults.append(f"{name} has the type {dtype} instead of {FILE_DTYPES[1]}")
    if faults:
        raise ValueError(f"its weights do not fit {CONFIG_NAME}: {_shorten(faults)}.")


def build_skeleton(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    """The model of a configuration without any memory for its weights."""
    try:
        with torch.device("meta"):
            return model_class(config)
    except RuntimeError as error:
        # torch counts the values of a tensor in 64 bits
        raise ValueError(f"{CONFIG_NAME} does not describe a model that can be built: {error}") from error


def _read_tensors(checkpoint: str, options: dict[str, Any]) -> dict[str, tuple[str, list[int]]]:
    """The types and shapes of all tensors of a checkpoint, from the headers of its files."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ImportError("Loading a model needs safetensors: pip install safetensors") from error
    tensors = {}
    for path in find_weights(checkpoint, options):
        try:
            with safe_open(path, framework="pt") as file:
                parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, it is no dictionary
                tensors |= {name: (str(part.get_dtype()), list(part.get_shape())) for name, part in parts.items()}
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{Path(path).name} is no complete file of weights: {error}") from error
    return tensors


def find_weights(checkpoint: str, options: dict[str, Any]) -> list[str]:
    """
    The files with weights: one, or those that an index names; those of a repository are downloaded.

    Args:
        checkpoint (`str`):
            A folder, or a repository on the Hub.
        options (`dict`):
            Keyword arguments of `from_pretrained`.

    Raises:
        `ValueError`: there are none, or an index names other files.
    """
    single, index_name = SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME
    if variant := options.get("variant"):
        single, index_name = (
            f"{name.rpartition('.')[0]}.{variant}.{name.rpartition('.')[2]}" for name in (single, index_name)
        )
    options = {name: value for name, value in options.items() if name in HUB_ARGUMENTS and value is not None}
    quietly = options | {"_raise_exceptions_for_missing_entries": False}
    if path := cached_file(checkpoint, single, **quietly):
        return [path]
    index = cached_file(checkpoint, index_name, **quietly)
    if index is None:
        raise ValueError(f"it has no {single}, and no other format of weights is read.")
    parts = read_json(index, index_name).get("weight_map")
    if not isinstance(parts, dict) or not all(isinstance(part, str) for part in parts.values()):
        raise ValueError(f"{index_name} has no `weight_map` from names of tensors to names of files.")
    files = sorted(set(parts.values()))
    for name in files:
        # neither another folder nor, on Windows, another drive
        if not name.endswith(".safetensors") or any(separator in name for separator in "/\\:"):
            raise ValueError(f"{index_name} names {name!r}, which is no file of weights beside it.")
    paths = {name: cached_file(checkpoint, name, **quietly) for name in files}
    if missing := [name for name, path in paths.items() if path is None]:
        raise ValueError(f"{index_name} names {missing[0]!r}, which does not exist.")
    return list(paths.values())


def check_finite(model: PreTrainedModel) -> None:
    """Raise a `ValueError` if weights of a model are NaN or infinite."""
    tensors = {name: tensor for name, tensor in model.state_dict().items() if tensor.device.type != "meta"}
    if broken := [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]:
        raise ValueError(f"{len(broken)} of its tensors hold NaN or infinite values: {_shorten(broken)}.")


def _shorten(names: list[str]) -> str:
    """The first of several names."""
    return ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")


__all__ = [
    "BrokenModelError",
    "CONFIG_NAME",
    "FEATURE_EXTRACTOR_NAME",
    "FILE_DTYPES",
    "FOREIGN_SETTINGS",
    "HUB_ARGUMENTS",
    "SETTING_TYPES",
    "build_skeleton",
    "check_feature_extractor",
    "check_finite",
    "check_settings",
    "check_types",
    "check_weights",
    "find_weights",
    "read_json",
]
