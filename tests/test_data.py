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
import csv
import json
import math
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from datasets import Audio, Dataset
from scipy.signal import butter, freqs, lfilter, resample_poly

from audioslots_hf import GalrConfig
from tests.audio_helpers import noise
from tests.conftest import SAMPLES
from training.arguments import MixtureArguments, SettingsError, SpeechArguments, load_arguments
from training.data.audio import audio_length, read_audio
from training.data.augmentations import (
    LOWEST_CUTOFF_HZ,
    DynamicRangeCompression,
    HighPass,
    NoiseFloor,
    Polarity,
    SharedSpectrum,
    SpectralTilt,
    SpeedPerturbation,
)
from training.data.effects import (
    NUM_BANDS,
    PAUSE_DB,
    band_levels_db,
    change_speed,
    compress_dynamic_range,
    high_pass,
    match_spectra,
    mel_bands,
    tilt,
)
from training.data.examples import TrainingExamples, load_examples, share_out, shuffled_order
from training.data.libri2mix import extend_noise, read_metadata, speaker_of, speakers_of_mixture
from training.data.loudness import gain_between, loudness_lufs
from training.data.mixer import DrawnVoice, SpeechMixer
from training.data.mixtures import FEATURES, MixtureList, load_mixtures
from training.data.prepare import Prepared, Voice, draw_gains, prepare, write_mixture
from training.data.resident import ResidentLoader, ResidentSpeech
from training.data.speech import Utterance, load_speech


SPEECH = SAMPLES / "speech"
DEBUG = Path(__file__).parents[1] / "training" / "configs" / "debug.yaml"
METADATA = {"metadata": str(SAMPLES / "valid.csv"), "root": str(SPEECH)}
# 16-bit files hold multiples of 1 / 32768, and libsndfile writes full scale as 32767
ROUNDING = 1.6 / 32768


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.flac"))


@pytest.fixture(scope="module")
def noise_folder(tmp_path_factory) -> Path:
    """Stereo noise, shorter and longer than the speech."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    for name, num_samples in (("short", 20000), ("long", 100000)):
        soundfile.write(folder / f"{name}.wav", 0.05 * rng.standard_normal((num_samples, 2)), 16000)
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, noise_folder) -> Prepared:
    """Every rate, mode and type of three mixtures."""
    out = tmp_path_factory.mktemp("prepared")
    prepared = Prepared(out, "test", 2, [8000, 16000], ["min", "max"], ["mix_clean", "mix_both", "mix_single"])
    prepare(SPEECH, prepared, 3, noise_folder)
    return prepared


@pytest.fixture(scope="module")
def in_memory_speech() -> list:
    return [load_speech(SpeechArguments(str(SPEECH)), 16000, show_progress=False)]


@pytest.fixture
def build_mixer(in_memory_speech):
    def build(*augmentations, crop_length: int = 4000, **options) -> SpeechMixer:
        return SpeechMixer(in_memory_speech, 2, crop_length, 16000, augmentations, **options)

    return build


@pytest.mark.parametrize("sampling_rate", [8000, 11025, 16000, 24000])
def test_a_span_equals_that_of_the_whole_file(sampling_rate):
    path = files_of(SPEECH)[0]
    whole = read_audio(path, sampling_rate)
    assert len(whole) == audio_length(path, sampling_rate)
    for start, num_samples in ((0, 500), (1, 999), (7001, 4000), (len(whole) - 100, 100), (len(whole) - 100, 500)):
        span = read_audio(path, sampling_rate, start, num_samples)
        # the filter sums in another order
        np.testing.assert_allclose(span, whole[start : start + num_samples], atol=1e-6)


def test_a_sine_has_the_loudness_of_the_standard():
    # ITU-R BS.1770: a sine of 997 Hz at full scale has -3.01 LUFS
    sine = np.sin(2 * np.pi * 997 * np.arange(48000) / 48000)
    # the filters of pyloudnorm approximate those of the standard
    assert loudness_lufs(sine, 48000) == pytest.approx(-3.01, abs=0.05)
    quiet = sine * gain_between(loudness_lufs(sine, 48000), -30.0)
    assert loudness_lufs(quiet, 48000) == pytest.approx(-30.0, abs=1e-3)
    assert loudness_lufs(np.zeros(100), 16000) == -np.inf


def official_noise(path: Path, length: int) -> np.ndarray:
    """
    What the official scripts do with noise: whole copies of it, one after the other.

    Over the 8001 samples where two copies meet, the first falls as a squared cosine while the second rises as a squared sine.
    """
    once = soundfile.read(path, dtype="float32", stop=length)[0][:, 0].astype(np.float64)
    starts = [0]
    while starts[-1] + len(once) < length:
        starts.append(starts[-1] + len(once) - 8001)
    phase = np.pi / 2 * np.arange(8001) / 8000
    noise = np.zeros(starts[-1] + len(once))
    for start in starts:
        copy = once.copy()
        if start != starts[0]:
            copy[:8001] *= np.sin(phase) ** 2
        if start != starts[-1]:
            copy[-8001:] *= np.cos(phase) ** 2
        noise[start : start + len(once)] += copy
    return noise[:length]


def official_mixture(row: dict, noise_root: Path, sampling_rate: int, mode: str, mix_type: str):
    """What the official scripts do, file by file and without spans: gain, resampling, length, sum."""
    names = [row["source_1_path"], row["source_2_path"]]
    sources = [soundfile.read(SPEECH / name, dtype="float32")[0] for name in names]
    noise = official_noise(noise_root / row["noise_path"], max(map(len, sources)))
    gains = [row["source_1_gain"], row["source_2_gain"], row["noise_gain"]]
    tracks = [
        resample_poly(float(gain) * track, sampling_rate, 16000)
        for gain, track in zip(gains, [*sources, noise], strict=True)
    ]
    length = {"min": min, "max": max}[mode](map(len, tracks))
    tracks = [np.pad(track, (0, max(0, length - len(track))))[:length] for track in tracks]
    chosen = {"mix_clean": tracks[:2], "mix_both": tracks, "mix_single": [tracks[0], tracks[2]]}[mix_type]
    return sum(chosen), chosen[: 1 if mix_type == "mix_single" else 2]


@pytest.mark.parametrize("mix_type", ["mix_clean", "mix_both", "mix_single"])
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("sampling_rate", [8000, 16000])
def test_metadata_and_tree_give_what_the_official_scripts_would(prepared, noise_folder, sampling_rate, mode, mix_type):
    noise_root = {} if mix_type == "mix_clean" else {"noise_root": str(noise_folder)}
    listed = MixtureArguments(
        metadata=str(prepared.metadata), root=str(SPEECH), mode=mode, mix_type=mix_type, **noise_root
    )
    num_sources = 1 if mix_type == "mix_single" else 2
    on_the_fly = load_mixtures(listed, sampling_rate, num_sources, show_progress=False)
    folder = prepared.folder(sampling_rate, mode)
    generated = load_mixtures(MixtureArguments(tree=str(folder), mix_type=mix_type), sampling_rate, num_sources)
    with open(prepared.metadata, newline="") as file:
        rows = {row["mixture_ID"]: row for row in csv.DictReader(file)}
    assert len(on_the_fly) == len(generated) == len(rows) == 3
    assert "short.wav" in {row["noise_path"] for row in rows.values()}
    stored = {generated[index].mixture_id: generated[index] for index in range(3)}
    for index in range(3):
        mixture = on_the_fly[index]
        expected, references = official_mixture(rows[mixture.mixture_id], noise_folder, sampling_rate, mode, mix_type)
        np.testing.assert_allclose(mixture.waveform, expected, atol=1e-6)
        np.testing.assert_allclose(mixture.references, np.stack(references), atol=1e-6)
        tree = stored[mixture.mixture_id]
        np.testing.assert_allclose(tree.waveform, expected, atol=ROUNDING)
        np.testing.assert_allclose(tree.references, np.stack(references), atol=ROUNDING)
        crop = on_the_fly.read(index, 3001, 2000)
        torch.testing.assert_close(crop.waveform, mixture.waveform[3001:5001], atol=1e-6, rtol=0)
    path = folder.parent / "metadata" / f"mixture_test_{mix_type}.csv"
    with open(path, newline="") as file:
        row = next(csv.DictReader(file))
    assert int(row["length"]) == soundfile.info(row["mixture_path"]).frames


def test_a_span_behind_the_end_of_a_shorter_voice_is_silent_there(prepared):
    listed = MixtureArguments(metadata=str(prepared.metadata), root=str(SPEECH), mode="max")
    for sampling_rate in (8000, 16000):
        mixtures = load_mixtures(listed, sampling_rate, 2, show_progress=False)
        start = mixtures.rows[0]["num_samples"] - 1000
        span, whole = mixtures.read(0, start, 1000), mixtures[0]
        torch.testing.assert_close(span.references, whole.references[:, start:], atol=1e-6, rtol=0)
        assert (span.references == 0).all(dim=1).sum() == 1


def test_short_noise_is_repeated_without_a_gap(noise_folder):
    once = soundfile.read(noise_folder / "short.wav", dtype="float32")[0][:, 0]
    extended = extend_noise(str(noise_folder / "short.wav"), 50000, 16000)
    assert len(extended) == 50000
    np.testing.assert_allclose(extended[: 20000 - 8001], once[: 20000 - 8001], atol=1e-7)
    # behind the cross-fade the noise goes on from where the window has risen, up to the next one
    np.testing.assert_allclose(extended[20000:23900], once[8001:11901], atol=1e-7)
    levels = [extended[start : start + 2000].std() for start in range(0, 50000, 2000)]
    # two halves of a Hann window add up to one in amplitude, so unrelated noise dips by 3 dB in the middle
    assert min(levels) > 0.6 * max(levels)


def test_noise_that_cannot_be_repeated_is_named(tmp_path):
    soundfile.write(tmp_path / "n.wav", np.ones(8000) * 0.1, 16000)
    with pytest.raises(SettingsError, match="n.wav.*20000"):
        extend_noise(str(tmp_path / "n.wav"), 20000, 16000)


@pytest.fixture(scope="module")
def dataset_rows(prepared) -> dict[str, list[str]]:
    folder = prepared.folder(16000, "min")
    names = sorted(path.name for path in (folder / "mix_both").iterdir())
    return {column: [str(folder / column / name) for name in names] for column in ("mix_both", "s1", "s2")}


@pytest.mark.parametrize("kind", ["paths", "audio", "bytes"])
def test_a_dataset_is_read_like_the_tree_it_was_made_of(prepared, dataset_rows, tmp_path, kind):
    table = Dataset.from_dict(dataset_rows)
    if kind == "bytes":
        embedded = {
            column: [{"bytes": Path(path).read_bytes(), "path": None} for path in paths]
            for column, paths in dataset_rows.items()
        }
        table = Dataset.from_dict(embedded)
    if kind != "paths":
        # the type is what a set of the Hub has; it is only set here, for encoding would need torchcodec
        for column in dataset_rows:
            table = table.cast_column(column, Audio(decode=False))
    table.save_to_disk(tmp_path / "set")
    listed = MixtureArguments(dataset=str(tmp_path / "set"), source_columns=["s1", "s2"], mixture_column="mix_both")
    found = load_mixtures(listed, 8000, 2, show_progress=False)
    tree = MixtureArguments(tree=str(prepared.folder(16000, "min")), mix_type="mix_both")
    expected = load_mixtures(tree, 8000, 2, show_progress=False)
    for index in range(3):
        torch.testing.assert_close(found[index].waveform, expected[index].waveform)
        torch.testing.assert_close(found[index].references, expected[index].references)


def test_a_folder_of_json_is_a_dataset_too(dataset_rows, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [{"s1": one, "s2": other} for one, other in zip(dataset_rows["s1"], dataset_rows["s2"], strict=True)]
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.json").write_text(json.dumps(rows))
    listed = MixtureArguments(dataset=str(tmp_path / "set"), source_columns=["s1", "s2"])
    assert len(load_mixtures(listed, 16000, 2, show_progress=False)) == 3


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([[0.1, 0.2], [0.3]], "The column 's2'.*must hold paths"),
        ([0.1, 0.2], "The column 's2'.*must hold paths"),
        ([str(SAMPLES / "valid.csv"), ""], "Row 0 .*column 's2'.*valid.csv cannot be read as audio"),
        ([{"bytes": None, "path": None}] * 2, "Row 0 .*no file in the column 's2'"),
        ([{"bytes": b"text", "path": "a.wav"}] * 2, "Row 0 .*column 's2'.*cannot be read as audio"),
        ([None, ""], "Row 0 .*no file in the column 's2'"),
    ],
)
def test_columns_and_rows_of_a_dataset_without_audio_are_named(tmp_path, column, message):
    table = Dataset.from_dict({"s1": [str(files_of(SPEECH)[0])] * 2, "s2": column})
    table.save_to_disk(tmp_path / "set")
    listed = MixtureArguments(dataset=str(tmp_path / "set"), source_columns=["s1", "s2"])
    with pytest.raises(SettingsError, match=message):
        load_mixtures(listed, 16000, 2, show_progress=False)


def test_all_lists_have_one_form(prepared, dataset_rows, tmp_path):
    Dataset.from_dict(dataset_rows).save_to_disk(tmp_path / "set")
    lists = [
        MixtureArguments(tree=str(prepared.folder(16000, "min"))),
        MixtureArguments(metadata=str(prepared.metadata), root=str(SPEECH)),
        MixtureArguments(dataset=str(tmp_path / "set"), source_columns=["s1", "s2"]),
    ]
    tables = [load_mixtures(item, 16000, 2, show_progress=False).table for item in lists]
    assert all(table.features == FEATURES and len(table) == 3 for table in tables)
    assert {row["speakers"][0] for row in tables[1]} <= {"librivox_austen", "msu_ru_nsh"}


def test_speakers_are_known_by_librispeechs_names_or_by_their_folders():
    assert speaker_of("train-clean-100/19/198/19-198-0003.flac") == "19"
    assert speaker_of("anna/monday/0001.wav") == "anna"
    assert speakers_of_mixture("19-198-0003_26-495-0000") == ["19", "26"]
    assert speakers_of_mixture("anna-0001_berta-0002") == []


def test_a_prepared_set_is_the_same_again_and_keeps_to_the_recipe(prepared, noise_folder, tmp_path):
    again = Prepared(tmp_path, "test", 2, [16000], ["min"], ["mix_clean"])
    prepare(SPEECH, again, 3, noise_folder)
    assert again.metadata.read_text() == prepared.metadata.read_text()
    another = Prepared(tmp_path / "other", "test", 2, [16000], ["max"], ["mix_clean"])
    prepare(SPEECH, another, 6, noise_folder, seed=1)
    assert another.metadata.read_text() != prepared.metadata.read_text()
    with open(another.metadata, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({frozenset((row["source_1_path"], row["source_2_path"])) for row in rows}) == 6
    for row in rows:
        speakers = {speaker_of(row[f"source_{number}_path"]) for number in (1, 2)}
        assert len(speakers) == 2
        for number in (1, 2):
            audio = read_audio(SPEECH / row[f"source_{number}_path"], 16000)
            gain = float(row[f"source_{number}_gain"])
            # gating leaves out the silence that the shorter voice is filled with, up to a block at its edge
            assert -33.3 < loudness_lufs(gain * audio, 16000) < -24.7
    files = (another.folder(16000, "max") / "mix_clean").iterdir()
    assert all(np.abs(soundfile.read(path)[0]).max() <= 0.9 + ROUNDING for path in files)


def test_a_mixture_that_would_clip_is_turned_down():
    impulses = np.zeros(32000)
    # loud for their loudness: their gain alone would take them above full scale
    impulses[::4000] = 1.0
    voices = [Voice(Path(name), impulses + 1e-3, -25.0) for name in ("a", "b")]
    gains = draw_gains(voices)
    assert gains[0] == gains[1]
    assert np.abs(2 * gains[0] * (impulses + 1e-3)).max() == pytest.approx(0.9)


def write_voices(folder: Path, sampling_rate: int, num_voices: int = 2) -> Path:
    """A folder of speech with a file for each speaker, 3 s long and more."""
    for number in range(num_voices):
        (folder / f"voice{number}").mkdir(parents=True)
        samples = noise(3 * sampling_rate + 500 * number, seed=number)
        soundfile.write(folder / f"voice{number}" / "a.wav", samples, sampling_rate)
    return folder


def test_silence_is_named_before_a_set_is_written(tmp_path):
    speech = write_voices(tmp_path / "speech", 16000)
    soundfile.write(speech / "voice1" / "a.wav", np.zeros(64000), 16000)
    prepared = Prepared(tmp_path / "out", "test", 2, [16000], ["min"], ["mix_clean"])
    with pytest.raises(SettingsError, match=r"voice1.a\.wav is silent: leave it out"):
        prepare(speech, prepared, 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("sampling_rate", [8000, 11025])
def test_speech_of_another_rate_has_noise_to_its_end(tmp_path, noise_folder, sampling_rate):
    speech = write_voices(tmp_path / "speech", sampling_rate)
    prepared = Prepared(tmp_path / "out", "test", 2, [16000], ["max"], ["mix_both"])
    [folder] = prepare(speech, prepared, 1, noise_folder)
    listed = MixtureArguments(
        metadata=str(prepared.metadata),
        root=str(speech),
        noise_root=str(noise_folder),
        mode="max",
        mix_type="mix_both",
    )
    on_the_fly = load_mixtures(listed, 16000, 2, show_progress=False)[0]
    tree = load_mixtures(MixtureArguments(tree=str(folder), mix_type="mix_both"), 16000, 2, show_progress=False)[0]
    assert (
        on_the_fly.waveform.shape == tree.waveform.shape == (-(-16000 * (3 * sampling_rate + 500) // sampling_rate),)
    )
    assert on_the_fly.rest[-2000:].std() > 0
    torch.testing.assert_close(tree.waveform, on_the_fly.waveform, atol=ROUNDING, rtol=0)


def test_a_set_that_fails_leaves_nothing_and_can_be_prepared_again(tmp_path, monkeypatch):
    prepared = Prepared(tmp_path, "test", 2, [8000, 16000], ["min"], ["mix_clean"])

    def fail(mixtures, index, *arguments):
        if mixtures.sampling_rate == 16000 and index == 1:
            raise OSError("No space left on device")
        return write_mixture(mixtures, index, *arguments)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("training.data.prepare.write_mixture", fail)
        prepare(SPEECH, prepared, 2)
    assert not list(tmp_path.iterdir())
    prepare(SPEECH, prepared, 2)
    assert prepared.metadata.is_file() and not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"mix_types": ["mix_both"]}, "mix_both needs noise"),
        ({"num_mixtures": 10}, "allows 6 different mixtures of 2, not 10"),
        ({"num_sources": 3}, "2 speakers.*mixtures of 3"),
    ],
)
def test_sets_that_cannot_be_prepared_are_named_and_leave_nothing(tmp_path, overrides, message):
    values = {"mix_types": ["mix_clean"], "num_mixtures": 2, "num_sources": 2} | overrides
    prepared = Prepared(tmp_path, "test", values["num_sources"], [16000], ["min"], values["mix_types"])
    with pytest.raises(SettingsError, match=message):
        prepare(SPEECH, prepared, values["num_mixtures"])
    assert not list(tmp_path.iterdir())


def test_files_that_differ_in_how_they_end_are_in_no_two_mixtures_of_one_name(tmp_path):
    for name in ("anna/x.wav", "anna/x.flac", "anna/y.wav", "berta/z.wav"):
        (tmp_path / "speech" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "speech" / name, noise(48000), 16000)
    for seed in range(3):
        prepared = Prepared(tmp_path / str(seed), "test", 2, [16000], ["min"], ["mix_clean"])
        prepare(tmp_path / "speech", prepared, 2, seed=seed)
        assert len(prepared.metadata.read_text().splitlines()) == 3


def test_a_set_that_exists_is_not_overwritten(prepared, noise_folder):
    before = prepared.metadata.read_text()
    with pytest.raises(SettingsError, match="exists"):
        prepare(SPEECH, prepared, 2, noise_folder, seed=5)
    assert prepared.metadata.read_text() == before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tree": str(SPEECH)}, "no folder mix_clean.*librivox_austen"),
        (METADATA | {"mix_type": "mix_both"}, "needs noise: give `noise_root`"),
        ({"dataset": str(SAMPLES), "source_columns": ["a"]}, "cannot be loaded"),
    ],
)
def test_lists_that_cannot_be_read_are_named(values, message, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    with pytest.raises(SettingsError, match=message):
        load_mixtures(MixtureArguments(**values), 16000, 2, show_progress=False)


HEADER = b"mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER, b"m,a,nan,b,1"], r"row 2: `source_1_gain` \('nan'\)"),
        ([HEADER, b"m,a,1,b,1", b"n,a,1,b,-inf"], r"row 3: `source_2_gain` \('-inf'\)"),
        ([HEADER, b"m,a,1,b,"], r"row 2: `source_2_gain` \(''\)"),
        ([HEADER, b"m,a,loud,b,1"], r"row 2: `source_1_gain` \('loud'\)"),
        ([HEADER + b",noise_path,noise_gain", b"m,a,1,b,1,n,x"], r"row 2: `noise_gain` \('x'\)"),
        ([HEADER + b",noise_path", b"m,a,1,b,1,n"], r"row 2: `noise_gain` \(''\)"),
        ([HEADER, b"m,,1,b,1"], "row 2: `source_1_path` is empty"),
        ([HEADER, b"m,a,1,b"], "row 2 has not as many cells"),
        ([HEADER, b"m,a,1,b,1,2"], "row 2 has not as many cells"),
        ([HEADER, b"m,a,1,b,1", b"m,b,1,a,1"], r"row 3: `mixture_ID` \('m'\) is there twice"),
        ([HEADER, b"m,\xe4,1,b,1"], "UTF-8"),
        ([HEADER.removesuffix(b",source_2_gain"), b"m,a,1,b"], "not the columns source_2_gain"),
        ([HEADER], "no row"),
    ],
)
def test_odd_rows_of_metadata_are_named(tmp_path, lines, message):
    (tmp_path / "odd.csv").write_bytes(b"\n".join(lines))
    with pytest.raises(SettingsError, match=f"odd.csv.*{message}"):
        read_metadata(tmp_path / "odd.csv", tmp_path, 2, must_exist=False)


def test_metadata_that_excel_saved_is_read(tmp_path):
    plain = SAMPLES / "valid.csv"
    (tmp_path / "excel.csv").write_bytes(b"\xef\xbb\xbf" + plain.read_bytes().replace(b"\n", b"\r\n"))
    assert read_metadata(tmp_path / "excel.csv", SPEECH, 2) == read_metadata(plain, SPEECH, 2)


def test_a_list_of_another_number_of_sources_or_a_lost_file_is_refused(prepared, tmp_path):
    tree = MixtureArguments(tree=str(prepared.folder(16000, "min")))
    with pytest.raises(SettingsError, match="2 sources, but the model has 3"):
        load_mixtures(tree, 16000, 3, show_progress=False)
    shutil.copytree(prepared.folder(16000, "min"), tmp_path / "split")
    many = shutil.copytree(tmp_path / "split", tmp_path / "many")
    for number in range(3, 13):
        shutil.copytree(many / "s1", many / f"s{number}")
    with pytest.raises(SettingsError, match="12 sources, but the model has 2"):
        load_mixtures(MixtureArguments(tree=str(many)), 16000, 2, show_progress=False)
    lost = sorted((tmp_path / "split" / "s2").iterdir())[1]
    soundfile.write(lost, noise(0), 16000)
    with pytest.raises(SettingsError, match=f"{lost} is empty"):
        load_mixtures(MixtureArguments(tree=str(tmp_path / "split")), 16000, 2, show_progress=False)
    lost.unlink()
    with pytest.raises(SettingsError, match=str(lost)):
        load_mixtures(MixtureArguments(tree=str(tmp_path / "split")), 16000, 2, show_progress=False)


def test_a_draw_depends_on_nothing_but_seed_and_index(build_mixer):
    mixer = build_mixer(SpeedPerturbation(factors=[0.9, 1.0, 1.1]), SpectralTilt(max_db=3.0))
    examples = TrainingExamples(mixer, [], [1.0], 4000, 72, 100)
    expected = examples[7]
    examples[3]
    again = examples[7]
    assert torch.equal(again["references"], expected["references"])
    assert not torch.equal(examples[8]["references"], expected["references"])
    assert expected["references"].shape == (2, 4000) and expected["references"].dtype == torch.float32
    torch.testing.assert_close(expected["mixture"], expected["references"].sum(dim=0))


def test_drawn_voices_have_librimixs_loudness(build_mixer):
    whole = build_mixer(crop_length=76160)
    rng = np.random.default_rng(0)
    drawn = [whole.draw_voice(0, speaker, rng) for speaker in (0, 1) for _ in range(4)]
    voices = whole.render_voices(drawn, whole.read)
    assert all(-33.3 < loudness_lufs(voice.numpy(), 16000) < -24.7 for voice in voices)


def test_the_voices_of_a_mixture_are_different_speakers():
    marked = SpeechMixer([[[speaker] for speaker in range(5)]], 2, 4000, 16000)
    utterance = Utterance(Path("a.wav"), 4001, -30.0, np.full(4001, 16384, dtype=np.int16))
    drawn = []

    def draw_marked(folder, speaker, rng):
        drawn.append(speaker)
        return DrawnVoice(utterance, 0, 4001, Fraction(1), loudness=-30.0)

    marked.draw_voice = draw_marked
    for index in range(50):
        drawn.clear()
        mixture = marked.draw(np.random.default_rng(index))
        assert len(set(drawn)) == 2
        # the rule of the peak
        assert mixture.sum(dim=0).max().item() == pytest.approx(0.9)


def test_folders_are_drawn_by_their_weights():
    weighted = SpeechMixer([[["one"]], [["one"]], [["one"]]], 1, 4000, 16000, weights=[1.0, 2.0, 1.0])
    drawn = []
    weighted.draw_voice = lambda folder, speaker, rng: drawn.append(folder)
    for index in range(400):
        weighted.draw_mixture(np.random.default_rng(index))
    # three standard deviations of 400 draws
    assert abs(drawn.count(1) / 400 - 0.5) < 0.075 and abs(drawn.count(0) / 400 - 0.25) < 0.065


def test_files_can_stay_on_disk(tmp_path):
    loud = {
        "path": [path.relative_to(SPEECH).as_posix() for path in files_of(SPEECH)],
        "loudness": [loudness_lufs(read_audio(path, 16000), 16000) for path in files_of(SPEECH)],
    }
    with open(tmp_path / "list.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "speaker", "loudness"])
        writer.writerows([path, path.split("/")[0], value] for path, value in zip(*loud.values(), strict=True))
    in_memory = load_speech(SpeechArguments(str(SPEECH)), 16000, show_progress=False)
    on_disk = load_speech(
        SpeechArguments(str(SPEECH), str(tmp_path / "list.csv"), in_memory=False), 16000, show_progress=False
    )
    for one, other in zip(sum(in_memory, []), sum(on_disk, []), strict=True):
        assert (one.path, one.num_samples, other.samples) == (other.path, other.num_samples, None)
        assert one.loudness == pytest.approx(other.loudness, abs=1e-6)
        np.testing.assert_allclose(one.read(1000, 500, 16000), other.read(1000, 500, 16000), atol=ROUNDING)


def test_a_csv_without_its_columns_and_silence_are_named(tmp_path):
    (tmp_path / "list.csv").write_text("path,speaker,loudness\na.wav,anna,-20\nb.wav,anna,nan\n")
    with pytest.raises(SettingsError, match=r"list.csv, row 3: `loudness` \('nan'\)"):
        load_speech(SpeechArguments(str(SPEECH), str(tmp_path / "list.csv")), 16000, show_progress=False)
    (tmp_path / "list.csv").write_text("path,voice\na.wav,anna\n")
    with pytest.raises(SettingsError, match="list.csv has no column `speaker`"):
        load_speech(SpeechArguments(str(SPEECH), str(tmp_path / "list.csv")), 16000, show_progress=False)
    (tmp_path / "anna").mkdir()
    soundfile.write(tmp_path / "anna" / "silent.wav", np.zeros(16000), 16000)
    with pytest.raises(SettingsError, match="silent.wav is silent"):
        load_speech(SpeechArguments(str(tmp_path)), 16000, show_progress=False)


class Numbered(MixtureList):
    """Mixtures that tell their index."""

    def __init__(self, num_samples: list[int]):
        self.rows = [{"num_samples": number} for number in num_samples]


def test_lists_are_gone_through_epoch_by_epoch_by_their_weights():
    examples = TrainingExamples(None, [Numbered([10] * 20), Numbered([10] * 5)], [2.0, 1.0], 10, 72, 300)
    drawn: list[tuple[int, int]] = []
    examples.crop = lambda mixtures, index, rng: drawn.append((len(mixtures), index))
    for index in range(30):
        examples[index]
    assert sorted(index for length, index in drawn if length == 20) == list(range(20))
    small = [index for length, index in drawn if length == 5]
    assert sorted(small[:5]) == sorted(small[5:]) == list(range(5))
    assert small[:5] != small[5:]
    assert not np.array_equal(shuffled_order(1, 0, 0, 20), shuffled_order(2, 0, 0, 20))


def test_every_part_counts_its_own_examples():
    counts = [0, 0, 0]
    for index in range(600):
        part, count = share_out(index, [Fraction(2), Fraction(1), Fraction(3)])
        assert count == counts[part]
        counts[part] += 1
    assert counts == [200, 100, 300]


def test_a_short_mixture_is_put_at_a_random_place_among_zeros(prepared):
    tree = load_mixtures(MixtureArguments(tree=str(prepared.folder(8000, "min"))), 8000, 2, show_progress=False)
    examples = TrainingExamples(None, [tree], [1.0], 60000, 72, 100)
    example = examples[0]
    assert example["mixture"].shape == (60000,) and example["references"].shape == (2, 60000)
    num_zeros = int((example["mixture"] == 0).sum())
    assert num_zeros >= 60000 - max(row["num_samples"] for row in tree.rows)
    assert not torch.equal(examples[3]["mixture"], example["mixture"])


SPEEDS = SpeedPerturbation(factors=[0.8, 0.95, 1.2])
TILT = SpectralTilt(max_db=3.0)
COMPRESSION = DynamicRangeCompression(max_exponent=0.8)
HIGH_PASS = HighPass(cutoff_hz=[50.0, 400.0])


@pytest.mark.parametrize(
    ("augmentations", "crop_length"),
    [
        ([], 4000),
        # longer than most of the speech
        ([TILT], 80000),
        ([SPEEDS, TILT, COMPRESSION, HIGH_PASS, SharedSpectrum(share=0.5), Polarity()], 4000),
    ],
)
def test_speech_on_the_device_sounds_like_that_in_memory(build_mixer, augmentations, crop_length):
    mixer = build_mixer(*augmentations, crop_length=crop_length)
    references = ResidentSpeech(mixer, torch.device("cpu")).draw(7, range(3, 15))
    examples = TrainingExamples(mixer, [], [1.0], crop_length, 7, 100)
    for index, row in zip(range(3, 15), references, strict=True):
        expected = examples[index]["references"]
        assert row.dtype == torch.float32
        # a batch rounds otherwise than its examples one by one
        assert (row - expected).norm() <= 1e-5 * expected.norm()


def test_an_example_on_the_device_depends_on_its_number_alone(build_mixer):
    mixer = build_mixer(SharedSpectrum(share=0.5), Polarity(), noise_floors=[NoiseFloor([-10.0, -10.0])])
    speech = ResidentSpeech(mixer, torch.device("cpu"))
    references = speech.draw(7, range(20))
    assert torch.equal(speech.draw(7, range(5, 9)), references[5:9])
    voices = mixer.draw_mixture(np.random.default_rng((7, 5))).voices
    with_noise = mixer.render_voices(voices, speech.cut)
    levels = [gain_between(10.0, voice.loudness) for voice in voices]
    for voice in voices:
        voice.noise_floor = None
    noises = (with_noise - mixer.render_voices(voices, speech.cut)).std(dim=1)
    torch.testing.assert_close(noises, torch.tensor(levels), rtol=0.05, atol=0)


def test_processes_take_turns_at_the_speech_on_the_device(build_mixer):
    speech = ResidentSpeech(build_mixer(TILT), torch.device("cpu"))
    one = [batch["mixture"] for batch in ResidentLoader(speech, 72, range(8, 24), 4)]
    assert [len(part) for part in one] == [4] * 4
    even, odd = (
        [batch["mixture"] for batch in ResidentLoader(speech, 72, range(8, 24), 4, rank, 2)] for rank in (0, 1)
    )
    assert all(torch.equal(*pair) for pair in zip(one, [even[0], odd[0], even[1], odd[1]], strict=True))


@pytest.mark.parametrize(("crop_length", "starts"), [(89, range(11)), (99, range(1)), (119, range(-20, 1))])
def test_crops_come_from_all_over_the_recording(crop_length, starts):
    utterance = Utterance(Path("a.wav"), 100, -30.0, np.arange(1, 101, dtype=np.int16))
    cropper = SpeechMixer([[[utterance]]], 1, crop_length, 16000)
    rng = np.random.default_rng(0)
    voices = [cropper.draw_voice(0, 0, rng) for _ in range(400)]
    assert {voice.start for voice in voices} == set(starts)
    for voice, rendered in zip(voices[:20], cropper.render_voices(voices[:20], cropper.read), strict=True):
        expected = np.arange(voice.start + 1, voice.start + 1 + crop_length)
        expected[(expected < 1) | (expected > 100)] = 0
        gain = 10 ** ((voice.loudness + 30) / 20) / 32768
        np.testing.assert_allclose(rendered, expected * gain, rtol=1e-5)


@pytest.mark.parametrize("speed", [Fraction(1, 2), Fraction(4, 5), Fraction(19, 20), Fraction(23, 20), Fraction(2)])
def test_a_voice_at_another_speed_is_what_scipy_makes_of_it(speed):
    voices = noise(3, 4001)
    expected = resample_poly(voices, speed.denominator, speed.numerator, axis=-1)
    for num_samples in (expected.shape[1], 1000, expected.shape[1] + 500):
        resampled = change_speed(torch.from_numpy(voices), speed, num_samples).numpy()
        assert resampled.shape == (3, num_samples)
        kept = min(num_samples, expected.shape[1])
        np.testing.assert_allclose(resampled[:, :kept], expected[:, :kept], atol=1e-6)


def test_each_voice_has_its_own_speed(build_mixer):
    drawn = [
        voice for seed in range(50) for voice in build_mixer(SPEEDS).draw_mixture(np.random.default_rng(seed)).voices
    ]
    assert {voice.speed for voice in drawn} == {Fraction(4, 5), Fraction(19, 20), Fraction(6, 5)}
    assert all(voice.num_samples == np.ceil(4000 * voice.speed) + 1 for voice in drawn)


def parameters_of(augmentation, num_mixtures: int = 300) -> np.ndarray:
    """What is drawn for the two voices of some mixtures."""
    rng = np.random.default_rng(0)
    return np.array([augmentation.draw(rng, 2) for _ in range(num_mixtures)])


def test_augmentations_change_no_draw_of_the_voices(build_mixer):
    plain = build_mixer().draw_mixture(np.random.default_rng(3))
    augmented = build_mixer(TILT, HIGH_PASS, Polarity()).draw_mixture(np.random.default_rng(3))
    assert augmented.voices == plain.voices and plain.parameters == []
    assert [len(numbers) for numbers in augmented.parameters] == [2, 2, 2]


def test_augmentations_are_applied_in_the_order_of_the_list(build_mixer):
    mixer = build_mixer(COMPRESSION, HIGH_PASS, Polarity())
    drawn = [mixer.draw_mixture(np.random.default_rng(seed)) for seed in range(3)]
    expected = mixer.render_voices([voice for mixture in drawn for voice in mixture.voices], mixer.read).view(3, 2, -1)
    exponents, cutoffs_hz, signs = (
        torch.tensor([mixture.parameters[index] for mixture in drawn]) for index in range(3)
    )
    expected = high_pass(compress_dynamic_range(expected, exponents, 16000), cutoffs_hz, 16000) * signs[..., None]
    torch.testing.assert_close(mixer.render(drawn, mixer.read), expected)


def test_each_voice_is_inverted_with_probability_one_half(build_mixer):
    signs = parameters_of(Polarity(), 400)
    assert set(signs.flatten()) == {-1.0, 1.0}
    # three standard deviations of 400 draws, and the voices of a mixture are independent
    assert abs(signs.mean(axis=0)).max() < 0.15 and abs(signs.prod(axis=1).mean()) < 0.15
    plain, inverted = build_mixer(), build_mixer(Polarity())
    for seed in range(4):
        mixture = inverted.draw_mixture(np.random.default_rng(seed))
        before = plain.draw(np.random.default_rng(seed))
        after = inverted.render([mixture], inverted.read)[0]
        torch.testing.assert_close(after, torch.tensor(mixture.parameters[0])[:, None] * before)


@pytest.mark.parametrize("tilt_db", [-3.0, 0.0, 3.0])
def test_tilt_raises_high_over_low_frequencies_by_its_amount(tilt_db):
    impulse = torch.zeros(1024, dtype=torch.float64)
    impulse[0] = 1.0
    response = 20 * np.log10(np.abs(np.fft.rfft(tilt(impulse, tilt_db))))
    assert response[-1] - response[0] == pytest.approx(tilt_db, abs=1e-3)


def test_each_voice_has_its_own_tilt():
    tilts_db = parameters_of(TILT)
    assert -3 <= tilts_db.min() < -2.9 and 2.9 < tilts_db.max() <= 3 and (tilts_db[:, 0] != tilts_db[:, 1]).all()
    voices = torch.from_numpy(noise(1, 2, 4000))
    tilted = TILT.apply(voices, tilts_db[:1], 16000)
    torch.testing.assert_close(tilted[0, 1], tilt(voices[0, 1], tilts_db[0, 1]))


def test_the_high_pass_is_butterworths():
    impulse = torch.zeros(16000, dtype=torch.float64)
    impulse[8000] = 1.0
    frequencies = np.fft.rfftfreq(16000, 1 / 16000)[20:]
    expected = np.abs(freqs(*butter(4, 300.0, "highpass", analog=True), worN=frequencies)[1])
    filtered = high_pass(impulse, 300.0, 16000)
    np.testing.assert_allclose(np.abs(np.fft.rfft(filtered))[20:], expected, atol=1e-4)
    # symmetric: without delay
    torch.testing.assert_close(filtered[8001:15000], filtered[1001:8000].flip(0))


def test_each_voice_has_its_own_high_pass_and_nothing_comes_in_at_the_other_end():
    voices = torch.from_numpy(noise(3, 4000))
    voices[2] = 0.0
    voices[2, -1] = 1.0
    filtered = high_pass(voices, torch.tensor([0.0, 200.0, 50.0]), 16000)
    torch.testing.assert_close(filtered[0], voices[0])
    torch.testing.assert_close(filtered[1], high_pass(voices[1], 200.0, 16000))
    assert filtered[2, -300:].abs().max() > 0.5 and filtered[2, :300].abs().max() < 1e-3
    assert high_pass(torch.ones(16000), 50.0, 16000)[4000:12000].abs().max() < 1e-3
    # the lowest cutoff leaves nothing of 0 Hz either
    assert high_pass(torch.ones(32000), LOWEST_CUTOFF_HZ, 16000)[8000:24000].abs().max() < 1e-3


def test_one_high_pass_for_all_voices_of_a_mixture():
    cutoffs_hz = parameters_of(HIGH_PASS, 3000)
    assert (cutoffs_hz[:, 0] == cutoffs_hz[:, 1]).all()
    assert 50 <= cutoffs_hz.min() < 60 and 340 < cutoffs_hz.max() <= 400
    # as often below as above the middle of the logarithm
    assert np.median(cutoffs_hz) == pytest.approx(math.sqrt(50 * 400), rel=0.1)


def test_a_high_pass_takes_the_lows_of_a_voice_and_nothing_else(build_mixer):
    frequencies = np.fft.rfftfreq(4000, 1 / 16000)
    mixers = [build_mixer(), build_mixer(HighPass(cutoff_hz=[400.0, 400.0]))]
    before, after = (np.abs(np.fft.rfft(mixer.draw(np.random.default_rng(0)))) ** 2 for mixer in mixers)
    lows, highs = frequencies < 200, frequencies > 1000
    assert after[0, lows].sum() < 0.01 * before[0, lows].sum()
    assert after[0, highs].sum() == pytest.approx(before[0, highs].sum(), rel=0.01)


def levels_db(waveforms: torch.Tensor) -> torch.Tensor:
    """Of the quarters of each, without their edges, in dB."""
    quarters = waveforms.unflatten(-1, (4, -1))[..., 500:-500]
    return 10 * quarters.square().mean(dim=-1).log10()


def test_compression_divides_differences_of_level():
    # evenly loud, so that the envelope is the level
    tone = torch.sin(2 * math.pi * 500 * torch.arange(16000) / 16000)
    waveform = (tone.unflatten(0, (4, -1)) * torch.tensor([1.0, 0.5, 1.0, 0.25])[:, None]).flatten()
    waveforms = torch.stack([waveform, waveform, 1e-3 * waveform])
    compressed = compress_dynamic_range(waveforms, torch.tensor([0.0, 0.5, 0.5]), 16000)
    torch.testing.assert_close(compressed[0], waveform)
    torch.testing.assert_close(levels_db(compressed[1]).diff(), 0.5 * levels_db(waveform).diff(), atol=0.05, rtol=0)
    torch.testing.assert_close(compressed[2], 1e-3 * compressed[1])
    torch.testing.assert_close(compressed.square().mean(dim=-1), waveforms.square().mean(dim=-1))


def test_compression_raises_no_pause_to_speech_and_silence_stays_silence():
    voice = torch.from_numpy(noise(1, 16000)[0])
    voice[4000:8000] *= 1e-3
    voice[8000:12000] = 0.0
    compressed = compress_dynamic_range(voice[None], 0.9, 16000)[0]
    assert (compressed[8000:12000] == 0).all()
    raised = levels_db(compressed).diff()[0] - levels_db(voice).diff()[0]
    # half of the recording sounds: its power is 3 dB below that of the speech
    assert raised.item() == pytest.approx(0.9 * (PAUSE_DB + 3), abs=0.5)
    assert torch.equal(compress_dynamic_range(torch.zeros(1, 16000), 0.5, 16000), torch.zeros(1, 16000))


def test_each_voice_has_its_own_compression(build_mixer):
    exponents = parameters_of(DynamicRangeCompression(max_exponent=0.6))
    assert exponents.min() >= 0 and 0.55 < exponents.max() <= 0.6
    assert exponents.mean() == pytest.approx(0.3, abs=0.03) and (exponents[:, 0] != exponents[:, 1]).all()
    voices = torch.stack([build_mixer().draw(np.random.default_rng(seed)) for seed in range(3)])
    compressed = COMPRESSION.apply(voices, np.array([[0.0, 0.6]] * 3), 16000)
    torch.testing.assert_close(compressed[:, 0], voices[:, 0])
    torch.testing.assert_close(compressed[:, 1], compress_dynamic_range(voices[:, 1], 0.6, 16000))
    torch.testing.assert_close(compressed.square().sum(dim=-1), voices.square().sum(dim=-1), rtol=1e-4, atol=0)
    assert (compressed[:, 1] - voices[:, 1]).abs().max() > 0.05 * voices[:, 1].abs().max()


def band_levels(voices: torch.Tensor) -> torch.Tensor:
    """Of each mel band in dB, about their mean."""
    spectra = torch.fft.rfft(voices)
    levels = band_levels_db(spectra, mel_bands(spectra.shape[-1], 16000, voices.dtype, voices.device))
    return levels - levels.mean(dim=-1, keepdim=True)


def test_mel_bands_add_up_to_one():
    bands = mel_bands(4001, 16000, torch.float64, torch.device("cpu"))
    assert bands.shape == (NUM_BANDS, 4001)
    torch.testing.assert_close(bands.sum(dim=0), torch.ones(4001, dtype=bands.dtype))
    # evenly spaced on a scale that is finer among the lows
    peaks = bands.argmax(dim=1)
    assert peaks[0] == 0 and peaks[-1] == 4000 and (peaks.diff().diff() > 0).all()


def test_matched_voices_have_one_spectrum_and_keep_their_power():
    generator = torch.Generator().manual_seed(0)
    voices = torch.randn(2, 3, 16000, generator=generator)
    dark, bright = (
        torch.from_numpy(lfilter([1.0, zero], [1.0], voices[:, row])) for row, zero in ((0, 0.7), (1, -0.7))
    )
    voices = torch.stack([dark, 0.1 * bright, voices[:, 2]], dim=1).float()
    matched = match_spectra(voices, 16000)
    torch.testing.assert_close(matched.square().sum(dim=-1), voices.square().sum(dim=-1))
    before, after = (band_levels(signal) for signal in (voices, matched))
    assert (before.amax(dim=1) - before.amin(dim=1)).max() > 8
    assert (after.amax(dim=1) - after.amin(dim=1)).max() < 1.5
    # they meet in the middle
    torch.testing.assert_close(after.mean(dim=1), before.mean(dim=1), atol=0.5, rtol=0)


def test_voices_of_one_spectrum_stay_as_they_are_and_silence_stays_silence():
    voices = torch.from_numpy(noise(1, 16000)).expand(2, -1)
    torch.testing.assert_close(match_spectra(voices, 16000), voices)
    dark = torch.from_numpy(lfilter([1.0, 0.95], [1.0], voices[0])).float()
    voices = torch.stack([dark, torch.zeros(16000)])
    torch.testing.assert_close(match_spectra(voices, 16000), voices)


def test_a_share_of_the_mixtures_has_one_spectrum(build_mixer):
    apart, together = (
        mixer.draw(np.random.default_rng(3)) for mixer in (build_mixer(), build_mixer(SharedSpectrum(share=1.0)))
    )
    spreads = [band_levels(voices).diff(dim=0).std() for voices in (apart, together)]
    assert spreads[1] < 0.5 * spreads[0]
    shared = parameters_of(SharedSpectrum(share=0.25), 400)
    assert (shared[:, 0] == shared[:, 1]).all() and set(shared.flatten()) == {0.0, 1.0}
    assert shared[:, 0].mean() == pytest.approx(0.25, abs=0.07)
    batch = SharedSpectrum(share=0.25).apply(torch.stack([apart, apart]), np.array([[0.0, 0.0], [1.0, 1.0]]), 16000)
    assert torch.equal(batch[0], apart)
    assert torch.equal(batch[1], match_spectra(apart, 16000))


def test_a_high_pass_that_leaves_nothing_is_refused_before_any_speech_is_read():
    overrides = ["augmentations=[{type: high_pass, cutoff_hz: [50.0, 8000.0]}]", "speech.0.root=nowhere"]
    with pytest.raises(SettingsError, match=r"augmentations\.0.*cutoff_hz.*8000\.0.*below 8000 Hz"):
        load_examples(load_arguments(DEBUG, overrides), GalrConfig(sampling_rate=16000), show_progress=False)


def test_the_speech_of_a_run_has_its_weights_noise_floors_and_augmentations():
    folders = f"speech=[{{root: {SPEECH}}}, {{root: {SPEECH}, weight: 3.0, noise_floor_db: [-50, -35]}}]"
    listed = "augmentations=[{type: speed_perturbation, factors: [0.5, 2.0]}, {type: polarity}]"
    arguments = load_arguments(DEBUG, [folders, listed])
    mixer = load_examples(arguments, GalrConfig(sampling_rate=16000), show_progress=False).mixer
    assert mixer.speed_perturbation.factors == [0.5, 2.0] and mixer.augmentations == [Polarity()]
    assert mixer.noise_floors == [None, NoiseFloor([-50.0, -35.0])]
    assert mixer.upper_bounds.tolist() == [0.25]


@pytest.mark.parametrize("num_sources", [3, 5])
def test_more_voices_go_the_same_way(tmp_path, num_sources):
    write_voices(tmp_path / "speech", 16000, 5)
    prepared = Prepared(tmp_path / "out", "test", num_sources, [8000], ["max"], ["mix_clean"])
    [folder] = prepare(tmp_path / "speech", prepared, 1)
    assert folder == tmp_path / "out" / f"Libri{num_sources}Mix" / "wav8k" / "max" / "test"
    listed = MixtureArguments(metadata=str(prepared.metadata), root=str(tmp_path / "speech"), mode="max")
    for arguments in (listed, MixtureArguments(tree=str(folder))):
        mixture = load_mixtures(arguments, 8000, num_sources, show_progress=False)[0]
        assert mixture.references.shape[0] == num_sources
        torch.testing.assert_close(mixture.waveform, mixture.references.sum(dim=0), atol=5 * ROUNDING, rtol=0)
