# SPDX-License-Identifier: Apache-2.0
"""
Changes of colour for augmentation, on (H, W, 3) float32 RGB in [0, 1].

Each returns a new image within [0, 1]; factor 1 (hue: 0) leaves the image as it is.
Source: the definitions of torchvision.transforms.functional.adjust_*.
"""
import cv2
import numpy as np

LUMA = np.array([0.2989, 0.587, 0.114], np.float32)   # ITU-R BT.601


def change_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply."""
    return np.clip(image * np.float32(factor), 0, 1)


def change_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Move away from the image's mean grey."""
    return _blend(image, (image @ LUMA).mean(), factor)


def change_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Move away from the grey image."""
    return _blend(image, (image @ LUMA)[..., None], factor)


def change_gamma(image: np.ndarray, factor: float) -> np.ndarray:
    """Raise to a power."""
    return image ** np.float32(factor)


def change_hue(image: np.ndarray, shift: float) -> np.ndarray:
    """Turn the hue by a share of the whole circle, in [-0.5, 0.5]."""
    if shift == 0:
        return image
    hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV)   # hue in degrees
    hsv[..., 0] = (hsv[..., 0] + np.float32(360 * shift)) % 360
    return np.clip(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), 0, 1)


CHANGES = {'contrast': change_contrast, 'gamma': change_gamma, 'brightness': change_brightness,
           'hue': change_hue, 'saturation': change_saturation}


def to_float(image: np.ndarray) -> np.ndarray:
    """Turn uint8 into float32 in [0, 1]."""
    return image.astype(np.float32) / 255


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Turn float32 in [0, 1] into the nearest uint8."""
    return np.rint(image * 255).astype(np.uint8)


def _blend(image: np.ndarray, other: np.ndarray, factor: float) -> np.ndarray:
    factor = np.float32(factor)
    return np.clip(image * factor + other * (1 - factor), 0, 1)
