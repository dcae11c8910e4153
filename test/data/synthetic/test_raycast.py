# SPDX-License-Identifier: Apache-2.0
from crossview_ros.data.synthetic.camera import Cameras
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.data.synthetic.random_scene import sample_scenes, SceneConfig
from crossview_ros.data.synthetic.raycast import cast, find_candidates, is_hidden, place, Rays
from crossview_ros.data.synthetic.scene import Scenes
import pytest
import torch

NOW = torch.zeros(1)


def one_thing(kind, centre, half_size):
    """Return a room of 100 m with one box (0), ellipsoid (1) or cylinder (2)."""
    counts = tuple(int(i == kind) for i in range(3))
    return Scenes(
        counts, torch.tensor([[centre, (0.0, 0, 0)]]), torch.eye(3).repeat(1, 2, 1, 1),
        torch.tensor([[half_size, (100.0, 100, 100)]]), torch.zeros(1, 2, 3),
        torch.zeros(1, 2, 3), torch.zeros(1, 2, 6, dtype=torch.int64), torch.ones(1, 2),
        torch.zeros(1, 2, 2), torch.tensor([[0.0, -50, 0]]), torch.ones(1), torch.zeros(1))


def cast_rays(scenes, *directions):
    rays = Rays(torch.zeros(1, dtype=torch.int64), torch.zeros(1, 3),
                torch.tensor(directions).T[None])
    return cast(place(scenes, NOW), rays)


@pytest.mark.parametrize('kind, direction, distance', [
    (0, (0.0, 0, 1), 4.0),          # the front face
    (0, (0.5, 0, 2), 2.0),          # touches the front face at x = 1 of 2
    (0, (0.0, 1, 1), 100.0),        # passes above, the room's wall behind
    (1, (0.0, 0, 1), 4.0),
    (1, (1.5, 0, 5), 0.97065),      # 27.25 t^2 - 50 t + 25 - (1 - ...) solved below
    (2, (0.0, 0, 1), 4.0),
    (2, (0.0, 0.3, 1), 4.0),        # y = 1.2 < 3 on the mantle
])
def test_hits_are_where_hand_calculation_puts_them(kind, direction, distance):
    # box |x| <= 2, |y| <= 3; ellipsoid and cylinder of radius 2 in x, 1 in z, 3 in y
    scenes = one_thing(kind, (0.0, 0, 5), (2.0, 3, 1))
    if kind == 1 and direction[0]:
        # (1.5 t / 2)^2 + (5 t - 5)^2 = 1
        a, b, c = 0.5625 + 25, -50.0, 24.0
        distance = (-b - (b * b - 4 * a * c) ** 0.5) / (2 * a)

    hits = cast_rays(scenes, direction)

    assert hits.distance.item() == pytest.approx(distance, rel=1e-5)
    assert hits.primitive.item() == (distance == 100)


def test_cylinder_is_closed_by_its_caps():
    scenes = one_thing(2, (0.0, 5, 0), (1.0, 2, 1))

    hits = cast_rays(scenes, (0.0, 1, 0), (0.2, 1, 0), (0.5, 1, 0))

    # the cap lies at y = 3; the third ray leaves the radius 1 there and meets the room
    torch.testing.assert_close(hits.distance, torch.tensor([[3.0, 3.0, 100.0]]))


def test_moving_things_are_met_where_they_are_at_that_time():
    scenes = one_thing(0, (0.0, 0, 5), (1.0, 1, 1))
    scenes.velocity[0, 0, 2] = 2.0
    rays = Rays(torch.zeros(1, dtype=torch.int64), torch.zeros(1, 3),
                torch.tensor([[[0.0], [0], [1]]]))

    assert cast(place(scenes, torch.tensor([3.0])), rays).distance.item() == pytest.approx(10.0)


def test_hidden_is_what_lies_behind_another_surface():
    scenes = one_thing(1, (0.0, 0, 5), (1.0, 1, 1))
    rays = Rays(torch.zeros(1, dtype=torch.int64), torch.zeros(1, 3),
                torch.tensor([[[0.0, 0, 0, 3], [0, 0, 0, 0], [3.9, 4.0, 7, 5]]]))

    hidden = is_hidden(place(scenes, NOW), rays)

    # before the ball, on its front, behind it, beside it
    assert hidden.tolist() == [[False, False, True, False]]


def random_view(batch=2):
    draw = Draw(torch.Generator().manual_seed(3))
    scenes, view = sample_scenes(batch, (48, 64), SceneConfig(), 4, draw)
    cameras = Cameras.centred((48, 64), view.focal, view.T_world_previous, torch.zeros(batch))
    return scenes, cameras


def test_looking_only_at_candidates_changes_nothing():
    scenes, cameras = random_view(4)
    placed, rays = place(scenes, cameras.time_s), cameras.rays()
    candidates = find_candidates(placed, rays)

    culled = cast(placed, rays, candidates)
    complete = cast(placed, rays, torch.ones_like(candidates))

    assert candidates.float().mean() < 0.5
    assert torch.equal(culled.distance, complete.distance)
    assert torch.equal(culled.primitive, complete.primitive)


def test_rays_reach_the_surface_and_cross_nothing_before_it():
    scenes, cameras = random_view()
    placed, rays = place(scenes, cameras.time_s), cameras.rays()
    hits = cast(placed, rays)
    distance, direction = hits.distance.double(), rays.direction.double()
    share = torch.linspace(0.01, 0.999, 60, dtype=torch.float64)
    points = rays.origin.double()[:, :, None, None] + \
        direction[..., None] * (distance[:, None, :, None] * share)          # (G, 3, K, S)
    end = rays.origin.double()[..., None] + direction * distance[:, None]    # (G, 3, K)

    for index in range(scenes.centre.shape[1] - 1):
        to_unit = placed.to_unit[:, index].double()[rays.scene]
        centre = placed.centre[:, index].double()[rays.scene]
        local = torch.einsum('gij,gjks->giks', to_unit, points - centre[:, :, None, None])
        assert not (size_in_shape(scenes, index, local) < 0.999).any()
        local = to_unit @ (end - centre[..., None])
        on_it = size_in_shape(scenes, index, local)[hits.primitive == index]
        torch.testing.assert_close(on_it, torch.ones_like(on_it), rtol=1e-3, atol=0)


def size_in_shape(scenes, index, local):
    """Return 1 on the surface of a unit shape, less inside: the shape's gauge."""
    x, y, z = local.unbind(1)
    boxes, ellipsoids, _ = scenes.counts
    if index < boxes:
        return local.abs().amax(1)
    if index < boxes + ellipsoids:
        return (x ** 2 + y ** 2 + z ** 2).sqrt()
    return torch.maximum((x ** 2 + z ** 2).sqrt(), y.abs())
