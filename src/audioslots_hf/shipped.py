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
"""Where the checkpoints that ship with the package lie."""

from pathlib import Path


DEFAULT_CHECKPOINT = "galr-cpu-152k"
CHECKPOINTS_DIR = Path(__file__).parent / "checkpoints"


__all__ = ["CHECKPOINTS_DIR", "DEFAULT_CHECKPOINT"]
