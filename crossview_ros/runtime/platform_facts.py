# SPDX-License-Identifier: Apache-2.0
"""Memory and power of this process and machine, where the platform tells; no package needed."""
import ctypes
from pathlib import Path
import resource
import sys
from typing import Any

NVML = 'libnvidia-ml.so.1'   # comes with the driver
JETSON_SENSORS = Path('/sys/bus/i2c/drivers/ina3221')
JETSON_RAIL = 'VDD_IN'       # of the whole module


def peak_memory_mb() -> float:
    """Return the most host memory that this process has had [MB]."""
    unit = 1 if sys.platform == 'darwin' else 1024   # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def gpu_facts(library: Any = None) -> dict[str, float]:
    """
    Ask the NVIDIA driver about the first GPU.

    :param library: Stands in for NVML.
    :return: ``gpu_memory_mb`` used by all processes and ``gpu_power_w``, as far as it tells.
    """
    try:
        nvml = library or ctypes.CDLL(NVML)
    except OSError:   # no NVIDIA driver
        return {}
    device, power_mw = ctypes.c_void_p(), ctypes.c_uint()
    memory = (ctypes.c_ulonglong * 3)()   # total, free, used [bytes]
    facts = {}
    if nvml.nvmlInit_v2() != 0:
        return facts
    if nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device)) == 0:
        if nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)) == 0:
            facts['gpu_memory_mb'] = memory[2] / 1e6
        if nvml.nvmlDeviceGetPowerUsage(device, ctypes.byref(power_mw)) == 0:
            facts['gpu_power_w'] = power_mw.value / 1e3
    nvml.nvmlShutdown()
    return facts


def jetson_power_w(root: Path = JETSON_SENSORS) -> float | None:
    """Return what a Jetson module draws [W], or None on any other machine."""
    for label in sorted(root.glob('*/hwmon/hwmon*/in*_label')):
        try:
            if label.read_text().strip() == JETSON_RAIL:
                number = label.name.removeprefix('in').removesuffix('_label')
                volt_mv, ampere_ma = (float((label.parent / name).read_text()) for name in (
                    f'in{number}_input', f'curr{number}_input'))
                return volt_mv * ampere_ma / 1e6
        except (OSError, ValueError):   # a sensor that is asleep
            continue
    return None


def platform_figures() -> dict[str, float]:
    """Return all that is known: ``peak_memory_mb``, GPU facts, ``power_w``."""
    power_w = jetson_power_w()
    return {'peak_memory_mb': peak_memory_mb(), **gpu_facts(),
            **({} if power_w is None else {'power_w': power_w})}
