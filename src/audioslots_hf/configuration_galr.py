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
"""GALR model configuration."""

from huggingface_hub.dataclasses import strict
from transformers.utils import auto_docstring
from transformers.utils.type_validators import interval, positive_int_field

from .configuration_dual_path import DUAL_PATH_ARGS, DualPathConfig


GALR_ARGS = r"""
summary_length (`int`, *optional*, defaults to 32):
    Number of frames that a segment is summarized by for the attention across segments: Q.
dropout (`float`, *optional*, defaults to 0.1):
    Share of the attention's output that is dropped in training.
"""


@auto_docstring(checkpoint="audioslots/galr", custom_args=DUAL_PATH_ARGS + GALR_ARGS)
@strict
class GalrConfig(DualPathConfig):
    model_type = "galr"

    summary_length: int = positive_int_field(default=32)
    num_attention_heads: int = positive_int_field(default=8)
    dropout: float = interval(min=0.0, max=1.0)(default=0.1)

    def validate_architecture(self) -> None:
        """Part of `@strict`-powered validation: checks the fields against each other."""
        super().validate_architecture()
        if self.hidden_size % (2 * self.num_attention_heads) != 0:
            raise ValueError(
                f"`hidden_size` ({self.hidden_size}) must be a multiple of twice `num_attention_heads` "
                f"({self.num_attention_heads})."
            )
        # transformers 5.17 ignores a lower bound of 0
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"`dropout` ({self.dropout}) must be at least 0 and less than 1.")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads


__all__ = ["GalrConfig"]
