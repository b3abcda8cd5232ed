"""The only optimiser loops of the project: damped least squares for a few hundred unknowns, Adam for the rest."""

import math
from collections.abc import Callable
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from relit.errors import FitDiverged

Energies = dict[str, Tensor]


@contextmanager
def on_one_thread():
    """On one thread of torch: a fit's many small products wait longer for a second thread than it saves them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@on_one_thread()
def least_squares(
    residuals: Callable[[Tensor], Tensor],
    start: Float[Tensor, "n"],
    lower: Float[Tensor, "n"],
    upper: Float[Tensor, "n"],
    steps: int = 15,
) -> Float[Tensor, "n"]:
    """The bounded minimiser of the sum of squared residuals near `start`.

    Args:
        residuals: differentiable map from n unknowns to m residuals, each in units of its standard deviation.
        lower, upper: bounds; a step is clipped to them.
        steps: at most so many accepted or rejected steps.

    Raises:
        FitDiverged: a residual at the start is not a number.

    Source: Levenberg 1944, Marquardt 1963; Jacobian by forward-mode differentiation.
    Differs: bounds by projection, and unknowns that a bound holds back are left out of the solve (active set).
    """
    jacobian_of = torch.func.jacfwd(residuals)
    x, damping = start.clamp(lower, upper), 1e-3
    value = residuals(x)
    cost = float(value @ value)
    if cost != cost:
        raise FitDiverged("the landmarks gave a residual that is not a number; try another photo")
    for _ in range(steps):
        jacobian = jacobian_of(x)
        gradient = jacobian.T @ value
        held = ((x <= lower) & (gradient > 0)) | ((x >= upper) & (gradient < 0))
        free = (~held).nonzero().squeeze(1)
        normal = (jacobian.T @ jacobian)[free][:, free]
        for _ in range(6):
            damped = normal + torch.diag(damping * normal.diagonal().clamp_min(1e-9))
            step = torch.zeros_like(x)
            step[free] = torch.linalg.solve(damped, -gradient[free])
            trial = (x + step).clamp(lower, upper)
            trial_value = residuals(trial)
            trial_cost = float(trial_value @ trial_value)
            if trial_cost < cost:
                break
            damping *= 8
        else:
            return x
        gained = cost - trial_cost
        x, value, cost, damping = trial, trial_value, trial_cost, max(damping / 6, 1e-9)
        if gained < 1e-5 * cost:
            break
    return x


@on_one_thread()
def descend(
    energy: Callable[[int], Energies],
    parameters: list[tuple[Tensor, float]],
    steps: int,
    after_step: Callable[[int, Energies], None] = lambda step, energies: None,
) -> dict[str, float]:
    """The energies of the last step, after minimising their sum in place over the parameters.

    Args:
        energy: from the step number to named, already weighted terms.
        parameters: leaf tensors with their learning rates; rates fall along a half cosine to a tenth.
        after_step: called with the step number and its energies (for projections onto bounds and for progress).

    Raises:
        FitDiverged: the sum is not a number; the message names the term.

    Source: Kingma & Ba 2015 (Adam), beta = (0.9, 0.95): short runs need a short memory of the second moment.
    """
    optimiser = torch.optim.Adam(
        [{"params": [tensor.requires_grad_(True)], "lr": rate} for tensor, rate in parameters], betas=(0.9, 0.95)
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.1 + 0.45 * (1 + math.cos(math.pi * step / max(steps, 1)))
    )
    energies: Energies = {}
    for step in range(steps):
        optimiser.zero_grad(set_to_none=True)
        energies = energy(step)
        total = torch.stack(list(energies.values())).sum()
        if not torch.isfinite(total):
            bad = [name for name, value in energies.items() if not torch.isfinite(value)]
            raise FitDiverged(f"the energy {', '.join(bad)} is not a number at step {step}; try another photo")
        total.backward()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            after_step(step, energies)
    for tensor, _ in parameters:
        tensor.requires_grad_(False)
    return {name: float(value.detach()) for name, value in energies.items()}
