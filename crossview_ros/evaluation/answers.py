# SPDX-License-Identifier: Apache-2.0
"""Score answers that lie in files, made by whatever method: a file, or a folder of them."""
from collections.abc import Callable
from pathlib import Path

from crossview_ros.data.io import read_pfm, read_scaled_png
from crossview_ros.data.truth_files import read_disparity_truth, read_flow_truth
from crossview_ros.errors import DatasetError
from crossview_ros.evaluation.scores import check_truth, Figures, Score, score_answer
import numpy as np

SUFFIXES = ('.pfm', '.png', '.flo', '.npy')


def score_files(task: str, estimate: Path, truth: Path, truth_format: str = 'auto',
                png_scale: float = 256.0, note: Callable[[str], None] | None = None,
                figures: Figures | None = None) -> list[Score]:
    """
    Score a file against a file, or each file of a folder against that of its name.

    :param task: 'stereo', 'flow' or 'depth'.
    :param estimate: Disparity [px], flow [px] or depth [m]: .pfm, .flo, .npy or 16-bit .png.
    :param truth: Of the same size; a folder if ``estimate`` is one.
    :param truth_format: Of disparity and flow, as for `read_disparity_truth`.
    :param png_scale: What a depth [m] was multiplied with in its PNG: KITTI 256, TUM 5000,
        millimetres 1000.
    :param figures: As for `score_answer`.
    :param note: Told which files have no pixel with truth.
    :raises DatasetError: If a file is missing or damaged, or sizes differ.
    """
    def read(path: Path, file_format: str = 'auto') -> np.ndarray:
        return _read(task, path, file_format, png_scale)

    scores = [score_answer(task, answer.stem, estimate.name, read(answer),
                           read(true, truth_format), figures=figures)
              for answer, true in _pairs(estimate, truth)]
    check_truth(scores, note)
    return scores


def _pairs(estimate: Path, truth: Path) -> list[tuple[Path, Path]]:
    """Return answers and truths; an answer that is missing is an error, never left out."""
    if not truth.is_dir():
        return [(estimate, truth)]
    if not estimate.is_dir():
        raise DatasetError(f'{truth} is a folder; expected one of answers too, got {estimate}')
    truths, answers = _by_stem(truth), _by_stem(estimate)
    missing = sorted(set(truths) - set(answers))
    if missing or not truths:
        raise DatasetError(f'{estimate}: no answer for {len(missing)} of {len(truths)} truths'
                           + (f", the first is '{missing[0]}'" if missing else ''))
    return [(answers[stem], path) for stem, path in truths.items()]


def _by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES}


def _read(task: str, path: Path, file_format: str, png_scale: float) -> np.ndarray:
    suffix = path.suffix.lower()
    if suffix == '.npy':
        return _read_npy(path)
    if task == 'flow':
        return read_flow_truth(path, file_format)
    if task == 'stereo':
        return read_disparity_truth(path, file_format)
    readers = {'.pfm': read_pfm, '.png': lambda path: read_scaled_png(path, png_scale)}
    if suffix not in readers:
        raise DatasetError(f'{path}: a depth is expected in a file that ends in .pfm, .png or '
                           '.npy')
    return readers[suffix](path)


def _read_npy(path: Path) -> np.ndarray:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f'{path}: cannot be read as one array: {error}') from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in 'fiu':
        raise DatasetError(f'{path}: expected one array of numbers')
    return values.astype(np.float32)
