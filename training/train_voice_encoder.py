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
Train a voice encoder: `python -m training.train_voice_encoder training/voice/small.yaml [key=value ...]`.

A run continues from the checkpoint in its `output_dir`. Overrides reach nested keys: `speech.0.root=DIR`.
"""

import argparse

from training.settings import SettingsError, load_settings
from training.settings_help import format_settings
from training.voice.loop import train
from training.voice.settings import VoiceTrainingArguments


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train_voice_encoder",
        description=__doc__,
        epilog=f"settings:\n{format_settings(VoiceTrainingArguments)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", help="yaml file, for instance training/voice/small.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that replace those of the file")
    options = parser.parse_args(arguments)
    try:
        folder = train(load_settings(VoiceTrainingArguments, options.config, options.overrides))
    except (SettingsError, OSError, FloatingPointError) as error:
        parser.error(str(error))
    print(f"The model is in {folder}")


if __name__ == "__main__":
    main()
