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
Check speech and mixtures, and prepare sets of them.

`python -m training.data check PATH` lists the content of a folder or csv, its broken files, and the lines of a training yaml
that read it. `python -m training.data prepare --speech DIR --out DIR` draws mixtures of your own speech and writes them in the
layout of Libri2Mix; `prepare --librispeech SUBSET --out DIR` downloads a part of LibriSpeech and verifies it.
`python -m training.data list DIR --out FILE` writes the csv of a large folder of speech, so that a run starts without measuring
the loudness of every file. `python -m training.data encode DIR --out DIR` writes the same speech as 16 kHz Opus, 11 MB an hour,
for a slow connection.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from audioslots_hf.files import write_csv
from audioslots_hf.jobs import make_folder

from ..arguments import MIX_TYPES
from ..settings import SettingsError
from ..torchaudio_import import import_torchaudio
from .audio import AudioError, opus_level, write_opus
from .check import check
from .libri2mix import ORIGINAL_RATE
from .loudness import audible_lufs
from .prepare import Prepared, prepare
from .speech import ListedFile, list_speech, read_listed


LIBRISPEECH_SUBSETS = (
    "dev-clean",
    "dev-other",
    "test-clean",
    "test-other",
    "train-clean-100",
    "train-clean-360",
    "train-other-500",
)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    checking = commands.add_parser("check", help="list the content of a path and the settings to train on it")
    checking.add_argument("path", type=Path)
    checking.set_defaults(run=run_check)

    listing = commands.add_parser("list", help="write the csv of a folder of speech, with the loudness of every file")
    listing.add_argument("speech", type=Path, help="folder with a folder for each speaker")
    listing.add_argument("--out", type=Path, required=True, help="csv to write")
    listing.set_defaults(run=run_list)

    encoding = commands.add_parser("encode", help="write speech as 16 kHz Opus, with its csv")
    encoding.add_argument("speech", type=Path, help="folder with a folder for each speaker")
    encoding.add_argument("--utterances", type=Path, help="csv of the files to compress (default: all)")
    encoding.add_argument("--out", type=Path, required=True, help="folder to write into")
    encoding.add_argument("--bit-rate", type=float, default=24, help="in kbit/s, from 6 to 256 (default: 24)")
    encoding.set_defaults(run=run_encode)

    preparing = commands.add_parser("prepare", help="write a set of mixtures, or download LibriSpeech")
    source = preparing.add_mutually_exclusive_group(required=True)
    source.add_argument("--speech", type=Path, help="folder with a folder for each speaker")
    source.add_argument("--librispeech", choices=LIBRISPEECH_SUBSETS, metavar="SUBSET", help="for instance test-clean")
    preparing.add_argument("--out", type=Path, required=True, help="folder to write into")
    preparing.add_argument("--split", default="test", help="name of the set (default: test)")
    preparing.add_argument("--num-mixtures", type=int, default=100, help="(default: 100)")
    preparing.add_argument(
        "--num-sources", type=int, default=2, choices=range(2, 6), help="voices per mixture (default: 2)"
    )
    preparing.add_argument("--noise", type=Path, help="folder of noise, for mix_both and mix_single")
    preparing.add_argument("--sampling-rates", type=int, nargs="+", default=[16000], choices=(8000, 16000))
    preparing.add_argument("--modes", nargs="+", default=["min"], choices=("min", "max"))
    preparing.add_argument("--types", nargs="+", default=["mix_clean"], choices=MIX_TYPES)
    preparing.add_argument("--seed", type=int, default=72, help="seed of the draws (default: 72)")
    preparing.set_defaults(run=run_prepare)
    return parser


def run_check(options: argparse.Namespace) -> int:
    """Print the findings; the exit status is 0 if all of the data can be used."""
    findings = check(options.path)
    print("\n\n".join(map(str, findings)))
    return 0 if all(finding.is_good for finding in findings) else 1


def run_list(options: argparse.Namespace) -> int:
    """Write path, speaker and loudness of every file."""
    # measuring takes hours: check the output first
    make_folder(options.out.parent)
    if options.out.is_dir():
        raise SettingsError(f"--out is {options.out}, a folder: name the csv to write.")
    rows = [
        describe(file, options.speech, read_listed(file, ORIGINAL_RATE))
        for file in listen(find_speech(options.speech), options.speech)
    ]
    write_csv(options.out, rows)
    print(f"{len(rows)} files in {options.out}")
    return 0


def run_encode(options: argparse.Namespace) -> int:
    """Write every file as Opus, and the csv once the folder is complete."""
    level = opus_level(options.bit_rate)
    if options.out.resolve() == options.speech.resolve():
        raise SettingsError(f"--out is {options.out}, the folder of the speech: name another folder.")
    files = find_speech(options.speech, options.utterances)
    check_targets(files, options.speech)
    rows, num_bytes = [], 0
    for file in listen(files, options.speech):
        audio = read_listed(file, ORIGINAL_RATE)
        row = describe(file, options.speech, audio)
        row["path"] = Path(row["path"]).with_suffix(".opus").as_posix()
        path = options.out / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_opus(path, audio, level)
        rows.append(row)
        num_bytes += path.stat().st_size
    write_csv(options.out / "utterances.csv", rows)
    minutes = sum(row["num_samples"] for row in rows) / ORIGINAL_RATE / 60
    print(
        f"{len(rows)} files, {minutes:.1f} min, {num_bytes / 2**20:.1f} MiB, listed in {options.out / 'utterances.csv'}"
    )
    return 0


def check_targets(files: list[ListedFile], speech: Path) -> None:
    """Raise a `SettingsError` if a listed file lies outside its folder, or two files differ only in their suffix."""
    targets: dict[Path, Path] = {}
    for file in files:
        # the path as written, because a link may point anywhere
        if not Path(os.path.abspath(file.path)).is_relative_to(os.path.abspath(speech)):
            raise SettingsError(f"{file.path} does not lie below {speech}: encode the folder that it lies in.")
        other = targets.setdefault(file.path.with_suffix(""), file.path)
        if other != file.path:
            raise SettingsError(
                f"{other} and {file.path} would become .opus files of the same name: rename one of them."
            )


def find_speech(speech: Path, utterances: Path | None = None) -> list[ListedFile]:
    """The files of a folder of speech, or a `SettingsError` if there are none."""
    files = list_speech(speech, utterances)
    if not files:
        raise SettingsError(f"{utterances or speech} holds no audio.")
    return files


def listen(files: list[ListedFile], speech: Path) -> Iterable[ListedFile]:
    """The files of a folder of speech, with a progress bar."""
    return tqdm(files, desc=f"Listening to {speech}", unit="file")


def describe(file: ListedFile, root: Path, audio: np.ndarray) -> dict[str, str | int | float]:
    """The line of a file in the csv of a folder of speech."""
    return {
        "path": file.path.relative_to(root).as_posix(),
        "speaker": file.speaker,
        "num_samples": len(audio),
        "loudness": round(audible_lufs(file.path, audio, ORIGINAL_RATE), 3),
    }


def run_prepare(options: argparse.Namespace) -> int:
    """Write a set, or download."""
    if options.librispeech is not None:
        print(download_librispeech(options.librispeech, options.out))
        return 0
    if options.num_mixtures < 1:
        raise SettingsError(f"--num-mixtures is {options.num_mixtures}: it must be at least 1.")
    prepared = Prepared(
        options.out, options.split, options.num_sources, options.sampling_rates, options.modes, options.types
    )
    folders = prepare(options.speech, prepared, options.num_mixtures, options.noise, options.seed)
    print("\n".join(map(str, (prepared.metadata, *folders))))
    return 0


def download_librispeech(subset: str, folder: Path) -> Path:
    """
    Download and unpack a part of LibriSpeech by torchaudio, which verifies its checksum -> the folder of its speakers.

    The folder appears only when it is complete, because torchaudio mistakes a partly unpacked one for the whole.

    Raises:
        `SettingsError`: torchaudio is missing or does not match torch, or the download failed.
    """
    target = folder / "LibriSpeech" / subset
    if target.is_dir():
        return target
    try:
        datasets = import_torchaudio("datasets", "The download")
    except ImportError as error:
        raise SettingsError(str(error)) from error
    # a downloaded archive is kept until it is unpacked
    temporary = folder / f".{subset}"
    shutil.rmtree(temporary / "LibriSpeech", ignore_errors=True)
    temporary.mkdir(parents=True, exist_ok=True)
    try:
        datasets.LIBRISPEECH(temporary, url=subset, download=True)
    except RuntimeError as error:
        raise SettingsError(f"{subset} could not be downloaded: {error}") from error
    target.parent.mkdir(exist_ok=True)
    # the archive also contains lists of speakers and books
    for path in sorted((temporary / "LibriSpeech").iterdir(), key=lambda path: path.name == subset):
        path.replace(target.parent / path.name)
    shutil.rmtree(temporary)
    return target


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options)
    except (SettingsError, OSError) as error:
        # commands that write stop at the first fault
        hint = " `python -m training.data check` lists all such files." if isinstance(error, AudioError) else ""
        # on a new line, even after an unfinished progress bar
        tqdm.write(f"error: {error}{hint}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
