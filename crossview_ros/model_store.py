# SPDX-License-Identifier: Apache-2.0
"""Where models live: a name is looked up in the installed share folder, then the source tree."""
from pathlib import Path
import sys

from crossview_ros.errors import CheckpointError

MANIFEST = 'manifest.yaml'
WEIGHTS = 'weights.safetensors'


def model_roots() -> list[Path]:
    """Return the folders that hold models, in the order in which they are searched."""
    roots = [Path(sys.prefix) / 'share' / 'crossview_ros' / 'models']
    try:
        from ament_index_python.packages import get_package_share_directory
        roots.insert(0, Path(get_package_share_directory('crossview_ros')) / 'models')
    except (ImportError, LookupError, OSError):
        pass   # no ROS installation, or the package is not installed in it
    roots.append(Path(__file__).resolve().parents[1] / 'models')
    return roots


def find_model(name_or_path: str | Path) -> Path:
    """
    Find a model folder by name, or take the path of a folder or weight file as it is.

    :raises CheckpointError: If nothing is there; the error lists the names that exist.
    """
    roots = [root for root in model_roots() if root.is_dir()]
    name = str(name_or_path)
    for root in roots:
        if name and Path(name).name == name and is_model_folder(root / name):
            return root / name
    path = Path(name_or_path).expanduser()
    if path.is_file() or is_model_folder(path):
        return path
    known = sorted({folder.parent.name for root in roots for folder in root.glob(f'*/{MANIFEST}')})
    raise CheckpointError(
        f"no model '{name}': it is neither a model folder (with {MANIFEST} or {WEIGHTS}), nor a "
        f'file, nor one of the installed models: {", ".join(known) or "none"}')


def is_model_folder(path: Path) -> bool:
    """Tell whether a folder holds a model; one for pre-training has weights, but no manifest."""
    return (path / MANIFEST).is_file() or (path / WEIGHTS).is_file()
