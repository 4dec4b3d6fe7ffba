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
"""Training, evaluation, benchmarks and reports of this repository, as commands `python -m training.NAME`."""

import sys
from importlib.util import find_spec


# packages of the extra that the commands import at their start
PACKAGES = ("accelerate", "datasets", "pydantic", "ruamel")
# commands that need none of them
EXEMPT = ("training.average", "training.synthesize_speech")


def require_extra(arguments: list[str]) -> None:
    """
    Stop a command of this package that lacks the extra for training, before any work.

    Args:
        arguments (`list` of `str`):
            The command line of Python, `sys.orig_argv`.

    Raises:
        `SystemExit`: a package is missing; the message names the fix.
    """
    names = [name for flag, name in zip(arguments, arguments[1:], strict=False) if flag == "-m"]
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing and names and names[0] not in EXEMPT:
        raise SystemExit(f"{names[0]} needs {', '.join(missing)}: pip install 'audioslots-hf[train]'")


# Python has this name for a command only as long as it imports its package
if sys.argv[:1] == ["-m"]:
    require_extra(sys.orig_argv)
