# SPDX-License-Identifier: Apache-2.0
from crossview_ros.data.synthetic.patterns import SIZE
from crossview_ros.data.synthetic.textures import make_atlas, TEXELS, TextureAtlas
from crossview_ros.errors import DatasetError
import cv2
import numpy as np
import pytest
import torch


@pytest.fixture(scope='module')
def atlas():
    return make_atlas(6, 3)


def finest(atlas, index):
    return atlas.texels.view(-1, TEXELS, 4)[index, :SIZE * SIZE, :3].view(SIZE, SIZE, 3)


def sample(atlas, index, st, footprint):
    st = torch.tensor(st)
    return atlas.sample(torch.full(st.shape[:1], index), st, torch.full(st.shape[:1], footprint))


def test_texel_centres_give_the_texels(atlas):
    rows, cols = torch.tensor([0, 7, 255]), torch.tensor([3, 250, 0])
    st = torch.stack((cols + 0.5, rows + 0.5), -1) / SIZE

    colours = sample(atlas, 2, st.tolist(), 1 / SIZE)

    expected = finest(atlas, 2)[rows, cols] / 255
    torch.testing.assert_close(colours, expected)


def test_textures_repeat(atlas):
    one = sample(atlas, 1, [[0.3, 0.9]], 1 / SIZE)

    torch.testing.assert_close(sample(atlas, 1, [[-1.7, 2.9]], 1 / SIZE), one,
                               atol=1e-3, rtol=0)   # 3 * 2^-24 of a repetition, times contrast


def test_a_pixel_that_covers_the_texture_sees_its_mean(atlas):
    mean = finest(atlas, 0).float().mean((0, 1)) / 255

    colours = sample(atlas, 0, [[0.1, 0.2], [0.6, 0.7]], 1.0)

    # each level may round by half a step of 1/255
    torch.testing.assert_close(colours, mean.expand(2, 3), atol=1 / 255, rtol=0)


def test_halving_the_footprint_keeps_colours_continuous(atlas):
    st = torch.rand(500, 2).tolist()

    below, above = (sample(atlas, 4, st, 2 ** 3 / SIZE * factor) for factor in (0.999, 1.001))

    assert (below - above).abs().max() < 0.01


def test_atlas_is_the_same_for_the_same_seed_and_other_for_other_seeds(atlas):
    assert torch.equal(make_atlas(2, 3).texels, atlas.texels[:2 * TEXELS])
    assert not torch.equal(make_atlas(2, 4).texels, atlas.texels[:2 * TEXELS])


def test_train_and_holdout_share_no_texture():
    train, holdout = (make_atlas(12, 5, split).texels.view(12, -1).float()
                      for split in ('train', 'holdout'))

    assert torch.cdist(train, holdout).min() > 1000   # in units of 1/255, over 3 * 87381 values


def test_patterns_fill_the_range_and_differ():
    atlas = make_atlas(16, 9)
    images = atlas.texels.view(16, TEXELS, 4)[..., :3].float()

    assert images.std(1).mean() > 15         # of 255: enough to match by
    assert images.mean((1, 2)).std() > 20    # light and dark ones


def write_images(folder, count):
    for i in range(count):
        cv2.imwrite(str(folder / f'{i}.png'), np.full((40, 60, 3), 10 * i, np.uint8))


def test_photographs_of_a_folder_are_split_between_train_and_holdout(tmp_path):
    write_images(tmp_path, 10)

    def greys(split):
        texels = make_atlas(40, 0, split, tmp_path).texels.view(40, TEXELS, 4)[1::2, 0, 0]
        return set(texels.tolist())

    train = greys('train')
    assert len(train) > 4 and train <= {10 * i for i in (0, 1, 2, 3, 5, 6, 7, 8)}
    assert greys('holdout') == {40, 90}


def test_folder_without_images_is_refused(tmp_path):
    with pytest.raises(DatasetError, match='no readable .jpg or .png image'):
        make_atlas(1, 0, 'train', tmp_path)


def test_atlases_can_be_joined(atlas):
    both = atlas + make_atlas(2, 8)

    assert isinstance(both, TextureAtlas) and len(both) == 8
    torch.testing.assert_close(sample(both, 5, [[0.5, 0.5]], 0.01),
                               sample(atlas, 5, [[0.5, 0.5]], 0.01))
