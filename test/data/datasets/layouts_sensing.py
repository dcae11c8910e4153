# SPDX-License-Identifier: Apache-2.0
"""Write tiny depth, stereo sequence, LiDAR and view pair data sets in their official layouts."""
import json

from crossview_ros.data import io
from crossview_ros.data.samples import DepthSample, FrameSample, ImagePointSample, PairSample
from layout import Layout, save
from layouts_matching import P_LEFT, P_RIGHT
import numpy as np
from textured_pairs import disparity_truth, SIZE_HW, stereo_pair, texture

VGA = (480, 640)
DEPTH_M = 2.5
# one LiDAR point (x forward, y left, z up) and where a camera at the same place has it
POINT_LIDAR = (10.0, 2.0, -1.0, 0.5)
POINT_OPTICAL = (-2.0, 1.0, 10.0)
LIDAR_TO_OPTICAL = '0 -1 0 0 0 -1 1 0 0'   # rotation, rows
# the left camera of P_LEFT is at x = -4 / 100 m in the rectified frame: points move by +0.04 m
SHIFT_LEFT = 0.04


def kitti_depth(root):
    for k in range(2):
        image = texture(k, SIZE_HW)
        drive = f'2011_09_26_drive_000{k}_sync'
        save(root / f'raw/2011_09_26/{drive}/image_02/data/0000000005.png', image)
        save(root / f'{("train", "val")[k]}/{drive}/proj_depth/groundtruth/image_02/'
             '0000000005.png', depth_truth(SIZE_HW), io.write_scaled_png)
        selected = root / 'depth_selection/val_selection_cropped'
        stem = '{}_sync_{}_000000000' + str(k) + '_image_02'
        save(selected / 'image' / (stem.format('2011_09_26_drive_0002', 'image') + '.png'), image)
        save(selected / 'groundtruth_depth'
             / (stem.format('2011_09_26_drive_0002', 'groundtruth_depth') + '.png'),
             depth_truth(SIZE_HW), io.write_scaled_png)
        save(selected / 'intrinsics' / (stem.format('2011_09_26_drive_0002', 'image') + '.txt'),
             '100 0 31 0 100 23 0 0 1')
    save(root / 'raw/2011_09_26/calib_cam_to_cam.txt', f'P_rect_02: {P_LEFT}\n')
    return Layout(DepthSample, {'selection': 2, 'train': 1, 'val': 1},
                  'depth_selection/val_selection_cropped/groundtruth_depth/'
                  '2011_09_26_drive_0002_sync_groundtruth_depth_0000000001_image_02.png',
                  rig=(100, None), options={'raw_root': root / 'raw'},
                  truth={'depth': depth_truth(SIZE_HW)})


def listed_depth(root):
    lines = []
    for k in range(2):
        save(root / f'drive{k}/image_02/data/0000000005.png', texture(k, SIZE_HW))
        save(root / f'drive{k}/groundtruth/0000000005.png', depth_truth(SIZE_HW),
             io.write_scaled_png)
        lines.append(f'/drive{k}/image_02/data/0000000005.png '
                     f'drive{k}/groundtruth/0000000005.png 721.5')
    lines.append('/drive2/image_02/data/0000000005.png None 721.5')
    for split in ('train', 'test', 'eigen_train', 'eigen_test'):
        save(root / f'{split}.txt', '\n'.join(lines))
    return Layout(DepthSample, {'train': 2, 'test': 2}, 'drive1/groundtruth/0000000005.png',
                  rig=(721.5, None), truth={'depth': depth_truth(SIZE_HW)})


def depth_truth(size_hw):
    return disparity_truth(size_hw, DEPTH_M)


def nyuv2(root):
    import h5py
    from scipy.io import savemat
    root.mkdir(parents=True, exist_ok=True)
    images = np.stack([texture(k, VGA) for k in range(3)])
    depths = np.stack([np.nan_to_num(depth_truth(VGA))] * 3)
    with h5py.File(root / 'nyu_depth_v2_labeled.mat', 'w') as file:
        file['images'] = images.transpose(0, 3, 2, 1)    # (N, 3, W, H)
        file['depths'] = depths.transpose(0, 2, 1)       # (N, W, H)
        file['rawDepths'] = 0 * depths.transpose(0, 2, 1)
    savemat(root / 'splits.mat', {'trainNdxs': np.array([[1], [3]]), 'testNdxs': np.array([[2]])})
    return Layout(DepthSample, {'train': 2, 'test': 1, 'all': 3}, '', rig=(518.8579, None),
                  truth={'depth': depth_truth(VGA), 'image': texture(0, VGA)})


def tartanair_depth(root):
    folder = root / 'office/Hard/P001'
    for k in range(2):
        save(folder / f'image_left/00000{k}_left.png', texture(k, VGA))
        save(folder / f'depth_left/00000{k}_left_depth.npy', np.nan_to_num(depth_truth(VGA)),
             np.save)
    save(folder / 'pose_left.txt', '1 2 3 0 0 0 1\n1 2 3 0 0 0 1\n')
    pose = np.array([[0, 0, 1, 1], [1, 0, 0, 2], [0, 1, 0, 3], [0, 0, 0, 1]], float)
    return Layout(DepthSample, {'all': 2, 'hard': 2},
                  'office/Hard/P001/depth_left/000001_left_depth.npy', rig=(320, None),
                  truth={'depth': depth_truth(VGA), 'T_world_camera': pose})


def tum_rgbd(root):
    folder = root / 'rgbd_dataset_freiburg3_desk'     # freiburg3 images are undistorted
    lists = {'rgb': '# color images\n', 'depth': '# depth maps\n'}
    for k in range(2):
        names = {'rgb': f'1305031453.{k}00000', 'depth': f'1305031453.{k}15000'}
        save(folder / f'rgb/{names["rgb"]}.png', texture(k, VGA))
        save(folder / f'depth/{names["depth"]}.png', depth_truth(VGA),
             lambda path, depth: io.write_scaled_png(path, depth, 5000))
        for kind, name in names.items():
            lists[kind] += f'{name} {kind}/{name}.png\n'
    lists['rgb'] += '1305031453.900000 rgb/without_depth.png\n'
    for kind, text in lists.items():
        save(folder / f'{kind}.txt', text)
    save(folder / 'groundtruth.txt', '# timestamp tx ty tz qx qy qz qw\n'
         '1305031452.9500 1 0 0 0 0 0 1\n1305031453.0500 3 0 0 0 0 0 1\n'
         '1305031453.0900 3 0 0 0 0 0 1\n')
    pose = np.eye(4)
    pose[0, 3] = 2.0       # half way between the poses around
    return Layout(DepthSample, {'all': 2}, f'{folder.name}/depth/1305031453.115000.png',
                  rig=(535.4, None),
                  truth={'depth': depth_truth(VGA), 'T_world_camera': pose,
                         'stamp_ns': 1305031453_000_000_000})


def kitti_raw(root):
    date = root / '2011_09_26'
    drive = date / '2011_09_26_drive_0001_sync'
    for k in range(2):
        save(drive / f'velodyne_points/data/000000000{k}.bin', np.array([POINT_LIDAR]), _points)
        # 1e-5 deg of longitude at the equator, east; yaw 0 looks east
        save(drive / f'oxts/data/000000000{k}.txt', f'0 {k}e-5 5 0 0 0 9 9 9\n')
        for side, image in zip(('02', '03'), stereo_pair(k)):
            save(drive / f'image_{side}/data/000000000{k}.png', image)
    save(drive / 'image_02/timestamps.txt',
         '1970-01-01 00:00:01.000000005\n1970-01-01 00:00:01.100000000\n')
    save(date / 'calib_cam_to_cam.txt', 'calib_time: 09-Jan-2012 13:57:47\n'
         f'R_rect_00: 1 0 0 0 1 0 0 0 1\nP_rect_02: {P_LEFT}\nP_rect_03: {P_RIGHT}\n')
    save(date / 'calib_velo_to_cam.txt', f'R: {LIDAR_TO_OPTICAL}\nT: 0 0 0\n')
    save(date / 'calib_imu_to_velo.txt', 'R: 1 0 0 0 1 0 0 0 1\nT: 0 0 0\n')
    return Layout(FrameSample, {'all': 2},
                  '2011_09_26/2011_09_26_drive_0001_sync/velodyne_points/data/0000000001.bin',
                  rig=(100, 0.5),
                  truth={'points': _in_left_camera(), 'T_world_camera': np.eye(4),
                         'stamp_ns': 1_000_000_005})


def kitti_odometry(root):
    for sequence in ('00', '11'):
        folder = root / 'sequences' / sequence
        for k in range(2):
            save(folder / f'velodyne/00000{k}.bin', np.array([POINT_LIDAR]), _points)
            for side, image in zip((2, 3), stereo_pair(k)):
                save(folder / f'image_{side}/00000{k}.png', image)
        save(folder / 'calib.txt', f'P0: {P_LEFT}\nP2: {P_LEFT}\nP3: {P_RIGHT}\n'
             'Tr: 0 -1 0 0 0 0 -1 0 1 0 0 0\n')
        save(folder / 'times.txt', '0.5\n0.6\n')
    save(root / 'poses/00.txt', '1 0 0 7 0 1 0 0 0 0 1 0\n' * 2)
    pose = np.eye(4)
    pose[0, 3] = 7 - SHIFT_LEFT
    return Layout(FrameSample, {'train': 2, 'test': 2}, 'sequences/00/image_3/000001.png',
                  rig=(100, 0.5), truth={'points': _in_left_camera(), 'T_world_camera': pose,
                                         'stamp_ns': 500_000_000})


def _points(path, points):
    path.write_bytes(points.astype('<f4').tobytes())


def _in_left_camera():
    return np.array([POINT_OPTICAL]) + (SHIFT_LEFT, 0, 0)


def euroc(root):
    folder = root / 'V1_01_easy/mav0'
    stamps = (1403715273262142976, 1403715273312143104)
    for camera, x_m in (('cam0', 0.0), ('cam1', 0.11)):
        lines = '#timestamp [ns],filename\n'
        for k, stamp in enumerate(stamps):
            image = stereo_pair(k)[int(camera[-1])]
            save(folder / camera / f'data/{stamp}.png', image)
            lines += f'{stamp},{stamp}.png\r\n'
        save(folder / camera / 'data.csv', lines)
        save(folder / camera / 'sensor.yaml', '#General sensor definitions.\n'
             'sensor_type: camera\n\nT_BS:\n  cols: 4\n  rows: 4\n'
             f'  data: [1.0, 0, 0, {x_m}, 0, 1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0]\n'
             'rate_hz: 20\nresolution: [64, 48]\ncamera_model: pinhole\n'
             'intrinsics: [100.0, 100.0, 31.0, 23.0]\n'
             'distortion_model: radial-tangential\ndistortion_coefficients: [0, 0, 0, 0]\n')
    save(folder / 'state_groundtruth_estimate0/data.csv',
         '#timestamp, p_RS_R_x [m], ...\n' + ''.join(
             f'{stamp},1,2,3,1,0,0,0' + ',0' * 9 + '\n' for stamp in stamps))
    pose = np.eye(4)
    pose[:3, 3] = 1, 2, 3
    return Layout(FrameSample, {'all': 2}, f'V1_01_easy/mav0/cam1/data/{stamps[1]}.png',
                  rig=(None, 0.11), truth={'T_world_camera': pose, 'stamp_ns': stamps[0]})


def nuscenes(root):
    for version, scenes in (('v1.0-mini', ('scene-0061', 'scene-0103')),
                            ('v1.0-trainval', ('scene-0001',))):
        _nuscenes_tables(root, version, scenes)
    # the car moves 2 m along x between scan and image: the point is that much nearer
    near = np.array([POINT_OPTICAL]) - (0, 0, 2)
    return Layout(ImagePointSample, {'mini': 2, 'mini_train': 1, 'mini_val': 1, 'trainval': 1},
                  'samples/LIDAR_TOP/scene-0103.pcd.bin', rig=(100, None),
                  options={'cameras': ('CAM_FRONT',)}, truth={'points': near})


def kitti_object(root):
    for split, numbers in (('training', ('000000', '000003')), ('testing', ('000001',))):
        for k, number in enumerate(numbers):
            folder = root / split
            save(folder / f'image_2/{number}.png', texture(k, SIZE_HW))
            save(folder / f'velodyne/{number}.bin', np.array([POINT_LIDAR]), _points)
            rotation = LIDAR_TO_OPTICAL.split()
            rows = ' '.join(' '.join((*rotation[3 * i:3 * i + 3], '0')) for i in range(3))
            save(folder / f'calib/{number}.txt', f'P2: {P_LEFT}\nR0_rect: 1 0 0 0 1 0 0 0 1\n'
                 f'Tr_velo_to_cam: {rows}\n')
    for split, numbers in (('train', '000003'), ('val', '000000'), ('test', '000001'),
                           ('trainval', '000000\n000003')):
        save(root / f'ImageSets/{split}.txt', f'{numbers}\n')
    return Layout(ImagePointSample, {'trainval': 2, 'train': 1, 'val': 1, 'test': 1},
                  'training/velodyne/000003.bin', rig=(100, None),
                  truth={'points': np.array([POINT_OPTICAL]) + (SHIFT_LEFT, 0, 0),
                         'reflectance': np.array([POINT_LIDAR[3]])})


def _nuscenes_tables(root, version, scenes):
    still = {'rotation': [1, 0, 0, 0], 'translation': [0, 0, 0]}
    optical = [0.5, -0.5, 0.5, -0.5]   # w x y z: x right, y down, z forward in the car's frame
    tables = {
        'sensor': [{'token': 'l', 'channel': 'LIDAR_TOP'}, {'token': 'c', 'channel': 'CAM_FRONT'}],
        'calibrated_sensor': [
            {'token': 'ml', 'sensor_token': 'l', **still, 'camera_intrinsic': []},
            {'token': 'mc', 'sensor_token': 'c', 'translation': [0, 0, 0], 'rotation': optical,
             'camera_intrinsic': [[100, 0, 31], [0, 100, 23], [0, 0, 1]]}],
        'ego_pose': [{'token': 'p0', **still}, {'token': 'p1', **still, 'translation': [2, 0, 0]}],
        'scene': [], 'sample': [], 'sample_data': []}
    for k, scene in enumerate(scenes):
        save(root / f'samples/CAM_FRONT/{scene}.jpg', texture(k, SIZE_HW))
        save(root / f'samples/LIDAR_TOP/{scene}.pcd.bin', np.array([(*POINT_LIDAR, 3)]), _points)
        tables['scene'].append({'token': f's{k}', 'name': scene})
        tables['sample'].append({'token': f'k{k}', 'scene_token': f's{k}'})
        for mount, pose, name in (('ml', 'p0', f'LIDAR_TOP/{scene}.pcd.bin'),
                                  ('mc', 'p1', f'CAM_FRONT/{scene}.jpg')):
            row = {'sample_token': f'k{k}', 'ego_pose_token': pose,
                   'calibrated_sensor_token': mount}
            tables['sample_data'] += [
                {'token': f'{mount}{k}', **row, 'is_key_frame': True,
                 'filename': f'samples/{name}'},
                {'token': f'{mount}{k}s', **row, 'is_key_frame': False,
                 'filename': f'sweeps/{name}'}]
    for name, rows in tables.items():
        save(root / version / f'{name}.json', json.dumps(rows))


def habitat_pairs(root):
    for scene in ('hm3d/train/00001-abc', 'hm3d/val/00800-def'):
        for k in range(2):
            target, reference = stereo_pair(k)
            save(root / scene / f'0000000{k}_1.jpeg', target)
            save(root / scene / f'0000000{k}_2.jpeg', reference)
    return Layout(PairSample, {'train': 2, 'val': 2}, 'hm3d/train/00001-abc/00000001_2.jpeg')


def listed_pairs(root):
    for k in range(2):
        target, reference = stereo_pair(k)
        save(root / f'scene/crop{k}_1.jpg', target)
        save(root / f'scene/crop{k}_2.jpg', reference)
    save(root / 'scene/not_listed_1.jpg', target)
    save(root / 'listing.txt', 'scene/crop0\nscene/crop1\n')
    return Layout(PairSample, {'train': 2}, 'scene/crop1_1.jpg')


SENSING_LAYOUTS = {write.__name__: write for write in (
    euroc, habitat_pairs, kitti_depth, kitti_object, kitti_odometry, kitti_raw, listed_depth,
    listed_pairs, nuscenes, nyuv2, tartanair_depth, tum_rgbd)}
