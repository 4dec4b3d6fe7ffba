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
import sys

import numpy as np
import pytest

from audioslots_hf.plots import plot_scores, plot_separation, require_matplotlib
from tests.audio_helpers import noise, tones


PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("rate", [50, 8000, 11025, 44100, 48000])
@pytest.mark.parametrize("num_samples", [1, 100, 20001])
def test_a_picture_of_any_rate_and_length_is_drawn(rate, num_samples, tmp_path):
    path = tmp_path / "picture.png"
    plot_separation(path, {"mixture": noise(num_samples), "estimate": np.zeros(num_samples, np.float32)}, rate)
    assert path.read_bytes().startswith(PNG)


def test_a_title_is_no_formula(tmp_path):
    path = tmp_path / "picture.png"
    plot_separation(path, {"mixture: a$^$.wav": noise(100)}, 8000)
    assert path.read_bytes().startswith(PNG)


@pytest.fixture
def figures(monkeypatch):
    """The figures that would be written."""
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *arguments, **options: figures.append(self))
    return figures


@pytest.fixture
def figure(tmp_path, figures):
    """The figure of two tracks, one a tone of 310 and 870 Hz for two seconds."""
    plot_separation(tmp_path / "x.png", {"mixture: a": tones(16000, 8000), "estimate: b": noise(16000)}, 8000)
    return figures[0]


def test_silence_is_drawn_dark_and_without_a_warning(tmp_path, figures, recwarn):
    plot_separation(tmp_path / "picture.png", {"mixture": np.zeros(9000, np.float32)}, 8000)
    image = figures[0].axes[0].images[0]
    assert image.get_array().max() <= image.get_clim()[0]
    assert [str(warning.message) for warning in recwarn] == []


def test_each_track_has_a_row_with_its_title_on_one_scale(figure):
    rows = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title(loc="left") for axis in rows] == ["mixture: a", "estimate: b"]
    limits = [axis.images[0].get_clim() for axis in rows]
    loudest = max(axis.images[0].get_array().max() for axis in rows)
    # the loudest cells may be cut off
    assert limits[0] == limits[1] and limits[0][1] - limits[0][0] == pytest.approx(60)
    assert loudest - 20 < limits[0][1] <= loudest


def test_a_tone_is_drawn_at_its_frequency_and_time(figure):
    image = figure.axes[0].images[0]
    left, right, bottom, top = image.get_extent()
    # two seconds and the padding of one window of 32 ms
    assert (left, bottom, top) == (0, 0, 4) and right == pytest.approx(2.032, abs=0.01)
    levels = np.asarray(image.get_array())
    frequency, time = np.unravel_index(levels.argmax(), levels.shape)
    assert figure.axes[0].get_xlim() == (0, 2)
    # bins of 31 Hz, frames of 8 ms; the fade is loudest in the middle
    assert frequency * top / levels.shape[0] == pytest.approx(0.31, abs=0.04)
    assert time * right / levels.shape[1] == pytest.approx(1.0, abs=0.1)


def test_without_matplotlib_the_message_names_the_fix(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (require_matplotlib, lambda: plot_separation(tmp_path / "x.png", {"a": noise(100)}, 8000)):
        with pytest.raises(ImportError, match=r"pip install 'audioslots-hf\[plot\]'"):
            draw()


def test_improvements_are_drawn_against_the_input(figures, tmp_path):
    plot_scores(tmp_path / "x.png", {"si_snr": [5.0, 7.0, 12.0], "si_snri": [6.0, 7.0, 11.0]})
    distribution, against_input = figures[0].axes
    assert distribution.get_xlabel() == "SI-SNRi in dB"
    assert sum(bar.get_height() for bar in distribution.patches) == 3
    legend = [text.get_text() for text in distribution.get_legend().get_texts()]
    assert legend == ["mean 8.00 dB", "median 7.00 dB"]
    assert against_input.collections[0].get_offsets().tolist() == [[-1, 6], [0, 7], [1, 11]]


def test_without_mixtures_only_the_si_snr_is_drawn(figures, tmp_path):
    plot_scores(tmp_path / "x.png", {"si_snr": [5.0]})
    assert [axis.get_xlabel() for axis in figures[0].axes] == ["SI-SNR in dB"]


def test_a_picture_of_equal_scores_is_drawn(tmp_path):
    plot_scores(tmp_path / "x.png", {"si_snr": [150.0] * 4})
    assert (tmp_path / "x.png").read_bytes().startswith(PNG)
