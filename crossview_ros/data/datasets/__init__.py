# SPDX-License-Identifier: Apache-2.0
"""Public data sets in their official layouts on disk, each a sequence of samples."""
from crossview_ros.data.datasets.booster import booster
from crossview_ros.data.datasets.crestereo import crestereo
from crossview_ros.data.datasets.eth3d import eth3d
from crossview_ros.data.datasets.euroc import euroc
from crossview_ros.data.datasets.flying_chairs import flying_chairs
from crossview_ros.data.datasets.image_pairs import habitat_pairs, listed_pairs
from crossview_ros.data.datasets.kitti_depth import kitti_depth
from crossview_ros.data.datasets.kitti_drives import kitti_odometry, kitti_raw
from crossview_ros.data.datasets.kitti_matching import (
    kitti_2012_flow, kitti_2012_stereo, kitti_2015_flow, kitti_2015_stereo)
from crossview_ros.data.datasets.kitti_object import kitti_object
from crossview_ros.data.datasets.listed_depth import listed_depth
from crossview_ros.data.datasets.middlebury import (
    middlebury_2005, middlebury_2006, middlebury_2014, middlebury_2021, middlebury_eval3)
from crossview_ros.data.datasets.nuscenes import nuscenes
from crossview_ros.data.datasets.nyuv2 import nyuv2
from crossview_ros.data.datasets.sceneflow import flying_things_flow, sceneflow
from crossview_ros.data.datasets.sintel import sintel_flow, sintel_stereo
from crossview_ros.data.datasets.spring import spring_flow, spring_stereo
from crossview_ros.data.datasets.tartanair import (
    tartanair_depth, tartanair_flow, tartanair_stereo)
from crossview_ros.data.datasets.tum_rgbd import tum_rgbd

# name -> opener (root, split, *, skip_damaged, ...) of a FileDataset
DATASETS = {
    # StereoSample
    'booster': booster, 'crestereo': crestereo, 'eth3d': eth3d,
    'kitti_2012_stereo': kitti_2012_stereo, 'kitti_2015_stereo': kitti_2015_stereo,
    'middlebury_2005': middlebury_2005, 'middlebury_2006': middlebury_2006,
    'middlebury_2014': middlebury_2014, 'middlebury_2021': middlebury_2021,
    'middlebury_eval3': middlebury_eval3, 'sceneflow': sceneflow, 'sintel_stereo': sintel_stereo,
    'spring_stereo': spring_stereo, 'tartanair_stereo': tartanair_stereo,
    # FlowSample
    'flying_chairs': flying_chairs, 'flying_things_flow': flying_things_flow,
    'kitti_2012_flow': kitti_2012_flow, 'kitti_2015_flow': kitti_2015_flow,
    'sintel_flow': sintel_flow, 'spring_flow': spring_flow, 'tartanair_flow': tartanair_flow,
    # DepthSample
    'kitti_depth': kitti_depth, 'listed_depth': listed_depth, 'nyuv2': nyuv2,
    'tartanair_depth': tartanair_depth, 'tum_rgbd': tum_rgbd,
    # FrameSample
    'euroc': euroc, 'kitti_odometry': kitti_odometry, 'kitti_raw': kitti_raw,
    # ImagePointSample
    'kitti_object': kitti_object, 'nuscenes': nuscenes,
    # PairSample
    'habitat_pairs': habitat_pairs, 'listed_pairs': listed_pairs,
}
