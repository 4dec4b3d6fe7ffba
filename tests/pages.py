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
"""The pages of the documentation, and the code in them."""

import re
from pathlib import Path


ROOT = Path(__file__).parents[1]
PAGES = {path.name: path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
CODE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def list_blocks(name: str, language: str) -> list[str]:
    """The blocks of a page in one language."""
    return [code for found, code in CODE.findall(PAGES[name].read_text("utf-8")) if found == language]


def list_commands(name: str) -> list[str]:
    """The commands of a page, without their comments."""
    lines = "".join(list_blocks(name, "bash")).splitlines()
    return [line.partition("  # ")[0].strip() for line in lines if line]
