# SPDX-License-Identifier: Apache-2.0
"""
The readers on real files: what they read explains the images, as the reference data's table says.

The shared files are linked into the official layouts; formats are the data sets' own.
"""
import json

from crossview_ros.data import io
from crossview_ros.data.datasets import DATASETS
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.flow import static_flow, warp_by_disparity, warp_image
from crossview_ros.geometry.projection import points_to_depth_image, project_points
from crossview_ros.geometry.se3 import invert
from crossview_ros.geometry.stereo import disparity_to_depth
import cv2
from layout import save
import numpy as np
import pytest

STEREO_TABLE = {   # photo: truth, zero, negated; share of the truth that is known
    'motorcycle': ((7.67, 39.5, 47.14), 0.927),
    'kitti00_000000': ((6.6, 25.09, 32.49), 0.038)}


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def photo(image, warped):
    return float(np.nanmean(np.abs(image - warped)))


def photos_of_signs(image, warp):
    """Return the difference that the truth leaves, nothing, and the negated truth."""
    return [photo(image, warp(sign)) for sign in (1, 0, -1)]


def check_stereo(sample, name):
    photos, known = STEREO_TABLE[name]
    found = photos_of_signs(
        sample.left, lambda sign: warp_by_disparity(sample.right, sign * sample.disparity))

    # the table's tool may have treated borders otherwise: 3 % covers that, no sign or scale error
    np.testing.assert_allclose(found, photos, rtol=0.03)
    assert np.isfinite(sample.disparity).mean() == pytest.approx(known, abs=1e-3)


def test_middlebury_2014_motorcycle(tmp_path, shared_dir):
    source = shared_dir / 'data/stereo/motorcycle'
    scene = tmp_path / 'Motorcycle-perfect'
    for name, target in (('im0.png', 'left.png'), ('im1.png', 'right.png'),
                         ('disp0.pfm', 'disp_gt.pfm')):
        link(scene / name, source / target)
    values = json.loads((source / 'calib.json').read_text())
    rows = [f'[{values["fx"]} 0 {values[cx]}; 0 {values["fy"]} {values["cy"]}; 0 0 1]'
            for cx in ('cx_left', 'cx_right')]
    save(scene / 'calib.txt', f'cam0={rows[0]}\ncam1={rows[1]}\ndoffs={values["doffs"]}\n'
         f'baseline={1000 * values["baseline_m"]}\nwidth=741\nheight=500\n')

    sample = DATASETS['middlebury_2014'](tmp_path)[0]

    check_stereo(sample, 'motorcycle')
    depth = disparity_to_depth(sample.disparity, sample.rig)
    found = [np.nanmin(depth), np.nanmedian(depth), np.nanmax(depth)]
    np.testing.assert_allclose(found, [2.11, 2.75, 5.02], atol=0.01)


def test_kitti_2015_stereo(tmp_path, shared_dir):
    source = shared_dir / 'data/stereo/kitti00_000000'
    folder = tmp_path / 'training'
    for name, target in (('image_2', 'left'), ('image_3', 'right'), ('disp_occ_0', 'disp_gt')):
        link(folder / name / '000000_10.png', source / f'{target}.png')

    check_stereo(DATASETS['kitti_2015_stereo'](tmp_path)[0], 'kitti00_000000')


def test_flo_files_in_sintels_layout(tmp_path, shared_dir):
    source = shared_dir / 'data/flow/rubberwhale'
    for k in (1, 2):
        link(tmp_path / f'training/clean/whale/frame_000{k}.png', source / f'frame{k}.png')
    link(tmp_path / 'training/flow/whale/frame_0001.flo', source / 'flow_gt.flo')

    sample = DATASETS['sintel_flow'](tmp_path, passes=['clean'])[0]
    found = photos_of_signs(sample.image1, lambda sign: warp_image(sample.image2,
                                                                   sign * sample.flow))

    np.testing.assert_allclose(found, (1.38, 5.71, 8.5), rtol=0.03)
    assert np.isfinite(sample.flow).all(-1).mean() == pytest.approx(0.984, abs=1e-3)
    length = np.linalg.norm(sample.flow, axis=-1)
    np.testing.assert_allclose([np.nanmean(length), np.nanmax(length)], [1.26, 4.62], atol=0.01)


def test_kitti_odometry_poses_explain_the_next_image(tmp_path, shared_dir):
    source = shared_dir / 'data/sequence/kitti_raw_residential_a'
    folder = tmp_path / 'sequences/00'
    for k in range(20, 24):
        for camera, side in ((0, 'left'), (1, 'right')):
            link(folder / f'image_{camera}/{k - 20:06}.png', source / side / f'{k:06}.png')
    values = json.loads((source / 'calib.json').read_text())
    k_row = f'{values["fx"]} 0 {values["cx"]} {{}} 0 {values["fy"]} {values["cy"]} 0 0 0 1 0\n'
    shift = -values['fx'] * values['baseline_m']
    save(folder / 'calib.txt', f'P0: {k_row.format(0)}P1: {k_row.format(shift)}'
         'Tr: 0 -1 0 0 0 0 -1 0 1 0 0 0\n')
    for name, target in (('sequences/00/times.txt', 'times.txt'),
                         ('poses/00.txt', 'poses_kitti.txt')):
        lines = (source / target).read_text().splitlines()[20:24]
        save(tmp_path / name, '\n'.join(lines) + '\n')

    dataset = DATASETS['kitti_odometry'](tmp_path, cameras='grey')
    photos = [photos_by_pose(dataset[k], dataset[k + 1]) for k in range(3)]

    truth, identity, inverse = np.mean(photos, axis=0)
    assert truth < 0.5 * identity < 0.5 * inverse   # table: 9.15 / 26.82 / 34.81
    assert np.diff([frame.stamp_ns for frame in dataset]) == pytest.approx(103e6, rel=0.05)


def photos_by_pose(frame, later):
    """Warp the later left image by depth and pose, by nothing, and by the inverse pose."""
    matcher = cv2.StereoSGBM_create(0, 64, 5, 200, 800, uniquenessRatio=10,
                                    mode=cv2.STEREO_SGBM_MODE_HH)
    disparity = matcher.compute(frame.left, frame.right).astype(np.float32) / 16
    depth = disparity_to_depth(np.where(disparity > 0, disparity, np.nan), frame.rig)
    T_later_frame = invert(later.T_world_camera) @ frame.T_world_camera
    return photos_of_motion(frame.left, later.left, depth, frame.rig.left, T_later_frame)


def photos_of_motion(image, later, depth, camera, T_later_this):
    return [photo(image, warp_image(later, static_flow(depth, camera, T)[0]))
            for T in (T_later_this, np.eye(4), invert(T_later_this))]


def test_tum_depth_and_poses_explain_later_images(tmp_path, shared_dir):
    source = shared_dir / 'data/rgbd/tum_fr1_desk'
    folder = tmp_path / 'rgbd_dataset_freiburg1_desk'
    words = [line.split() for line in (source / 'associate.txt').read_text().splitlines()]
    for column, kind in ((0, 'rgb'), (2, 'depth')):
        link(folder / kind, source / kind)
        save(folder / f'{kind}.txt', ''.join(f'{row[column]} {row[column + 1]}\n'
                                             for row in words))
    link(folder / 'groundtruth.txt', source / 'groundtruth.txt')

    dataset = DATASETS['tum_rgbd'](tmp_path)
    photos = []
    for k in range(len(dataset) - 3):
        now, later = dataset[k], dataset[k + 3]
        photos.append(photos_of_motion(now.image, later.image, now.depth, now.camera,
                                       invert(later.T_world_camera) @ now.T_world_camera))

    assert len(dataset) == 9
    truth, identity, inverse = np.mean(photos, axis=0)
    assert truth < 10 and identity > 28 and inverse > 42   # table: 8.57 / 31.84 / 47.51


def test_kitti_points_fall_where_the_published_calibration_says(tmp_path, shared_dir):
    source = shared_dir / 'data/camera_lidar/kitti_object_000007'
    folder = tmp_path / 'sequences/00'
    link(folder / 'image_2/000000.png', source / 'image.png')
    link(folder / 'image_3/000000.png', source / 'image.png')   # the source has no right image
    link(folder / 'velodyne/000000.bin', source / 'points.bin')
    lines = dict(line.split(': ') for line in
                 (source / 'calib_kitti.txt').read_text().splitlines() if line)
    rectify = np.array(lines['R0_rect'].split(), float).reshape(3, 3)
    Tr = rectify @ np.array(lines['Tr_velo_to_cam'].split(), float).reshape(3, 4)
    save(folder / 'calib.txt', f'P2: {lines["P2"]}\nP3: {lines["P3"]}\n'
         f'Tr: {" ".join(map(str, Tr.ravel()))}\n')
    save(folder / 'times.txt', '0\n')
    save(tmp_path / 'poses/00.txt', '1 0 0 0 0 1 0 0 0 0 1 0\n')

    sample = DATASETS['kitti_odometry'](tmp_path)[0]

    assert len(sample.points) == 115236
    in_view = project_points(sample.points, sample.rig.left)[2]
    # the reference data's table counts whole pixels away from the border
    assert in_view.sum() == pytest.approx(18341, rel=5e-3)
    T = np.array(json.loads((source / 'calib.json').read_text())['T_cam_lidar'])
    raw = np.fromfile(source / 'points.bin', '<f4').reshape(-1, 4)[:, :3]
    np.testing.assert_allclose(sample.points, raw @ T[:3, :3].T + T[:3, 3], atol=1e-4)
    assert sample.rig.baseline == pytest.approx(0.5327, abs=1e-3)


def test_nuscenes_points_fall_into_each_camera(tmp_path, shared_dir):
    source = shared_dir / 'data/camera_lidar/nuscenes_n015'
    cameras = json.loads((source / 'calib.json').read_text())['cameras']
    still = {'rotation': [1, 0, 0, 0], 'translation': [0, 0, 0]}
    tables = {'scene': [{'token': 's', 'name': 'scene-0061'}],
              'sample': [{'token': 'k', 'scene_token': 's'}],
              'ego_pose': [{'token': 'p', **still}],
              'sensor': [], 'calibrated_sensor': [], 'sample_data': []}
    add_nuscenes_sensor(tables, 'LIDAR_TOP', 'LIDAR_TOP.pcd.bin', still, [])
    link(tmp_path / 'samples/LIDAR_TOP/LIDAR_TOP.pcd.bin', source / 'LIDAR_TOP.bin')
    for channel, values in cameras.items():
        T_lidar_camera = invert(np.array(values['T_cam_lidar']))
        mount = {'rotation': quat_wxyz(T_lidar_camera[:3, :3]),
                 'translation': T_lidar_camera[:3, 3].tolist()}
        add_nuscenes_sensor(tables, channel, f'{channel}.jpg', mount, values['K'])
        link(tmp_path / 'samples' / channel / f'{channel}.jpg', source / f'{channel}.jpg')
    for name, rows in tables.items():
        save(tmp_path / 'v1.0-mini' / f'{name}.json', json.dumps(rows))

    samples = {sample.name: sample for sample in DATASETS['nuscenes'](tmp_path, 'mini')}
    in_view = {name: int(project_points(sample.points, sample.camera)[2].sum())
               for name, sample in samples.items()}

    # the reference data's table; it counts points from some depth on
    table = {'CAM_FRONT': 3056, 'CAM_FRONT_RIGHT': 3076, 'CAM_FRONT_LEFT': 3700,
             'CAM_BACK': 4822, 'CAM_BACK_LEFT': 4091, 'CAM_BACK_RIGHT': 3370}
    assert in_view == pytest.approx(table, rel=0.02)


def add_nuscenes_sensor(tables, channel, file, mount, k):
    tables['sensor'].append({'token': channel, 'channel': channel})
    tables['calibrated_sensor'].append({'token': f'm{channel}', 'sensor_token': channel, **mount,
                                        'camera_intrinsic': k})
    tables['sample_data'].append({
        'token': f'd{channel}', 'sample_token': 'k', 'ego_pose_token': 'p', 'is_key_frame': True,
        'calibrated_sensor_token': f'm{channel}', 'filename': f'samples/{channel}/{file}'})


def quat_wxyz(rotation):
    axis_angle = cv2.Rodrigues(rotation)[0].ravel()
    angle = np.linalg.norm(axis_angle)
    return [np.cos(angle / 2), *(np.sin(angle / 2) * axis_angle / angle)]


def test_euroc_pairs_are_rectified_and_the_vehicle_stands(tmp_path, shared_dir):
    source = shared_dir / 'data/sequence/euroc_v101_static_a'
    folder = tmp_path / 'V1_01_easy/mav0'
    values = json.loads((source / 'calib.json').read_text())
    stamps = sorted(path.stem for path in (source / 'cam0').glob('*.png'))
    for camera, side in (('cam0', 'left'), ('cam1', 'right')):
        link(folder / camera / 'data', source / camera)
        save(folder / camera / 'data.csv', ''.join(f'{stamp},{stamp}.png\n' for stamp in stamps))
        k, d = np.array(values[side]['K']), values[side]['D'][:4]
        T = np.array(values[side]['T_imu_cam']).ravel().tolist()
        save(folder / camera / 'sensor.yaml', f'T_BS: {{cols: 4, rows: 4, data: {T}}}\n'
             f'resolution: [376, 240]\ndistortion_coefficients: {d}\n'
             f'intrinsics: {[k[0, 0].item(), k[1, 1].item(), k[0, 2].item(), k[1, 2].item()]}\n')
    rows = [line.split() for line in (source / 'groundtruth_tum.txt').read_text().splitlines()
            if not line.startswith('#')]
    save(folder / 'state_groundtruth_estimate0/data.csv', ''.join(
        ','.join((t.replace('.', ''), px, py, pz, qw, qx, qy, qz)) + '\n'
        for t, px, py, pz, qx, qy, qz, qw in rows))

    dataset = DATASETS['euroc'](tmp_path)
    frame = dataset[0]

    assert len(dataset) == 3 and frame.rig.baseline == pytest.approx(0.110, abs=1e-3)
    moved = invert(frame.T_world_camera) @ dataset[2].T_world_camera
    assert np.linalg.norm(moved[:3, 3]) < 0.005        # the vehicle stands
    row, column = matched_offsets(frame.left, frame.right)
    assert abs(np.median(row)) < 0.5 and np.quantile(np.abs(row), 0.75) < 1.5
    depth = frame.rig.left.fx * frame.rig.baseline / np.median(column)
    assert depth == pytest.approx(2.18, abs=0.6)       # table: median depth of all pixels


def matched_offsets(left, right):
    """Return row and column of left minus right of mutual ORB matches [px]."""
    orb = cv2.ORB_create(800)
    (points1, codes1), (points2, codes2) = (orb.detectAndCompute(image, None)
                                            for image in (left, right))
    matches = sorted(cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(codes1, codes2),
                     key=lambda match: match.distance)[:150]
    offsets = np.array([np.subtract(points1[m.queryIdx].pt, points2[m.trainIdx].pt)
                        for m in matches])
    return offsets[:, 1], offsets[:, 0]


def test_sixteen_bit_truth_equals_the_float_truth(shared_dir):
    source = shared_dir / 'data/stereo/motorcycle'

    # the PNG holds 1/256 px
    np.testing.assert_allclose(io.read_scaled_png(source / 'disp_gt.png'),
                               io.read_pfm(source / 'disp_gt.pfm'), atol=1 / 512 + 1e-5)


def test_kitti_depth_of_projected_points_is_read_back(tmp_path, shared_dir):
    source = shared_dir / 'data/camera_lidar/kitti_object_000007'
    values = json.loads((source / 'calib.json').read_text())
    points = io.read_point_file(source / 'points.bin', 4)[:, :3] @ \
        np.array(values['T_cam_lidar'])[:3, :3].T + np.array(values['T_cam_lidar'])[:3, 3]
    k = np.array(values['K'])
    camera = PinholeCamera(1242, 375, k[0, 0], k[1, 1], k[0, 2], k[1, 2])
    depth = points_to_depth_image(points, camera)
    folder = tmp_path / 'depth_selection/val_selection_cropped'
    link(folder / 'image/2011_09_26_drive_0002_sync_image_0000000007_image_02.png',
         source / 'image.png')
    save(folder / 'groundtruth_depth' / ('2011_09_26_drive_0002_sync_groundtruth_depth_'
                                         '0000000007_image_02.png'), depth, io.write_scaled_png)
    save(folder / 'intrinsics/2011_09_26_drive_0002_sync_image_0000000007_image_02.txt',
         ' '.join(map(str, k.ravel())))

    sample = DATASETS['kitti_depth'](tmp_path, 'selection')[0]

    assert sample.camera == camera
    np.testing.assert_allclose(sample.depth, depth, atol=1 / 512 + 1e-5)
