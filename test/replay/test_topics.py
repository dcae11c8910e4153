# SPDX-License-Identifier: Apache-2.0
"""A stereo pair is found by the baseline in CameraInfo, else one camera, by any name."""
from crossview_ros.errors import MessageError
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.topics import cameras_of, find_input_topics, stereo_pairs
import numpy as np
import pytest

BLANK = np.zeros((32, 48), np.uint8)


def add_camera(bag, namespace, p3=0.0, images=('image_rect',), count=1, fx=100.0):
    """Write a camera with some image topics."""
    for index in range(count):
        bag.info(f'{namespace}/camera_info', index * 10**8, p3, fx=fx)
        for name in images:
            bag.image(f'{namespace}/{name}', index * 10**8, BLANK, 'mono8')


def test_pair_is_found_by_baseline_with_unusual_names(make_bag):
    with make_bag() as bag:
        add_camera(bag, '/rig/alpha')
        add_camera(bag, '/rig/beta', p3=-20.0)
        add_camera(bag, '/other', fx=50.0)
    with Bag(bag.folder) as opened:
        topics = find_input_topics(opened)
    assert (topics.left.image, topics.right.image) == ('/rig/alpha/image_rect',
                                                       '/rig/beta/image_rect')
    assert (topics.left.info, topics.right.info) == ('/rig/alpha/camera_info',
                                                     '/rig/beta/camera_info')
    assert topics.cloud is None


def test_rectified_colour_is_preferred_and_depth_is_no_image(make_bag):
    with make_bag() as bag:
        add_camera(bag, '/left', images=('image_raw', 'image_rect', 'image_rect_color',
                                         'depth_rect'))
        add_camera(bag, '/right', p3=-20.0, images=('image_raw',))
    with Bag(bag.folder) as opened:
        topics = find_input_topics(opened)
    assert topics.left.image == '/left/image_rect_color'
    assert topics.right.image == '/right/image_raw'


def test_the_pair_with_most_images_is_taken(make_bag):
    with make_bag() as bag:
        for name, count in (('/front', 2), ('/rear', 3)):
            add_camera(bag, f'{name}/left', count=count)
            add_camera(bag, f'{name}/right', p3=-20.0, count=count)
    with Bag(bag.folder) as opened:
        pairs = stereo_pairs(opened)
        assert find_input_topics(opened).left.image == '/rear/left/image_rect'
    assert [(left.image, right.image) for left, right in pairs] == [
        ('/rear/left/image_rect', '/rear/right/image_rect'),
        ('/front/left/image_rect', '/front/right/image_rect')]


def test_names_decide_where_no_camera_info_has_a_baseline(make_bag):
    with make_bag() as bag:
        add_camera(bag, '/cam/infra1')
        add_camera(bag, '/cam/infra2')
        add_camera(bag, '/cam/color')
    with Bag(bag.folder) as opened:
        topics = find_input_topics(opened)
    assert (topics.left.image, topics.right.image) == ('/cam/infra1/image_rect',
                                                       '/cam/infra2/image_rect')


def test_without_a_pair_it_is_the_camera_with_most_images(make_bag):
    with make_bag() as bag:
        add_camera(bag, '/a', count=1)
        add_camera(bag, '/b', count=3)
    with Bag(bag.folder) as opened:
        topics = find_input_topics(opened)
    assert (topics.left.image, topics.right, topics.mode) == ('/b/image_rect', None, 'sequential')
    assert topics.names == ['/b/image_rect', '/b/camera_info']
    assert topics.described == 'one camera, /b/image_rect'


def test_of_equal_cameras_the_front_one_is_taken(make_bag):
    with make_bag() as bag:
        for name in ('/CAM_BACK', '/CAM_FRONT_LEFT', '/CAM_FRONT'):
            add_camera(bag, name)
    with Bag(bag.folder) as opened:
        assert find_input_topics(opened).left.image == '/CAM_FRONT/image_rect'


def test_a_bag_without_images_or_calibration_says_what_it_holds(make_bag):
    with make_bag('infos') as bag:
        bag.info('/mono/camera_info', 0)
    with Bag(bag.folder) as opened:
        with pytest.raises(MessageError, match='holds no images; its topics: /mono/camera_info'):
            find_input_topics(opened)
    with make_bag('images') as bag:
        bag.image('/mono/image_rect', 0, BLANK, 'mono8')
    with Bag(bag.folder) as opened:
        with pytest.raises(MessageError, match='no camera_info beside the images /mono/image'):
            find_input_topics(opened)


def test_named_topics_override_the_choice(make_bag):
    with make_bag() as bag:
        for name in ('/front', '/rear'):
            add_camera(bag, f'{name}/left')
            add_camera(bag, f'{name}/right', p3=-20.0)
    with Bag(bag.folder) as opened:
        topics = find_input_topics(opened, '/rear/left/image_rect', '/rear/right/image_rect')
        assert topics.left.info == '/rear/left/camera_info'
        alone = find_input_topics(opened, left='/rear/left/image_rect')
        assert alone.right is None and alone.mode == 'sequential'
        with pytest.raises(MessageError, match='name the left too'):
            find_input_topics(opened, right='/rear/right/image_rect')
        with pytest.raises(MessageError, match='no topic'):
            find_input_topics(opened, '/x', '/rear/right/image_rect')
        with pytest.raises(MessageError, match='CameraInfo, no image'):
            find_input_topics(opened, '/rear/left/camera_info', '/rear/right/image_rect')
        with pytest.raises(MessageError, match='no topic'):
            find_input_topics(opened, cloud='/points')


def test_image_without_camera_info_is_refused(make_bag):
    with make_bag() as bag:
        bag.image('/lonely/image_rect', 0, BLANK, 'mono8')
        add_camera(bag, '/right', p3=-20.0)
    with Bag(bag.folder) as opened:
        with pytest.raises(MessageError, match="expected '/lonely/camera_info'"):
            find_input_topics(opened, '/lonely/image_rect', '/right/image_rect')


def test_raw_images_with_lens_distortion_are_known(make_bag):
    with make_bag() as bag:
        add_camera(bag, '/left', images=('image_raw',))
    with Bag(bag.folder) as opened:
        camera, = cameras_of(opened)
    assert not camera.distorted   # d is all zero: the driver has rectified
    camera.camera_info.d = np.array([-0.3, 0.1, 0.0, 0.0, 0.0])
    assert camera.distorted


@pytest.mark.parametrize(('name', 'left', 'right'), [
    ('kitti_raw_residential_a', '/stereo/left/image_rect', '/stereo/right/image_rect'),
    ('middlebury_motorcycle', '/stereo/left/image_rect_color', '/stereo/right/image_rect_color'),
    ('euroc_v101_static_a', '/cam0/image_raw', '/cam1/image_raw')])
def test_pairs_of_recorded_bags(shared_dir, name, left, right):
    with Bag(shared_dir / 'data' / 'bags' / name) as bag:
        topics = find_input_topics(bag)
    assert (topics.left.image, topics.right.image) == (left, right)


@pytest.mark.parametrize(('name', 'image'), [
    ('kitti00_mini', '/camera/image_rect'), ('tum_fr1_desk', '/camera/rgb/image_color'),
    ('kitti_object_000007', '/camera/image_rect_color'),
    ('nuscenes_n015', '/CAM_FRONT/image_raw/compressed')])
def test_camera_of_recorded_bags_without_a_pair(shared_dir, name, image):
    with Bag(shared_dir / 'data' / 'bags' / name) as bag:
        topics = find_input_topics(bag)
    assert (topics.left.image, topics.right) == (image, None)
