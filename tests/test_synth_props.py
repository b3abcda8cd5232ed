"""Laws of props: outside the skin, before the head, only ever darkening, the same for the same number."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from relit.appearance.lighting import uniform_lighting
from relit.geometry.camera import look_at_face, project
from relit.geometry.mesh import vertex_normals
from relit.models.head import ARKIT_NAMES, landmark_points, load_head_model
from relit.render.cards import drawn_cards
from relit.render.eye_light import posed_eye_centres
from relit.render.occlusion import ambient_occlusion
from relit.render.rasterise import rasterise
from relit.synth.beard import grown
from relit.synth.geometry import occluded, placed
from relit.synth.lashes import lashes_of
from relit.synth.props import KINDS, draw_props, props_of
from relit.synth.subject import draw_subject
from relit.synth.worn import Outfit

DEEPEST_M = 5e-4


@pytest.fixture(scope="module")
def worn():
    model, found = load_head_model(), []
    for index, kind in enumerate(KINDS * 2):
        subject = draw_subject(11, index)
        posed = placed(subject, model)
        found.append((kind, posed, props_of(kind, subject, posed, model, np.random.default_rng(index))))
    return found


def test_props_are_meshes_with_a_material(worn):
    for _, _, props in worn:
        for part in props:
            assert part.triangles.min() >= 0 and part.triangles.max() < len(part.vertices_m)
            assert torch.isfinite(part.vertices_m).all() and part.vertices_m.abs().max() < 0.5
            assert 0 < part.opacity <= 1 and 0 <= part.roughness <= 1
            assert part.colour.shape == (3,) and part.colour.min() >= 0 and part.colour.max() <= 1


def test_props_do_not_cut_into_the_skin(worn):
    from scipy.spatial import cKDTree

    model = load_head_model()
    skin = model.triangles[model.part == 0]
    for kind, posed, props in worn:
        corners = posed.vertices[skin]
        # points on every triangle, dense enough for half a millimetre
        weights = torch.tensor([(1, 0, 0), (0.5, 0.5, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (1 / 3, 1 / 3, 1 / 3)])
        points = torch.einsum("kc,tcd->tkd", weights, corners).flatten(0, 1).numpy()
        face = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = torch.nn.functional.normalize(face, dim=1).repeat_interleave(5, 0).numpy()
        tree = cKDTree(points)
        for part in props:
            place = part.vertices_m.numpy()
            away, near = tree.query(place, distance_upper_bound=0.01)
            at = np.isfinite(away)
            height = ((place[at] - points[near[at]]) * normals[near[at]]).sum(1)
            deep = (height < -DEEPEST_M) & (away[at] < 4 * np.abs(height))
            assert deep.mean() < 0.002, (kind, part.name, height.min(), deep.sum())


def test_what_is_worn_only_darkens(worn):
    model = load_head_model()
    for kind, posed, props in worn[: len(KINDS)]:
        bare, dressed = (occluded(posed, model, others, 16) for others in ((), Outfit(props, ()).occluders()))
        before, after = ambient_occlusion(bare.transfer), ambient_occlusion(dressed.transfer)
        assert (after <= before + 0.05).all() and after.mean() < before.mean(), kind


def test_the_surfaces_of_solid_props_face_outwards(worn):
    for _, _, props in worn:
        for part in (p for p in props if p.name in ("hat:knitted", "hat:cap", "mask", "headscarf", "hand")):
            outwards = (vertex_normals(part.vertices_m, part.triangles) * (part.vertices_m - part.vertices_m.mean(0))).sum(1)
            assert (outwards > 0).float().mean() > 0.6, part.name


def test_the_same_number_wears_the_same():
    model, subject = load_head_model(), draw_subject(11, 0)
    posed = placed(subject, model)
    seeds = range(60)
    drawn = [draw_props(subject, posed, model, np.random.default_rng(seed)) for seed in seeds]
    assert 0.12 < np.mean([len(props) > 0 for props in drawn]) < 0.45
    seed = next(seed for seed in seeds if drawn[seed])
    again = draw_props(subject, posed, model, np.random.default_rng(seed))
    assert all(torch.equal(a.vertices_m, b.vertices_m) for a, b in zip(again, drawn[seed], strict=True))


def test_a_beard_grows_from_the_skin_and_hides_it():
    model = load_head_model()
    subject = next(s for s in (draw_subject(3, k) for k in range(40)) if s.beard == "full")
    posed = placed(subject, model)
    style, vertices = grown(subject, posed, model)
    assert torch.equal(grown(subject, posed, model)[1], vertices)
    first = vertices.view(-1, 4, 2, 3)[:, 0].mean(1)
    skin = posed.vertices[model.triangles[model.part == 0].unique()]
    assert torch.cdist(first, skin).min(1).values.max() < 0.006
    camera = look_at_face((128, 128), 1.0, 0.26)
    depth = rasterise(project(camera, posed.vertices), model.triangles, (128, 128)).depth
    drawn = drawn_cards(style, vertices, subject.hair_colour, camera, uniform_lighting(), depth)[..., 3]
    chin = project(camera, landmark_points(model, posed.vertices))[199, :2].long()
    assert drawn[chin[1] - 2 : chin[1] + 3, chin[0] - 2 : chin[0] + 3].mean() > 0.7
    forehead = project(camera, landmark_points(model, posed.vertices))[9, :2].long()
    assert drawn[: forehead[1]].max() == 0
    assert not any(s.beard and not s.marks.shave_shadow for s in (draw_subject(3, k) for k in range(60)))


def test_lashes_grow_from_the_lids_leave_the_eye_and_close_with_it():
    model, plain = load_head_model(), draw_subject(3, 0)
    expression = np.zeros(len(ARKIT_NAMES), np.float32)
    shut = expression.copy()
    shut[[ARKIT_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right")]] = 1
    roots, tips = {}, {}
    for name, shown in (("open", expression), ("shut", shut)):
        posed = placed(replace(plain, expression=shown), model)
        _, vertices, colour = lashes_of(plain, posed, model)
        cards = vertices.view(-1, 5, 2, 3).mean(2)
        roots[name], tips[name] = cards[:, 0], cards[:, -1]
        far = [(cards - centre).norm(dim=2) for centre in posed_eye_centres(model, posed.vertices)]
        far = torch.minimum(*far)
        assert (far[:, -1] > far[:, 0]).all() and far.min() > 0.0115  # outside the eyeball
        assert 0.001 < (tips[name] - roots[name]).norm(dim=1).max() < 0.011
        assert colour.max() < 0.1
    fell = roots["open"][:, 1] - roots["shut"][:, 1]
    upper = torch.cat([torch.arange(10, 34), torch.arange(84, 108)])
    opened, shut = ((tips[k] - roots[k])[upper, 1].median() for k in ("open", "shut"))
    assert fell[upper].median() > 0.004 and opened > 0.001 and shut < opened - 0.0005
