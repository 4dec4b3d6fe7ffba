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
Train a model: `accelerate launch training/run_training.py training/configs/NAME.yaml [key=value ...]`.

A run continues from the last checkpoint in its `output_dir`. Overrides reach nested keys: `speech.0.root=DIR`. A file inherits
keys from the file that it names as `base`.
"""

import argparse
import sys
from pathlib import Path


# `accelerate launch` runs this file by its path: add its package to the search path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from audioslots_hf.allocator import keep_freed_memory  # noqa: E402
from training.arguments import TrainingArguments, load_arguments  # noqa: E402
from training.loop import train  # noqa: E402
from training.settings import (
    SettingsError,  # noqa: E402
    describe_error,  # noqa: E402
)
from training.settings_help import format_settings  # noqa: E402


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"settings:\n{format_settings(TrainingArguments)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", help="yaml file, for instance training/configs/audioslots-cpu.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that override those of the file")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    try:
        folder = train(load_arguments(options.config, options.overrides))
    except (SettingsError, OSError, FloatingPointError) as error:
        parser.error(describe_error(error))
    print(f"The best model is in {folder}")


if __name__ == "__main__":
    main()
