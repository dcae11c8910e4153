# SPDX-License-Identifier: Apache-2.0
"""Which topics an operating mode listens to; knows nothing of ROS."""

LEFT_IMAGE, LEFT_INFO = 'left_image', 'left_info'
RIGHT_IMAGE, RIGHT_INFO = 'right_image', 'right_info'
IMAGE, INFO = 'image', 'info'

# mode -> stream -> (relative topic, message of sensor_msgs); the first stream's stamp leads
TOPICS = {
    'stereo': {
        LEFT_IMAGE: ('left/image_rect', 'Image'),
        LEFT_INFO: ('left/camera_info', 'CameraInfo'),
        RIGHT_IMAGE: ('right/image_rect', 'Image'),
        RIGHT_INFO: ('right/camera_info', 'CameraInfo'),
    },
    'sequential': {
        IMAGE: ('image_rect', 'Image'),
        INFO: ('camera_info', 'CameraInfo'),
    },
}


def streams(mode: str, image_transport: str) -> dict[str, tuple[str, str]]:
    """
    Return what to subscribe to.

    :param mode: 'stereo' or 'sequential'.
    :param image_transport: 'raw', or 'compressed' for <image topic>/compressed.
    :return: Stream -> (relative topic, name of the message in sensor_msgs).
    """
    compressed = image_transport == 'compressed'
    return {stream: (f'{topic}/compressed', 'CompressedImage')
            if compressed and kind == 'Image' else (topic, kind)
            for stream, (topic, kind) in TOPICS[mode].items()}
