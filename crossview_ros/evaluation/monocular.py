# SPDX-License-Identifier: Apache-2.0
"""Score networks that tell depth from one image, as the published tables do (simipu.md 11)."""
from collections.abc import Callable, Sequence
import time
from typing import Any

from crossview_ros.data.datasets.dataset import FileDataset
from crossview_ros.data.folders import read_stereo_sample, SampleFiles
from crossview_ros.data.samples import DepthSample
from crossview_ros.errors import ConfigError, DatasetError
from crossview_ros.evaluation.scores import check_truth, Score, score_answer
from crossview_ros.geometry.stereo import disparity_to_depth
from crossview_ros.geometry.windows import bottom_window
from crossview_ros.metrics import Metric
from crossview_ros.metrics.depth_protocol import DepthProtocol, protocol_metrics
import numpy as np

MULTIPLE_PX = 32   # of the sides that every network of one view takes


def is_monocular(model: str) -> bool:
    """
    Tell whether a model knows depth from one view only, so that pairs are of no use to it.

    :param model: What `load_model` takes.
    :raises CheckpointError: As `load_model`.
    """
    from crossview_ros.config import load_yaml
    from crossview_ros.model_store import find_model, MANIFEST
    from crossview_ros.networks.checkpoint import kind_of, read_checkpoint
    manifest = find_model(model) / MANIFEST
    if manifest.is_file():
        tasks = load_yaml(manifest).get('tasks') or []
        return 'depth' in tasks and 'stereo' not in tasks
    return kind_of(read_checkpoint(model)[0]) in ('one_view', 'resnet_depth')


class MonocularMethod:
    """A network of one view; keeps it on its device."""

    def __init__(self, model: str, device: str = 'auto', flip_test: bool = False):
        """
        Load it.

        :param model: What `load_model` takes; the method is called so.
        :param device: 'auto', 'cpu' or 'cuda'.
        :param flip_test: Average with the answer for the mirrored image.
        :raises CheckpointError: As `load_model`, or if it tells no depth from one view.
        """
        from crossview_ros.networks.checkpoint import load_model
        import torch
        network = load_model(model, 'depth')
        cuda = torch.cuda.is_available()
        if device == 'cuda' and not cuda:
            raise ConfigError('--device cuda: no CUDA device is there; leave it out')
        self.name = model
        self._device = 'cuda' if cuda and device != 'cpu' else 'cpu'
        self._network = network.to(self._device)
        self._flip_test = flip_test
        config = getattr(getattr(network, 'head', None), 'config', None)
        self._focal_px = getattr(getattr(network, 'config', None), 'focal_px', None) \
            or getattr(config, 'focal_px', None)

    def answer(self, sample: DepthSample) -> tuple[np.ndarray, float]:
        """
        Compute and measure.

        :return: (H, W) float32 [m] of the sample's camera, and the time [ms].
        :raises ConfigError: If the network does not take images of this size.
        """
        import torch
        start_s = time.perf_counter()
        rows, cols = sample.image.shape[:2]
        try:
            with torch.no_grad():
                depth = self._depth(self._input(sample.image))[0, 0, :rows, :cols]
        except ValueError as error:   # cosine positions are of one size
            raise ConfigError(f"'{self.name}' takes no image of {rows} x {cols} px (h x w): "
                              f'{error}') from error
        depth = depth.float().cpu().numpy()
        if self._focal_px is not None:   # the answer is that of the canonical camera
            depth = depth * np.float32(sample.camera.fx / self._focal_px)
        return depth, 1e3 * (time.perf_counter() - start_s)

    def close(self) -> None:
        """Hold nothing that needs closing."""

    def _depth(self, image: Any) -> Any:
        from crossview_ros.networks.resnet_depth import with_mirror
        return with_mirror(self._network, image) if self._flip_test \
            else self._network(image).value

    def _input(self, image: np.ndarray) -> Any:
        """Normalise, and repeat the last row and column up to a size that networks take."""
        import torch
        norm = self._network.normalisation
        image = image[..., ::-1] if norm.channels == 'bgr' else image
        image = (image / np.float32(255) - np.float32(norm.mean)) / np.float32(norm.std)
        short = [-side % MULTIPLE_PX for side in image.shape[:2]]
        image = np.pad(image, ((0, short[0]), (0, short[1]), (0, 0)), 'edge')
        return torch.from_numpy(image.transpose(2, 0, 1)[None].copy()).to(self._device)


def score_monocular(samples: Sequence[DepthSample], methods: list[MonocularMethod],
                    protocol: DepthProtocol, kb_crop: bool = False,
                    progress: Callable[[int, int], None] | None = None,
                    note: Callable[[str], None] | None = None) -> list[Score]:
    """
    Score each method on each sample; a sample is in memory only while it is scored.

    :param kb_crop: Cut the bottom 352 rows and central 1216 columns out of images and truth first.
    :param progress: Told (done, total) samples.
    :param note: Told what has no pixel with truth.
    :raises DatasetError: If a sample cannot be read, is too small, or none has truth.
    """
    def figures(depth: np.ndarray, truth: np.ndarray) -> dict[str, Metric]:
        return protocol_metrics(depth, truth, protocol)

    scores = []
    for done in range(len(samples)):
        sample = samples[done]
        if kb_crop:
            sample = sample.cropped(*bottom_window(sample.image.shape[:2]))
        for method in methods:
            depth, elapsed_ms = method.answer(sample)
            scores.append(score_answer('depth', sample.name, method.name, depth, sample.depth,
                                       elapsed_ms, figures))
        if progress is not None:
            progress(done + 1, len(samples))
    check_truth(scores, note)
    return scores


def left_views(files: list[SampleFiles]) -> FileDataset:
    """Return the left images of pairs, with the depth that their disparity and rig give."""
    return FileDataset(files[0].truth.parent, files, _left_view, 'score pairs with a model of two '
                       'views, or give the calibration')


def _left_view(files: SampleFiles) -> DepthSample:
    sample = read_stereo_sample(files)
    if sample.rig is None:
        raise DatasetError(f"'{files.name}' has no calibration that gives metric depth")
    depth = disparity_to_depth(sample.disparity, sample.rig)
    return DepthSample(sample.left, depth.astype(np.float32), sample.rig.left, name=sample.name)
