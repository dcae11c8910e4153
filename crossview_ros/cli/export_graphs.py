# SPDX-License-Identifier: Apache-2.0
"""Graphs beside the weights of a model, where the backends look for them first."""
from pathlib import Path
from typing import Any


def write_beside(folder: Path, manifest: Any, size_hw: tuple[int, int], precision: str,
                 calibration: Path | None = None) -> None:
    """
    Export every graph of a model and print a line for each.

    :param size_hw: Of the network's input [px].
    :param calibration: Bag that int8 is calibrated with; None: rendered frames.
    """
    from crossview_ros.cli.calibration_frames import frame_pairs
    from crossview_ros.runtime.backends import BackendOptions
    from crossview_ros.runtime.backends.graph_files import GraphFiles
    files = GraphFiles(folder, manifest, precision, BackendOptions().cache)
    pairs = frame_pairs(calibration, size_hw) if precision == 'int8' else []
    for graph in files.graphs:
        path = files.beside(graph, size_hw)
        files.export(graph, size_hw, path, pairs)
        print(f'graph     {path}  {path.stat().st_size / 1e6:.1f} MB')
    if pairs:
        print(f'int8      calibrated with {len(pairs)} pairs of '
              f'{calibration or "rendered frames"}; crossview verify tells what it changed')


def missing(folder: Path, manifest: Any, size_hw: tuple[int, int], precision: str) -> bool:
    """Tell whether a graph of a model is not beside its weights."""
    from crossview_ros.runtime.backends import BackendOptions
    from crossview_ros.runtime.backends.graph_files import GraphFiles
    files = GraphFiles(folder, manifest, precision, BackendOptions().cache)
    return not all(files.beside(graph, size_hw).is_file() for graph in files.graphs)
