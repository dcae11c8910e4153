# SPDX-License-Identifier: Apache-2.0
# flake8: noqa: A005
"""Read and write the file formats of stereo and optical flow data sets; unknown is NaN here."""
from io import BytesIO
from pathlib import Path
import re
from typing import Any

from crossview_ros.errors import DatasetError
import cv2
import numpy as np

FLO_MAGIC = 202021.25      # the bytes 'PIEH' as a little-endian float32
FLO_UNKNOWN = 1e9          # Middlebury: a component above this is unknown
ENDS = {b'\x89PNG': b'IEND', b'\xff\xd8': b'\xff\xd9'}   # OpenCV 4 fills a torn image up
MAX_SIDE = 100_000         # [px] a larger size in a header means a damaged file


def read_image(path: str | Path) -> np.ndarray:
    """
    Read an image file as (H, W, 3) uint8 RGB.

    :raises DatasetError: If it is missing or no image.
    """
    return cv2.cvtColor(_read_png(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB in the format that the file's name ends in."""
    _write_png(path, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def read_pfm(path: str | Path) -> np.ndarray:
    """
    Read a PFM file; infinite values (Middlebury's unknown) become NaN.

    :return: (H, W) or (H, W, 3) float32, first row at the top.
    :raises DatasetError: If it is missing or damaged.

    Source: http://netpbm.sourceforge.net/doc/pfm.html; rows are stored bottom to top, and a
    negative scale means little-endian.
    """
    data = _read_bytes(path)
    header = re.match(rb'(P[fF])\s+(\d+)\s+(\d+)\s+(\S+)[ \t\r]*\n', data)
    if header is None:
        raise DatasetError(f'{path}: is not a PFM file')
    channels = 3 if header[1] == b'PF' else 1
    cols, rows = int(header[2]), int(header[3])
    try:
        order = '<' if float(header[4]) < 0 else '>'
    except ValueError as error:
        raise DatasetError(f'{path}: the scale {header[4]!r} of the PFM file is no number') \
            from error
    values = _values(path, data[header.end():], order + 'f4', (rows, cols, channels))
    values = values[::-1].astype(np.float32)
    values = np.where(np.isfinite(values), values, np.float32(np.nan))
    return values if channels == 3 else values[..., 0]


def write_pfm(path: str | Path, values: np.ndarray) -> None:
    """Write (H, W) or (H, W, 3) float32 as little-endian PFM; NaN becomes +Inf (Middlebury)."""
    kind = b'PF' if values.ndim == 3 else b'Pf'
    header = kind + f'\n{values.shape[1]} {values.shape[0]}\n-1\n'.encode()
    values = np.where(np.isnan(values), np.inf, values)[::-1]
    Path(path).write_bytes(header + np.ascontiguousarray(values, '<f4').tobytes())


def read_flo(path: str | Path) -> np.ndarray:
    """
    Read a Middlebury .flo file.

    :return: (H, W, 2) float32 (dx, dy) [px], NaN unknown.
    :raises DatasetError: If it is missing or damaged.

    Source: Baker et al., A database and evaluation methodology for optical flow, IJCV 2011.
    """
    data = _read_bytes(path)
    if len(data) < 12 or np.frombuffer(data, '<f4', 1)[0] != np.float32(FLO_MAGIC):
        raise DatasetError(f"{path}: is not a .flo file (it must begin with 'PIEH')")
    cols, rows = np.frombuffer(data, '<i4', 2, 4).tolist()
    flow = _values(path, data[12:], '<f4', (rows, cols, 2)).astype(np.float32)
    known = (np.abs(flow) < FLO_UNKNOWN).all(-1, keepdims=True)      # false for NaN
    return np.where(known, flow, np.float32(np.nan))


def write_flo(path: str | Path, flow: np.ndarray) -> None:
    """Write (H, W, 2) float32 [px]; NaN becomes 1.7e9, which Middlebury reads as unknown."""
    flow = np.where(np.isnan(flow).any(-1, keepdims=True), 1.666666752e9, flow)
    header = np.float32(FLO_MAGIC).astype('<f4').tobytes() + \
        np.array(flow.shape[1::-1], '<i4').tobytes()
    Path(path).write_bytes(header + np.ascontiguousarray(flow, '<f4').tobytes())


def read_scaled_png(path: str | Path, scale: float = 256.0) -> np.ndarray:
    """
    Read a 16-bit PNG of disparity [px] or depth [m] times a scale; 0 is unknown.

    :return: (H, W) float32, NaN unknown.
    :raises DatasetError: If it is missing or not 16 bits, one channel.

    Source: the KITTI stereo and depth development kits (scale 256); TUM RGB-D uses 5000.
    """
    raw = _read_png(path, cv2.IMREAD_UNCHANGED)
    if raw.dtype != np.uint16 or raw.ndim != 2:
        raise DatasetError(f'{path}: expected a 16-bit image of one channel, got {raw.dtype} '
                           f'{raw.shape}')
    return np.where(raw > 0, raw.astype(np.float32) / np.float32(scale), np.float32(np.nan))


def write_scaled_png(path: str | Path, values: np.ndarray, scale: float = 256.0) -> None:
    """
    Write (H, W) as 16-bit PNG, value times scale; NaN and values that round to 0 become 0.

    :raises DatasetError: If a value does not fit 16 bits.
    """
    raw = np.rint(np.nan_to_num(values, nan=0.0).astype(np.float64) * scale)
    if raw.min() < 0 or raw.max() > 65535:
        raise DatasetError(f'{path}: values {np.nanmin(values):g} to {np.nanmax(values):g} do not '
                           f'fit 16 bits at scale {scale:g}')
    _write_png(path, raw.astype(np.uint16))


def read_kitti_flow(path: str | Path) -> np.ndarray:
    """
    Read a KITTI flow PNG.

    :return: (H, W, 2) float32 (dx, dy) [px], NaN unknown.
    :raises DatasetError: If it is missing or not 16 bits, three channels.

    Source: KITTI 2015 development kit: (value - 32768) / 64, the third channel marks valid.
    """
    raw = _read_png(path, cv2.IMREAD_UNCHANGED)
    if raw.dtype != np.uint16 or raw.ndim != 3 or raw.shape[2] != 3:
        raise DatasetError(f'{path}: expected a 16-bit image of three channels, got {raw.dtype} '
                           f'{raw.shape}')
    raw = raw[..., ::-1]                                             # OpenCV reads BGR
    flow = (raw[..., :2].astype(np.float32) - 32768) / 64
    return np.where(raw[..., 2:] > 0, flow, np.float32(np.nan))


def write_kitti_flow(path: str | Path, flow: np.ndarray) -> None:
    """
    Write (H, W, 2) [px] as KITTI flow PNG; NaN becomes invalid.

    :raises DatasetError: If a component is beyond what KITTI's format holds, 512 px.
    """
    known = np.isfinite(flow).all(-1, keepdims=True)
    raw = np.rint(np.where(known, flow, 0).astype(np.float64) * 64 + 32768)
    if raw.min() < 0 or raw.max() > 65535:
        raise DatasetError(f'{path}: a flow component is beyond 512 px')
    raw = np.where(known, raw, 0)
    _write_png(path, np.concatenate((raw, known), -1).astype(np.uint16)[..., ::-1])


def read_grey_png(path: str | Path) -> np.ndarray:
    """
    Read an image of one channel and 8 bits as it is stored.

    :return: (H, W) uint8.
    :raises DatasetError: If it is missing, no image, or of more bits or channels.
    """
    raw = _read_png(path, cv2.IMREAD_UNCHANGED)
    if raw.dtype != np.uint8 or raw.ndim != 2:
        raise DatasetError(f'{path}: expected an 8-bit image of one channel, got {raw.dtype} '
                           f'{raw.shape}')
    return raw


def read_npy(path: str | Path) -> np.ndarray:
    """
    Read the array of a .npy file as float32.

    :raises DatasetError: If it is missing, damaged, or holds no plain numbers.
    """
    try:
        return np.load(BytesIO(_read_bytes(path)), allow_pickle=False).astype(np.float32)
    except (ValueError, EOFError, TypeError) as error:
        raise DatasetError(f'{path}: is no .npy file of numbers') from error


def read_point_file(path: str | Path, columns: int) -> np.ndarray:
    """
    Read a point cloud of little-endian float32 rows, such as KITTI's .bin (4) or nuScenes' (5).

    :return: (N, columns) float32; the first three are x, y, z [m] in the sensor's frame.
    :raises DatasetError: If it is missing or does not end with a whole row.
    """
    data = _read_bytes(path)
    if not data or len(data) % (4 * columns):
        raise DatasetError(f'{path}: damaged: {len(data)} bytes are no rows of {columns} float32')
    return np.frombuffer(data, '<f4').reshape(-1, columns).astype(np.float32)


def read_hdf5(path: str | Path, name: str) -> np.ndarray:
    """
    Read one array of an HDF5 file as float32.

    :raises DatasetError: If it is missing, damaged, has no such array, or h5py is not installed.
    """
    data = BytesIO(_read_bytes(path))
    try:
        with open_hdf5(data) as file:
            return np.asarray(file[name], np.float32)
    except (OSError, KeyError, ValueError) as error:
        raise DatasetError(f"{path}: is no HDF5 file with an array '{name}'") from error


def open_hdf5(source: str | Path | BytesIO) -> Any:
    """
    Open an HDF5 file for reading.

    :raises DatasetError: If h5py is not installed.
    :raises OSError: If it cannot be opened or is of another format.
    """
    try:
        import h5py
    except ImportError as error:
        raise DatasetError('HDF5 files need the package h5py: pip install h5py') from error
    return h5py.File(source, 'r')


def _read_bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DatasetError(f'{path}: cannot be read: {error.strerror}; is the data set '
                           'complete?') from error


def _values(path: str | Path, data: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if not all(0 < side < MAX_SIDE for side in shape):
        raise DatasetError(f'{path}: damaged: its header says {shape[1]} x {shape[0]} px')
    count = int(np.prod(shape))
    if len(data) < 4 * count:
        raise DatasetError(f'{path}: damaged: {len(data)} bytes of values where its header '
                           f'promises {4 * count}')
    return np.frombuffer(data, dtype, count).reshape(shape)


def _read_png(path: str | Path, mode: int) -> np.ndarray:
    data = _read_bytes(path)
    for begin, end in ENDS.items():
        if data.startswith(begin) and end not in data:
            raise DatasetError(f'{path}: is no readable image: it breaks off')
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), mode) if data else None
    except cv2.error as error:
        raise DatasetError(f'{path}: is no readable image: {error.err}') from error
    if image is None:
        raise DatasetError(f'{path}: is no readable image')
    return image


def _write_png(path: str | Path, image: np.ndarray) -> None:
    if not cv2.imwrite(str(path), np.ascontiguousarray(image)):
        raise DatasetError(f'{path}: cannot be written; does the folder exist?')
