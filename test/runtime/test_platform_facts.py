# SPDX-License-Identifier: Apache-2.0
"""Memory and power are told where the platform tells them, and are missing elsewhere."""
import ctypes

from crossview_ros.runtime.platform_facts import gpu_facts, jetson_power_w, peak_memory_mb
import numpy as np
import pytest


class FakeNvml:
    """A driver with one GPU: 80 GB, 3 GB in use, 62.5 W; functions named in ``broken`` fail."""

    def __init__(self, *broken):
        self.broken, self.calls = broken, []

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append(name)
            if name in self.broken:
                return 999   # NVML_ERROR_UNKNOWN
            if name == 'nvmlDeviceGetMemoryInfo':
                memory = ctypes.cast(arguments[1], ctypes.POINTER(ctypes.c_ulonglong))
                memory[0], memory[1], memory[2] = 80 * 10 ** 9, 77 * 10 ** 9, 3 * 10 ** 9
            if name == 'nvmlDeviceGetPowerUsage':
                ctypes.cast(arguments[1], ctypes.POINTER(ctypes.c_uint))[0] = 62500
            return 0
        return call


def test_the_driver_is_asked_for_memory_and_power():
    nvml = FakeNvml()
    assert gpu_facts(nvml) == {'gpu_memory_mb': 3000.0, 'gpu_power_w': 62.5}
    assert nvml.calls[-1] == 'nvmlShutdown'


@pytest.mark.parametrize('broken, facts', [
    ('nvmlInit_v2', {}), ('nvmlDeviceGetHandleByIndex_v2', {}),
    ('nvmlDeviceGetPowerUsage', {'gpu_memory_mb': 3000.0}),
    ('nvmlDeviceGetMemoryInfo', {'gpu_power_w': 62.5})])
def test_what_the_driver_does_not_tell_is_missing(broken, facts):
    assert gpu_facts(FakeNvml(broken)) == facts


def write_sensor(folder, values):
    folder.mkdir(parents=True)
    for name, text in values.items():
        (folder / name).write_text(f'{text}\n')


def test_a_jetson_tells_the_power_of_the_whole_module(tmp_path):
    write_sensor(tmp_path / '1-0040' / 'hwmon' / 'hwmon3', {
        'in1_label': 'VDD_CPU_GPU_CV', 'in1_input': 5000, 'curr1_input': 1000,
        'in2_label': 'VDD_IN', 'in2_input': 19000, 'curr2_input': 500})
    assert jetson_power_w(tmp_path) == pytest.approx(9.5)   # 19 V * 0.5 A


@pytest.mark.parametrize('values', [
    {}, {'in1_label': 'VDD_SOC', 'in1_input': 1, 'curr1_input': 1},
    {'in1_label': 'VDD_IN', 'in1_input': 'asleep', 'curr1_input': 1}, {'in1_label': 'VDD_IN'}])
def test_without_the_sensor_there_is_no_power(values, tmp_path):
    write_sensor(tmp_path / '1-0040' / 'hwmon' / 'hwmon3', values)
    assert jetson_power_w(tmp_path) is None


def test_peak_memory_counts_what_was_used():
    block = np.ones(100_000_000, np.uint8)   # 100 MB that are touched
    assert block.nbytes / 1e6 <= peak_memory_mb() < 100_000
