"""How well the learned modes explain faces that they were not learned from."""

import numpy as np
from scipy.spatial import cKDTree

from relit.models.head_build.population import Population, from_samples, principal, similarity

NOISE_MM = 2.0  # of landmarks in the sparse test


def held_out_errors(
    learned: Population,
    people: Population,
    held: np.ndarray,
    drawn: np.ndarray,
    residual: np.ndarray,
    context: tuple[np.ndarray, np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> dict[str, float]:
    """Mean distances (mm) between held-out faces and their fits, of the learned modes and of either source alone.

    Dense fits see every face vertex with 0.3 mm noise assumed; sparse fits see 468 landmarks with 2 mm noise added.

    Args:
        learned: what is judged.
        people: ICT's.
        held: [N, V, 3] MakeHuman faces that were not learned from; ICT faces are drawn here.
        drawn: [M, V, 3] MakeHuman faces that were learned from.
        residual: [F, V, 3] factors of what neither source has.
        context: landmarks [468, 3] on the mean, face weight [S] of the skin, metric [V].
    """
    anchor, face, metric = context
    skin = len(face)
    region = face > 0.5
    marks = cKDTree(people.mean[:skin]).query(anchor)[1]
    coefficients = rng.normal(size=(40, len(people.factors)))
    ict = people.mean + np.tensordot(coefficients, people.factors, 1)
    other = from_samples(drawn, 150, metric)
    combined = Population(other.mean, principal(np.concatenate([other.factors, residual]), metric, 150)[0])
    bases = {"learned": learned, "ict_only": people, "makehuman_only": combined}
    out = {}
    for test, faces in (("ict", ict), ("makehuman", held[:40].astype(np.float64))):
        noise = rng.normal(size=(len(faces), len(marks), 3)) * NOISE_MM
        for name, basis in bases.items():
            dense = _fit(basis, faces[:, :skin], np.where(region)[0], 0.0, 0.3, region)
            sparse = _fit(basis, faces[:, :skin], marks, noise, NOISE_MM, region)
            out[f"{test}_dense_mm_{name}"], out[f"{test}_landmark_mm_{name}"] = round(dense, 3), round(sparse, 3)
    return out


def _fit(basis: Population, faces: np.ndarray, seen: np.ndarray, noise, sigma: float, region: np.ndarray) -> float:
    """Mean distance over the face after fitting similarity and modes to the seen vertices of each face."""
    skin = faces.shape[1]
    goals = faces[:, seen] + noise
    system = basis.factors[:, seen].reshape(len(basis.factors), -1)
    gram = system @ system.T + sigma**2 * np.eye(len(system))
    mean, full = basis.mean[:skin], basis.factors[:, :skin].reshape(len(system), -1)
    one = np.ones(len(seen))
    total = 0.0
    for face, goal in zip(faces, goals, strict=True):
        weights = np.zeros(len(system))
        for _ in range(6):
            shape = mean[seen] + (weights @ system).reshape(-1, 3)
            scale, rotation, shift = similarity(shape, goal, one)
            local = (goal - shift) @ rotation / scale - mean[seen]
            weights = np.linalg.solve(gram, system @ local.ravel())
        placed = scale * (mean + (weights @ full).reshape(-1, 3)) @ rotation.T + shift
        total += np.linalg.norm(placed - face, axis=1)[region].mean()
    return float(total / len(faces))
