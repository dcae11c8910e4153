# SPDX-License-Identifier: Apache-2.0
"""What can be evaluated: a model through Perception, or a baseline; both answer one sample."""
import time
from typing import NamedTuple, Protocol

from crossview_ros.data.samples import FlowSample, StereoSample
from crossview_ros.errors import ConfigError
from crossview_ros.evaluation.baselines import Baseline, BASELINES
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.runtime.perception import Perception
import numpy as np

STEP_NS = 100_000_000   # between the two images of a flow sample; any step does


class Answer(NamedTuple):
    """What a method says of a sample."""

    value: np.ndarray                       # disparity (H, W) or flow (H, W, 2) [px], NaN missing
    elapsed_ms: float
    confidence: np.ndarray | None = None    # (H, W) float32, grows with trust


class Method(Protocol):
    """Something that answers samples of one kind."""

    name: str

    def answer(self, sample: StereoSample | FlowSample) -> Answer:
        """Compute and measure."""

    def close(self) -> None:
        """Free what it holds."""


class BaselineMethod:
    """A baseline by name."""

    def __init__(self, name: str, kind: str):
        """
        Look the baseline up.

        :param kind: 'stereo' or 'flow'.
        :raises ConfigError: If there is none of that name for that kind.
        """
        if name not in BASELINES[kind]:
            raise ConfigError(f"no baseline '{name}' for {kind}; known: "
                              f'{", ".join(BASELINES[kind])}')
        self.name = name
        self._compute: Baseline = BASELINES[kind][name]

    def answer(self, sample: StereoSample | FlowSample) -> Answer:
        """Compute and measure."""
        start_s = time.perf_counter()
        value = self._compute(sample)
        return Answer(value, 1e3 * (time.perf_counter() - start_s))

    def close(self) -> None:
        """Hold nothing."""


class ModelMethod:
    """A model, through Perception as the product runs it."""

    def __init__(self, name: str, kind: str, perception: Perception):
        """
        Take over a Perception and warm it up; `close` closes it.

        :param kind: 'stereo' or 'flow', the only task of the Perception.
        """
        self.name = name
        self._answer = MODEL_ANSWERS[kind]
        self._perception = perception
        perception.warm_up()

    def answer(self, sample: StereoSample | FlowSample) -> Answer:
        """Start anew, process and measure."""
        self._perception.reset()
        return self._answer(self._perception, sample)

    def close(self) -> None:
        """Close the Perception."""
        self._perception.close()


def open_model(model: str, kind: str, **options: object) -> ModelMethod:
    """
    Load a model to be evaluated.

    :param model: Name or folder; the method is called so.
    :param kind: 'stereo' or 'flow'; only this head runs.
    :param options: As for `Perception.open`.
    :raises CrossviewError: As `Perception.open`.
    """
    return ModelMethod(model, kind, Perception.open(model, tasks=[kind], **options))


def _disparity(perception: Perception, sample: StereoSample) -> Answer:
    """Process the pair; a sample without rig gets one with equal principal points."""
    rig = sample.rig or _any_rig(sample.left)
    start_s = time.perf_counter()
    result = perception.process(sample.left, sample.right, rig, 0)
    return Answer(result.disparity, 1e3 * (time.perf_counter() - start_s), result.confidence)


def _flow(perception: Perception, sample: FlowSample) -> Answer:
    """Process both images; the time is that of the second, as in a running stream."""
    camera = _any_rig(sample.image1).left
    perception.process(sample.image1, None, camera, 0)
    start_s = time.perf_counter()
    result = perception.process(sample.image2, None, camera, STEP_NS)
    return Answer(result.flow, 1e3 * (time.perf_counter() - start_s), result.flow_confidence)


MODEL_ANSWERS = {'stereo': _disparity, 'flow': _flow}


def _any_rig(image: np.ndarray) -> StereoRig:
    """Make up a rig without doffs: disparity and flow do not depend on the rest of it."""
    rows, cols = image.shape[:2]
    camera = PinholeCamera(cols, rows, cols, cols, (cols - 1) / 2, (rows - 1) / 2)
    return StereoRig(camera, camera, baseline=0.1)
