"""The population of shapes and what an embedding adds to it: Gaussian conditioning, and that it helps."""

import torch

from relit.models.head import load_head_model
from relit.models.identity import identity_prior, load_identity_statistics


def test_without_photos_the_prior_is_the_population():
    statistics = load_identity_statistics()
    prior = identity_prior(statistics)
    assert torch.allclose(prior.mean, statistics.mean, atol=1e-4)
    whitened = prior.whiten @ statistics.covariance @ prior.whiten.T
    assert torch.allclose(whitened, torch.eye(len(whitened)), atol=1e-3)
    assert torch.allclose(prior.deviation(prior.mean), torch.zeros(len(prior.mean)), atol=1e-5)


def test_coordinates_are_those_of_the_head_model():
    statistics = load_identity_statistics()
    assert len(statistics.mean) == len(load_head_model().identity_modes)
    assert torch.linalg.eigvalsh(statistics.covariance)[0] > 0
    assert torch.linalg.eigvalsh(statistics.noise)[0] > 0


def test_an_embedding_narrows_the_population_and_nothing_widens_it():
    statistics = load_identity_statistics()
    before = torch.linalg.inv(identity_prior(statistics).whiten.double())
    after = torch.linalg.inv(identity_prior(statistics, (statistics.embedding,)).whiten.double())
    narrowed = before @ before.T - after @ after.T
    assert torch.linalg.eigvalsh(narrowed)[0] > -1e-6
    assert narrowed.trace() > 0.05 * (before @ before.T).trace()


def test_the_embedding_of_a_shape_draws_the_prior_towards_it():
    statistics = load_identity_statistics()
    generator = torch.Generator().manual_seed(1)
    root = torch.linalg.cholesky(statistics.covariance)
    nearer = []
    for _ in range(20):
        identity = statistics.mean + root @ torch.randn(len(statistics.mean), generator=generator)
        embedding = statistics.embedding + statistics.response @ identity
        prior = identity_prior(statistics, (embedding,))
        nearer.append((prior.mean - identity).norm() < (statistics.mean - identity).norm())
    assert all(nearer)


def test_photos_of_one_person_count_as_one_measurement():
    statistics = load_identity_statistics()
    embedding = statistics.embedding + 0.02
    one, three = identity_prior(statistics, (embedding,)), identity_prior(statistics, (embedding,) * 3)
    assert torch.allclose(one.mean, three.mean, atol=1e-5)
