# SPDX-License-Identifier: Apache-2.0
"""Write tiny stereo and flow data sets in their official layouts."""
from crossview_ros.data import io
from crossview_ros.data.samples import FlowSample, StereoSample
from layout import Layout, save
import numpy as np
from textured_pairs import (
    DISPARITY, disparity_truth, flow_frames, flow_truth, SIZE_HW, stereo_pair)

ROWS, COLS = SIZE_HW
P_LEFT = '100 0 31 4 0 100 23 0 0 0 1 0'          # fx, cx, cy [px]; P[3] = -fx * x
P_RIGHT = '100 0 31 -46 0 100 23 0 0 0 1 0'       # baseline 0.5 m
MIDDLEBURY_CALIB = (f'cam0=[100 0 31; 0 100 23; 0 0 1]\ncam1=[100 0 33; 0 100 23; 0 0 1]\n'
                    f'doffs=2\nbaseline=500\nwidth={COLS}\nheight={ROWS}\nndisp=20\n')


def kitti_2012_stereo(root):
    folder = root / 'training'
    for k in range(2):
        left, right = stereo_pair(k)
        save(folder / f'colored_0/00000{k}_10.png', left)
        save(folder / f'colored_1/00000{k}_10.png', right)
        save(folder / f'disp_occ/00000{k}_10.png', disparity_truth(), io.write_scaled_png)
        save(folder / f'calib/00000{k}.txt', f'P0: {P_LEFT}\nP2: {P_LEFT}\nP3: {P_RIGHT}\n')
    return Layout(StereoSample, {'train': 2}, 'training/disp_occ/000001_10.png', rig=(100, 0.5))


def kitti_2012_flow(root):
    _kitti_flow(root, 'colored_0', 2)
    return Layout(FlowSample, {'train': 2}, 'training/colored_0/000001_11.png')


def kitti_2015_stereo(root):
    folder = root / 'training'
    for k in range(7):
        left, right = stereo_pair(k)
        save(folder / f'image_2/00000{k}_10.png', left)
        save(folder / f'image_2/00000{k}_11.png', left)
        save(folder / f'image_3/00000{k}_10.png', right)
        save(folder / f'disp_occ_0/00000{k}_10.png', disparity_truth(), io.write_scaled_png)
        save(folder / f'calib_cam_to_cam/00000{k}.txt', 'calib_time: 09-Jan-2012 14:00:15\n'
             f'P_rect_02: {P_LEFT}\nP_rect_03: {P_RIGHT}\n')
    return Layout(StereoSample, {'train': 7, 'subtrain': 2, 'subval': 5},
                  'training/image_3/000001_10.png', rig=(100, 0.5))


def kitti_2015_flow(root):
    _kitti_flow(root, 'image_2', 12)
    return Layout(FlowSample, {'train': 12, 'subtrain': 2, 'subval': 10},
                  'training/flow_occ/000001_10.png')


def _kitti_flow(root, images, count):
    for k in range(count):
        image1, image2 = flow_frames(k, 2)
        save(root / f'training/{images}/{k:06}_10.png', image1)
        save(root / f'training/{images}/{k:06}_11.png', image2)
        save(root / f'training/flow_occ/{k:06}_10.png', flow_truth(), io.write_kitti_flow)


def middlebury_2005(root):
    _lit_scenes(root, ('Art', 'Reindeer'))
    return Layout(StereoSample, {'train': 4, 'subtrain': 2, 'subval': 2},
                  'Art/Illum1/Exp1/view5.png')


def middlebury_2006(root):
    _lit_scenes(root, ('Aloe', 'Rocks1', 'Wood2'))
    return Layout(StereoSample, {'train': 6, 'subtrain': 2, 'subval': 4},
                  'Aloe/Illum1/Exp1/view5.png')


def _lit_scenes(root, scenes):
    for k, scene in enumerate(scenes):
        for exposure in (0, 1):
            left, right = stereo_pair(10 * k + exposure)
            save(root / scene / f'Illum1/Exp{exposure}/view1.png', left)
            save(root / scene / f'Illum1/Exp{exposure}/view5.png', right)
        whole = np.nan_to_num(disparity_truth()).astype(np.uint8)
        save(root / scene / 'disp1.png', whole, grey=True)
        save(root / scene / 'dmin.txt', '200\n')


def middlebury_2014(root):
    for k, scene in enumerate(('Piano-perfect', 'Umbrella-imperfect', 'Vintage-perfect')):
        left, right = stereo_pair(k)
        save(root / scene / 'im0.png', left)
        for name in ('im1', 'im1E', 'im1L'):
            save(root / scene / f'{name}.png', right)
        _calibrated_truth(root / scene, 'disp0.pfm')
    return Layout(StereoSample, {'train': 9, 'subtrain': 3, 'subval': 6},
                  'Piano-perfect/im1E.png', rig=(100, 0.5))


def middlebury_2021(root):
    for k, scene in enumerate(('artroom1', 'traproom1', 'traproom2')):
        for light in ('F0', 'L0'):
            left, right = stereo_pair(k)
            save(root / 'data' / scene / f'ambient/{light}/im0e0.png', left)
            save(root / 'data' / scene / f'ambient/{light}/im1e0.png', right)
        _calibrated_truth(root / 'data' / scene, 'disp0.pfm')
    return Layout(StereoSample, {'train': 6, 'subtrain': 2, 'subval': 4},
                  'data/artroom1/ambient/L0/im1e0.png', rig=(100, 0.5))


def middlebury_eval3(root):
    for k, scene in enumerate(('Adirondack', 'ArtL', 'Vintage')):
        _two_view_scene(root / 'trainingF' / scene, k)
        _calibrated_truth(root / 'trainingF' / scene, 'disp0GT.pfm')
    return Layout(StereoSample, {'train': 3, 'subtrain': 2, 'subval': 1},
                  'trainingF/ArtL/disp0GT.pfm', rig=(100, 0.5))


def eth3d(root):
    for k, scene in enumerate(('delivery_area_1l', 'electro_3l', 'facade_1s')):
        _two_view_scene(root / 'two_view_training' / scene, k)
        save(root / 'two_view_training' / scene / 'calib.txt', MIDDLEBURY_CALIB)
        save(root / 'two_view_training_gt' / scene / 'disp0GT.pfm', disparity_truth(),
             io.write_pfm)
    return Layout(StereoSample, {'train': 3, 'subtrain': 2, 'subval': 1},
                  'two_view_training_gt/facade_1s/disp0GT.pfm', rig=(100, 0.5))


def _two_view_scene(folder, seed):
    left, right = stereo_pair(seed)
    save(folder / 'im0.png', left)
    save(folder / 'im1.png', right)


def _calibrated_truth(folder, name):
    save(folder / name, disparity_truth(), io.write_pfm)
    save(folder / 'calib.txt', MIDDLEBURY_CALIB)


def sceneflow(root):
    places = ('FlyingThings3D/{}/TRAIN/A/0000', 'FlyingThings3D/{}/TEST/A/0000',
              'Monkaa/{}/a_rain_of_stones_x2', 'Driving/{}/15mm_focallength/scene_forwards/fast')
    for k, place in enumerate(places):
        left, right = stereo_pair(k)
        for frames in ('frames_cleanpass', 'frames_finalpass'):
            save(root / place.format(frames) / 'left/0006.png', left)
            save(root / place.format(frames) / 'right/0006.png', right)
        save(root / place.format('disparity') / 'left/0006.pfm', disparity_truth(), io.write_pfm)
    return Layout(StereoSample, {'train': 6, 'test': 2, 'subval': 2},
                  'Monkaa/frames_finalpass/a_rain_of_stones_x2/right/0006.png')


def flying_things_flow(root):
    part = root / 'FlyingThings3D'
    for k, side in enumerate(('TRAIN', 'TEST')):
        for number, image in zip((6, 7, 8), flow_frames(k, 3)):
            for frames in ('frames_cleanpass', 'frames_finalpass'):
                save(part / frames / side / f'A/0000/left/{number:04}.png', image)
        flows = part / 'optical_flow' / side / 'A/0000'
        for time, numbers, sign in (('Future', (6, 7), 1), ('Past', (7, 8), -1)):
            for number in numbers:
                flow = sign * flow_truth()
                save(flows / f'into_{time.lower()}/left/OpticalFlowInto{time}_{number:04}_L.pfm',
                     np.concatenate((flow, 0 * flow[..., :1]), -1), io.write_pfm)
    return Layout(FlowSample, {'train': 8, 'test': 8, 'test1024': 8},
                  'FlyingThings3D/optical_flow/TRAIN/A/0000/into_past/left/'
                  'OpticalFlowIntoPast_0007_L.pfm', needing=2, times=('_future', '_past'))


def sintel_flow(root):
    for k, scene in enumerate(('alley_1', 'temple_2', 'temple_3')):
        for number, image in enumerate(flow_frames(k, 3), start=1):
            for frames in ('clean', 'final'):
                save(root / f'training/{frames}/{scene}/frame_{number:04}.png', image)
            if number < 3:
                save(root / f'training/flow/{scene}/frame_{number:04}.flo', flow_truth(),
                     io.write_flo)
    return Layout(FlowSample, {'train': 12, 'subtrain': 4, 'subval': 8},
                  'training/final/alley_1/frame_0001.png')


def sintel_stereo(root):
    code = np.zeros((*SIZE_HW, 3), np.uint8)
    code[..., 0], code[..., 1] = divmod(DISPARITY * 64, 256)   # R * 4 + G / 64
    code[np.isnan(disparity_truth())] = 0
    for k, scene in enumerate(('alley_1', 'temple_2')):
        left, right = stereo_pair(k)
        for frames in ('clean', 'final'):
            save(root / f'training/{frames}_left/{scene}/frame_0001.png', left)
            save(root / f'training/{frames}_right/{scene}/frame_0001.png', right)
        save(root / f'training/disparities/{scene}/frame_0001.png', code)
    return Layout(StereoSample, {'train': 4, 'subtrain': 2, 'subval': 2},
                  'training/clean_right/alley_1/frame_0001.png')


def flying_chairs(root):
    for k in range(1, 4):
        image1, image2 = flow_frames(k, 2)
        save(root / f'data/0000{k}_img1.ppm', image1)
        save(root / f'data/0000{k}_img2.ppm', image2)
        save(root / f'data/0000{k}_flow.flo', flow_truth(), io.write_flo)
    save(root / 'FlyingChairs_train_val.txt', '1\n2\n1\n')
    return Layout(FlowSample, {'train': 2, 'val': 1}, 'data/00003_img2.ppm')


def crestereo(root):
    for k, part in enumerate(('hole', 'reflective', 'shapenet', 'tree')):
        left, right = stereo_pair(k)
        save(root / part / '000000_left.jpg', left)
        save(root / part / '000000_right.jpg', right)
        save(root / part / '000000_left.disp.png', disparity_truth(),
             lambda path, truth: io.write_scaled_png(path, truth, 32))
    return Layout(StereoSample, {'train': 4}, 'tree/000000_left.disp.png')


def booster(root):
    for k, scene in enumerate(('Bathroom', 'Canteen', 'Washer')):
        folder = root / 'train/balanced' / scene
        for light in (0, 1):
            left, right = stereo_pair(10 * k + light)
            save(folder / f'camera_00/im{light}.png', left)
            save(folder / f'camera_02/im{light}.png', right)
        save(folder / 'disp_00.npy', np.nan_to_num(disparity_truth()), np.save)
        save(folder / 'calib_00-02.xml', '<?xml version="1.0"?>\n<opencv_storage>\n'
             + ''.join(f'<{name} type_id="opencv-matrix"><rows>3</rows><cols>4</cols><dt>d</dt>'
                       f'<data>{p}</data></{name}>\n'
                       for name, p in (('proj_matL', P_LEFT), ('proj_matR', P_RIGHT)))
             + '<baselineLR>500.</baselineLR>\n</opencv_storage>\n')
    return Layout(StereoSample, {'train': 6, 'subtrain': 2, 'subval': 4},
                  'train/balanced/Bathroom/camera_02/im1.png', rig=(100, 0.5))


def spring_stereo(root):
    for k, scene in enumerate(('0001', '0041')):
        for number in ('0001', '0002'):
            left, right = stereo_pair(10 * k + int(number))
            folder = root / 'train' / scene
            save(folder / f'frame_left/frame_left_{number}.png', left)
            save(folder / f'frame_right/frame_right_{number}.png', right)
            save(folder / f'disp1_left/disp1_left_{number}.dsp5',
                 disparity_truth().repeat(2, 0).repeat(2, 1), _write_hdf5('disparity'))
        save(folder / 'cam_data/intrinsics.txt', '100 100 31 23\n120 120 31 23\n')
    return Layout(StereoSample, {'train': 4, 'subtrain': 2, 'subval': 2},
                  'train/0001/disp1_left/disp1_left_0002.dsp5', rig=(100, 0.065))


def spring_flow(root):
    for k, scene in enumerate(('0001', '0041')):
        for side in ('left', 'right'):
            for number, image in enumerate(flow_frames(k, 2), start=1):
                save(root / f'train/{scene}/frame_{side}/frame_{side}_000{number}.png', image)
            for time, number, sign in (('FW', 1, 1), ('BW', 2, -1)):
                save(root / f'train/{scene}/flow_{time}_{side}/flow_{time}_{side}_000{number}'
                     '.flo5', sign * flow_truth().repeat(2, 0).repeat(2, 1), _write_hdf5('flow'))
    return Layout(FlowSample, {'train': 8, 'subtrain': 4, 'subval': 4},
                  'train/0001/flow_BW_right/flow_BW_right_0002.flo5', times=('FW_', 'BW_'))


def _write_hdf5(name):
    def write(path, values):
        import h5py
        with h5py.File(path, 'w') as file:
            file[name] = values
    return write


def tartanair_flow(root):
    for k, level in enumerate(('Easy', 'Hard')):
        folder = root / 'office' / level / 'P000'
        for number, image in enumerate(flow_frames(k, 3)):
            save(folder / f'image_left/00000{number}_left.png', image)
            if number < 2:
                save(folder / f'flow/00000{number}_00000{number + 1}_flow.npy',
                     flow_truth(unknown=False), np.save)
    return Layout(FlowSample, {'all': 4, 'easy': 2, 'hard': 2},
                  'office/Easy/P000/flow/000001_000002_flow.npy', unknown=False)


def tartanair_stereo(root):
    size_hw = (480, 640)
    for k in range(2):
        left, right = stereo_pair(k, size_hw)
        folder = root / 'office/Easy/P000'
        save(folder / f'image_left/00000{k}_left.png', left)
        save(folder / f'image_right/00000{k}_right.png', right)
        save(folder / f'depth_left/00000{k}_left_depth.npy',
             np.full(size_hw, 320 * 0.25 / DISPARITY, np.float32), np.save)
    return Layout(StereoSample, {'all': 2, 'easy': 2},
                  'office/Easy/P000/depth_left/000001_left_depth.npy', unknown=False,
                  rig=(320, 0.25))


STEREO_LAYOUTS = {write.__name__: write for write in (
    booster, crestereo, eth3d, kitti_2012_stereo, kitti_2015_stereo, middlebury_2005,
    middlebury_2006, middlebury_2014, middlebury_2021, middlebury_eval3, sceneflow, sintel_stereo,
    spring_stereo, tartanair_stereo)}
FLOW_LAYOUTS = {write.__name__: write for write in (
    flying_chairs, flying_things_flow, kitti_2012_flow, kitti_2015_flow, sintel_flow, spring_flow,
    tartanair_flow)}
