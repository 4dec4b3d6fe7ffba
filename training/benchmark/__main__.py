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
"""Run a benchmark by name: `python -m training.benchmark broadcast-decoder`."""

import argparse
import json

from training.settings import SettingsError

from . import (
    broadcast_decoder,
    conversations,
    counting,
    galr_vs_dprnn,
    gpu_step,
    hours,
    install,
    loader,
    long_audio,
    passes,
    peers,
    race,
    refine,
    robustness,
    track_continuity,
    voice_encoder,
)


BENCHMARKS = {
    "broadcast-decoder": broadcast_decoder,
    "conversations": conversations,
    "counting": counting,
    "galr-vs-dprnn": galr_vs_dprnn,
    "gpu-step": gpu_step,
    "hours": hours,
    "install": install,
    "loader": loader,
    "long-audio": long_audio,
    "passes": passes,
    "peers": peers,
    "race": race,
    "refine": refine,
    "robustness": robustness,
    "track-continuity": track_continuity,
    "voice-encoder": voice_encoder,
}


def main() -> None:
    """Print the tables of a benchmark, then one JSON line."""
    parser = argparse.ArgumentParser(prog="python -m training.benchmark", description="Measure a part of the models.")
    benchmarks = parser.add_subparsers(dest="benchmark", required=True)
    for name, module in BENCHMARKS.items():
        module.add_arguments(
            benchmarks.add_parser(name, help=module.__doc__.splitlines()[0], description=module.__doc__)
        )
    options, others = parser.parse_known_args()
    if others and hasattr(options, "overrides") and all("=" in word and word[0] != "-" for word in others):
        # argparse accepts no positional arguments after an option
        options.overrides = options.overrides + others
    elif others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    try:
        results = BENCHMARKS[options.benchmark].run(options)
    except (SettingsError, OSError) as error:
        parser.error(str(error))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
