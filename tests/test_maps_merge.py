"""Laws of making one skin of several photos."""

import torch

from relit.maps.merge import merged

PLAIN = torch.ones(128, 128)


def of(ratios, trusts, liked=None, plain=PLAIN):
    return merged(ratios, trusts, [PLAIN] * len(ratios) if liked is None else liked, plain)


def random_skin():
    return 0.03 * torch.randn(128, 128, 3, generator=torch.Generator().manual_seed(0))


def test_one_photo_and_copies_of_it_are_the_same_skin():
    skin, trust = random_skin(), torch.rand(128, 128, generator=torch.Generator().manual_seed(1))
    trust[:16] = 0
    alone = of([skin], [trust])
    assert torch.equal(alone[trust == 0], torch.zeros(int((trust == 0).sum()), 3))
    assert torch.allclose(alone[trust > 0.1], skin[trust > 0.1], atol=1e-6)
    assert torch.allclose(of([skin, skin], [trust, trust])[trust > 0.1], skin[trust > 0.1], atol=1e-5)


def test_of_photos_that_differ_the_one_that_looks_more_like_skin_counts():
    skin, sure = random_skin(), torch.ones(128, 128)
    shadow = skin.clone()
    shadow[40:80, 40:80] -= 0.7
    together = of([skin, shadow], [sure, sure])
    assert (together - skin)[44:76, 44:76].abs().max() < 0.05
    assert torch.allclose(of([shadow, skin], [sure, sure]), together, atol=0.02)  # whichever of equals leads
    assert torch.allclose(of([shadow, shadow], [sure, sure]), shadow, atol=1e-5)  # what all photos show is skin
    unseen = sure.clone()
    unseen[40:80, 40:80] = 0
    assert torch.allclose(of([skin, shadow], [unseen, sure])[44:76, 44:76], shadow[44:76, 44:76], atol=1e-5)
    blush = (of([skin, skin + 0.1], [sure, sure]) - skin).mean()
    assert 0.035 < blush < 0.05  # nearly the mean


def test_lines_that_lie_beside_each_other_do_not_wash_each_other_out():
    lines, sure = torch.zeros(512, 512, 3), torch.ones(512, 512)
    lines[:, ::16] = lines[:, 1::16] = -0.3
    beside = lines.roll(5, 1)
    assert (lines + beside).std() / 2 < 0.75 * lines.std()
    better = [1.0 * sure, 0.8 * sure]
    together = of([lines, beside], [sure, sure], better, sure)
    assert together.std() > 0.95 * lines.std()
    assert torch.allclose(together[:, 32:-32], lines[:, 32:-32], atol=0.04)  # of the photo that shows detail best
    hidden = sure.clone()
    hidden[:, 432:] = 0.05
    other = of([lines, beside], [hidden, sure], better, sure)
    assert torch.allclose(other[:, 32:416], lines[:, 32:416], atol=0.04)
    assert torch.allclose(other[:, 450:-32], beside[:, 450:-32], atol=0.04)


def test_a_brow_comes_from_one_photo_as_a_whole():
    brow, sure = torch.zeros(512, 512, 3), torch.ones(512, 512)
    brow[250:262, 200:300] = -0.8
    higher = brow.roll(-10, 0)
    feature = 1 - torch.nn.functional.pad(torch.ones(40, 140), (180, 192, 230, 242))
    skin, whole = (
        merged([brow, higher], [sure, sure], [1.0 * sure, 0.8 * sure], plain) for plain in (torch.ones(512, 512), feature)
    )
    assert (whole - brow)[235:270, 210:290].abs().max() < 0.2
    assert (whole - brow)[235:270, 210:290].abs().mean() < 0.5 * (skin - brow)[235:270, 210:290].abs().mean()
