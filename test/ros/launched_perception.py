# SPDX-License-Identifier: Apache-2.0
"""launch_testing: the launch file brings up a node that answers and ends cleanly."""
import os
from pathlib import Path
import sys
import time
import unittest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))   # the helpers beside this file
NAMESPACE = f'/launched{os.getpid()}'
NUM_PAIRS = 5
LIMIT_S = 60.0


def generate_test_description():
    """Launch as a user does; the tests begin at once and wait for the node themselves."""
    from launch import LaunchDescription
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    from launch_testing.actions import ReadyToTest
    return LaunchDescription([
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(ROOT / 'launch' / 'perception.launch.py')),
            launch_arguments={'namespace': NAMESPACE.lstrip('/')}.items()),
        ReadyToTest()])


class TestAnswers(unittest.TestCase):
    """While the node runs."""

    def test_every_pair_is_answered_under_its_stamp_and_frame(self):
        """Feed pairs one by one; each output comes once with the header of the left image."""
        from crossview_ros.ros.collector import DEPTH_OUTPUTS, OutputCollector
        from live_node import Sensors, START_NS, STEP_NS
        with OutputCollector(DEPTH_OUTPUTS, NAMESPACE) as collector, \
                Sensors(NAMESPACE) as sensors:
            collector.wait_until_active('perception_node', LIMIT_S, lambda: None)
            stamp_ns = START_NS
            end_s = time.monotonic() + LIMIT_S
            while not collector.received('depth/image') and time.monotonic() < end_s:
                stamp_ns += STEP_NS   # until the topics have found each other
                sensors.send(stamp_ns)
                collector.wait_for('depth/image', 1, 1.0)
            start_s = time.monotonic()
            for _ in range(NUM_PAIRS):
                stamp_ns += STEP_NS
                sensors.send(stamp_ns)
                for topic in DEPTH_OUTPUTS:
                    message = collector.wait_for_stamp(topic, stamp_ns, LIMIT_S)
                    self.assertIsNotNone(message, f'{topic} misses {stamp_ns}')
                    self.assertEqual(message.header.frame_id, 'camera_left_optical_frame')
            rate_hz = NUM_PAIRS / (time.monotonic() - start_s)
            self.assertGreater(rate_hz, 0.2)
            self.assertEqual(collector.repeated('depth/image'), 0)
            names = {name for name, _ in sensors.topic_names()}
            for topic in ('depth/image', 'depth/camera_info', 'disparity', 'points'):
                self.assertIn(f'{NAMESPACE}/{topic}', names)


def _after_shutdown():
    """Make the test of the exit codes where launch_testing is installed."""
    import launch_testing

    @launch_testing.post_shutdown_test()
    class TestEnd(unittest.TestCase):
        """After the launch has been interrupted."""

        def test_the_node_ended_with_exit_code_0(self, proc_info):
            """Interrupted, it still ends cleanly."""
            launch_testing.asserts.assertExitCodes(proc_info)
    return TestEnd


TestEnd = _after_shutdown()
