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
"""DPRNN model configuration."""

from huggingface_hub.dataclasses import strict
from transformers.utils import auto_docstring

from .configuration_dual_path import DUAL_PATH_ARGS, DualPathConfig


@auto_docstring(checkpoint="audioslots/dprnn", custom_args=DUAL_PATH_ARGS)
@strict
class DprnnConfig(DualPathConfig):
    model_type = "dprnn"


__all__ = ["DprnnConfig"]
