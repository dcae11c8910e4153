# SPDX-License-Identifier: Apache-2.0
"""TensorBoard: the log records of a run as curves, and pictures of what the network makes."""
from pathlib import Path
import warnings

from torch import Tensor


class Board:
    """Writer of one run's event files; for the process that writes the run folder."""

    def __init__(self, folder: Path, step: int):
        """
        Open the folder.

        :param step: What an earlier leg wrote beyond this step is hidden.
        :raises ImportError: If tensorboard is missing.
        """
        from torch.utils.tensorboard import SummaryWriter
        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def scalars(self, record: dict) -> None:
        """Add the numbers of a log record; validation has a group of its own."""
        for name, value in record.items():
            if name.startswith('val_'):
                self._writer.add_scalar(f'validation/{name[4:]}', value, record['step'])
            elif name != 'step':
                self._writer.add_scalar(f'training/{name}', value, record['step'])
        self._writer.flush()

    def images(self, step: int, images: dict[str, Tensor]) -> None:
        """Add pictures (3, H, W) in [0, 1]."""
        for name, image in images.items():
            self._writer.add_image(name, image, step)
        self._writer.flush()


def open_board(folder: Path, step: int) -> Board | None:
    """Open a board, or warn and return None where the package is not installed."""
    try:
        return Board(folder, step)
    except ImportError:
        warnings.warn('tensorboard is not installed: no curves and pictures; install '
                      'crossview_ros with the extra [train] or set engine.tensorboard=false',
                      stacklevel=2)
        return None
