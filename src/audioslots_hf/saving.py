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
"""Saving a model with all that opens it, and loading it with all of its weights."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from transformers import PreTrainedConfig
from transformers.dynamic_module_utils import custom_object_save

from .capabilities import ModelCapabilities
from .model_files import BrokenModelError, check_finite, check_weights


TAGS = ("source-separation", "speech-separation")
CARD = """---
library_name: transformers
---

# {architecture}

A model that separates a recording into one track per source.

```python
from transformers import pipeline

separator = pipeline("audio-to-audio", model="path/or/repository", trust_remote_code=True)
sources = separator("meeting.wav")
```

Describe here what the model was trained on, what it scores, and what it is not for.
"""


class SelfContainedModel:
    """
    The part of every family's `PreTrainedModel` that saves and loads. It stands before `PreTrainedModel` among the bases.

    A saved separation model holds the code of the pipeline and its entry in the configuration, so that a repository opens
    as a pipeline where only transformers is installed. A base model holds neither.
    """

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """Save the model as [`~transformers.PreTrainedModel.save_pretrained`] does, with the code that opens the folder."""
        if type(self)._auto_class is None:
            type(self).register_for_auto_class("AutoModel")
        with self._naming_pipeline():
            super().save_pretrained(save_directory, *args, **kwargs)
        card = Path(save_directory) / "README.md"
        if isinstance(self, ModelCapabilities) and card.parent.is_dir() and not card.exists():
            card.write_text(CARD.format(architecture=type(self).__name__), encoding="utf-8")
            complete_card(card.parent, self.config.model_type)

    def save_without_weights(self, save_directory: str | os.PathLike) -> None:
        """Save the code and the configuration, to which another program adds the weights."""
        with self._naming_pipeline():
            custom_object_save(self, save_directory, config=self.config)
            self.config.save_pretrained(save_directory)

    @contextmanager
    def _naming_pipeline(self) -> Iterator[None]:
        """The entry of the pipeline in the configuration of a separation model, as long as it is saved."""
        # that of a pipeline that was saved before; base models share the configuration
        self.config.__dict__.pop("custom_pipelines", None)
        if isinstance(self, ModelCapabilities):
            self.config.custom_pipelines = _describe_pipeline()
        try:
            yield
        finally:
            self.config.__dict__.pop("custom_pipelines", None)

    def _upload_modified_files(self, working_dir: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
        # transformers writes a card without a task into the folder that it uploads
        if isinstance(self, ModelCapabilities):
            complete_card(working_dir, self.config.model_type)
        return super()._upload_modified_files(working_dir, *args, **kwargs)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike | None,
        *model_args: Any,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Any:
        """
        Load a model as [`~transformers.PreTrainedModel.from_pretrained`] does. `AutoModel` gives a base model for the folder of one.

        Its files are checked before anything is allocated, and its weights afterwards.

        Raises:
            [`BrokenModelError`]: the checkpoint lacks weights, which would stay random, and `output_loading_info` is not set; or its
            files or weights cannot be used.
        """
        name = pretrained_model_name_or_path
        architectures = getattr(kwargs.get("config"), "architectures", None) or []
        # only the Auto classes pass this
        is_auto = "adapter_kwargs" in kwargs and issubclass(cls, ModelCapabilities)
        if is_auto and architectures == [cls.model_class.__name__]:
            return cls.model_class.from_pretrained(
                name, *model_args, output_loading_info=output_loading_info, **kwargs
            )
        # weights that are given, or that may be missing or others, are those of a training
        is_whole = name is not None and not (output_loading_info or kwargs.get("ignore_mismatched_sizes"))
        try:
            if is_whole and kwargs.get("state_dict") is None:
                check_weights(cls, _read_config(cls, name, kwargs), name, kwargs)
            model, info = super().from_pretrained(name, *model_args, output_loading_info=True, **kwargs)
            check_finite(model)
        except ValueError as error:
            raise BrokenModelError(f"The model {str(name)!r} cannot be loaded: {error}") from error
        return (model, info) if output_loading_info else model


def _read_config(model_class: type, name: str | os.PathLike, kwargs: dict[str, Any]) -> PreTrainedConfig:
    """The configuration that `from_pretrained` would use with these keyword arguments."""
    config = kwargs.get("config")
    if isinstance(config, PreTrainedConfig):
        return config
    return model_class.config_class.from_pretrained(name if config is None else config, **kwargs)


def complete_card(folder: str | os.PathLike, model_type: str) -> None:
    """Add the task, the library and the tags that a model card lacks, by which the Hub finds a model and shows how to use it."""
    path = Path(folder) / "README.md"
    card = ModelCard.load(path) if path.is_file() else ModelCard(CARD.format(architecture=model_type))
    card.data.library_name = card.data.library_name or "transformers"
    card.data.pipeline_tag = card.data.pipeline_tag or "audio-to-audio"
    tags = card.data.tags or []
    card.data.tags = [*tags, *(tag for tag in (*TAGS, model_type.replace("_", "-")) if tag not in tags)]
    card.save(path)


def _describe_pipeline() -> dict[str, dict[str, Any]]:
    """The entry of a configuration that names the class of the pipeline: transformers loads it from the same repository."""
    # Here, because the pipeline imports what a model does not need. This line also makes transformers copy its files.
    from .pipeline_audio_separation import AudioSeparationPipeline

    module = AudioSeparationPipeline.__module__.rpartition(".")[2]
    impl = f"{module}.{AudioSeparationPipeline.__name__}"
    return {"audio-to-audio": {"impl": impl, "pt": ["AutoModel"], "type": "audio"}}


__all__ = ["SelfContainedModel", "complete_card"]
