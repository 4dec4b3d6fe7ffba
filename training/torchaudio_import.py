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
"""Import of torchaudio by the functions that need it."""

import importlib
from types import ModuleType


def import_torchaudio(name: str, purpose: str) -> ModuleType:
    """
    Import a module of torchaudio, such as `functional`.

    Raises:
        `ImportError`: torchaudio is missing or does not load; the message names the purpose and the fix.
    """
    try:
        return importlib.import_module(f"torchaudio.{name}")
    except (ImportError, OSError, RuntimeError) as error:
        # a torchaudio built for another torch raises the other two
        raise ImportError(
            f"{purpose} needs torchaudio, whose last release, 2.11, loads with torch 2.11 to 2.14 only: pip install "
            f"'audioslots-hf[train]' 'torch<2.15' in a fresh environment ({str(error).splitlines()[0]})."
        ) from error
