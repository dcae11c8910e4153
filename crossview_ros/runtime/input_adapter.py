# SPDX-License-Identifier: Apache-2.0
"""Fit images of any size to the network's input, and its dense outputs back to the image."""
from dataclasses import dataclass
import math

from crossview_ros.errors import ConfigError
from crossview_ros.runtime.manifest import gain_and_bias, InputNormalisation, ModelManifest
import cv2
import numpy as np

MAX_SQUEEZE = 0.05   # a side may shrink by this much more, if that saves its padding


@dataclass(frozen=True)
class InputAdapter:
    """
    The way from one image size to the network's input size, and exactly back.

    Images larger than the working size shrink (area averaging), with their aspect ratio kept to
    `MAX_SQUEEZE`; smaller ones are not enlarged. Then the last row and column are repeated at
    the bottom and right up to multiples of the network. Outputs are cropped and enlarged with
    the same pixel centres, and offsets [px] scaled with the axis along which they point. Where
    the network saw an enlarged image (``working_hw`` > ``image_hw``), outputs shrink bicubically.
    """

    image_hw: tuple[int, int]      # of the images that come [px]
    working_hw: tuple[int, int]    # after scaling [px]
    network_hw: tuple[int, int]    # after padding [px]
    normalisation: InputNormalisation

    @classmethod
    def create(cls, manifest: ModelManifest, image_hw: tuple[int, int],
               inference_size: tuple[int, int] | None = None,
               padded: bool = True) -> 'InputAdapter':
        """
        Choose the sizes for images of ``image_hw``.

        :param manifest: Gives size multiple, largest working size and normalisation.
        :param inference_size: Largest working (height, width) [px] instead of the manifest's.
        :param padded: False: any size will do for the network, also that of the image.
        :raises ConfigError: If ``inference_size`` is not positive.
        """
        own_hw = (manifest.fixed_size_hw or manifest.default_size_hw) if padded else image_hw
        limit_hw = own_hw if inference_size is None else inference_size
        if len(limit_hw) != 2 or min(limit_hw) < 1:
            raise ConfigError(f'inference_size must be (height, width) in px, each at least 1, '
                              f'got {inference_size}')
        multiple = manifest.size_multiple if padded else 1
        scale = min(1.0, *(limit / side for limit, side in zip(limit_hw, image_hw)))
        working = tuple(_working_side(side, scale, multiple) for side in image_hw)
        network = tuple(math.ceil(side / multiple) * multiple for side in working)
        if padded and manifest.fixed_size_hw is not None:
            network = manifest.fixed_size_hw
        return cls(tuple(image_hw), working, network, manifest.normalisation)

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Return how many image pixels one network pixel spans along x and y."""
        return (self.image_hw[1] / self.working_hw[1], self.image_hw[0] / self.working_hw[0])

    def fit(self, image: np.ndarray) -> np.ndarray:
        """
        Scale and pad.

        :param image: (H, W, 3) uint8 RGB of ``image_hw``.
        :return: (1, h, w, 3) uint8 RGB, contiguous, h and w of ``network_hw``.
        """
        rows, cols = self.working_hw
        if self.working_hw != self.image_hw:
            image = cv2.resize(np.ascontiguousarray(image), (cols, rows),
                               interpolation=cv2.INTER_AREA)
        pixels = np.empty((1, *self.network_hw, 3), np.uint8)
        pixels[0, :rows, :cols] = image
        pixels[:, :rows, cols:] = pixels[:, :rows, cols - 1:cols]
        pixels[:, rows:] = pixels[:, rows - 1:rows]
        return pixels

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """
        Scale, pad and normalise.

        :param image: (H, W, 3) uint8 RGB of ``image_hw``.
        :return: (1, 3, h, w) float32, contiguous, h and w of ``network_hw``.
        """
        return normalise(self.fit(image), self.normalisation)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """
        Bring a dense output back to the image; the values stay as they are.

        :param values: (1, C, h, w) float32 of ``network_hw``.
        :return: (H, W) float32 for C = 1, else (H, W, C); owned and contiguous.
        """
        rows, cols = self.working_hw
        values = np.array(values[0, :, :rows, :cols].transpose(1, 2, 0), np.float32, order='C')
        if self.working_hw != self.image_hw:
            shrinks = any(n > m for n, m in zip(self.working_hw, self.image_hw))
            values = cv2.resize(values, self.image_hw[::-1],
                                interpolation=cv2.INTER_CUBIC if shrinks else cv2.INTER_LINEAR)
        # OpenCV leaves out the axis of a single channel
        return values.reshape(self.image_hw) if values.size == math.prod(self.image_hw) \
            else values

    def restore_disparity(self, disparity: np.ndarray) -> np.ndarray:
        """
        Bring disparity back: (1, 1, h, w) [network px] -> (H, W) [image px].

        Widths scale disparity: d_image = d_network * W / w.
        """
        return self.restore(disparity * np.float32(self.scale_xy[0]))

    def restore_flow(self, flow: np.ndarray) -> np.ndarray:
        """Bring flow back: (1, 2, h, w) [network px] -> (H, W, 2) [image px], per axis."""
        return self.restore(flow * np.array(self.scale_xy, np.float32)[:, None, None])

    def restore_canonical_depth(self, depth: np.ndarray) -> np.ndarray:
        """
        Bring depth of a canonical camera back: (1, 1, h, w) [m] -> (H, W) [m].

        Its focal length counts in network px before and in image px after, which are smaller.
        """
        return self.restore(depth / np.float32(self.scale_xy[0]))

    def restore_log_scale(self, log_scale: np.ndarray, channels: int) -> np.ndarray:
        """
        Bring the log of an error scale back: [log network px] -> [log image px].

        :param log_scale: (1, 1, h, w) float32.
        :param channels: 1 if the errors point along x (disparity); 2 along x and y (flow), whose
            scale is the geometric mean of both axes.
        :return: (H, W) float32: log b + log(W / w).
        """
        stretch = sum(math.log(scale) for scale in self.scale_xy[:channels]) / channels
        return self.restore(log_scale + np.float32(stretch))


def normalise(pixels: np.ndarray, normalisation: InputNormalisation) -> np.ndarray:
    """
    Return what the network takes, for backends that do not do this themselves.

    :param pixels: (B, h, w, 3) uint8 RGB.
    :return: (B, 3, h, w) float32, contiguous.
    """
    gain, bias = gain_and_bias(normalisation)
    ordered = pixels[..., ::-1] if normalisation.channels == 'bgr' else pixels
    return np.ascontiguousarray((ordered * gain - bias).transpose(0, 3, 1, 2))


def _working_side(side: int, scale: float, multiple: int) -> int:
    if scale == 1.0:
        return side
    # less than one multiple would be padded up to it: rather keep the pixels
    target = max(round(side * scale), min(side, multiple))
    fitting = target // multiple * multiple
    return fitting if fitting and target - fitting <= MAX_SQUEEZE * target else target
