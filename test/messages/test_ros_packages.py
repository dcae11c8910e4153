# SPDX-License-Identifier: Apache-2.0
"""Our conversions give the arrays that cv_bridge and sensor_msgs_py give, where these exist."""
from crossview_ros.messages.image import read_image, write_image
from crossview_ros.messages.point_cloud2 import read_points, write_cloud
import numpy as np
import pytest

pytestmark = pytest.mark.ros


@pytest.mark.parametrize('encoding, channels', [('mono8', ()), ('rgb8', (3,)), ('bgr8', (3,)),
                                                ('rgba8', (4,)), ('bgra8', (4,))])
def test_colour_is_that_of_cv_bridge(rng, encoding, channels):
    cv_bridge = pytest.importorskip('cv_bridge')
    from sensor_msgs.msg import Image
    values = rng.integers(0, 256, (8, 10, *channels), dtype=np.uint8)
    message = write_image(Image(), values, encoding, 0, 'camera')
    expected = cv_bridge.CvBridge().imgmsg_to_cv2(message, desired_encoding='rgb8')
    np.testing.assert_array_equal(read_image(message), expected)


def test_points_are_those_of_sensor_msgs_py(rng):
    point_cloud2 = pytest.importorskip('sensor_msgs_py.point_cloud2')
    from sensor_msgs.msg import PointCloud2
    points = rng.normal(size=(50, 3)).astype(np.float32)
    points[::7] = np.nan
    message = write_cloud(PointCloud2(), points, stamp_ns=0, frame_id='lidar')
    expected = point_cloud2.read_points_numpy(message, ['x', 'y', 'z'], skip_nans=True)
    np.testing.assert_array_equal(read_points(message), expected)
    theirs = point_cloud2.create_cloud_xyz32(message.header, points)
    assert (theirs.fields, theirs.point_step, bytes(theirs.data)) == (
        message.fields, message.point_step, bytes(message.data))
