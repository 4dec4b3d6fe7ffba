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
Entry point of the `audioslots` command.

`import audioslots_hf` loads torch, transformers and all families, to register them with transformers. `audioslots --help` must
not wait for these imports: once this module is loaded, the package imports none of them by itself.
"""

from audioslots_hf.cli import main


__all__ = ["main"]
