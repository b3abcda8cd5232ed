"""The metrics by name: one function each, found by its decorator."""

from collections.abc import Callable
from dataclasses import dataclass

from relit.evaluation.case import Case

Value = float | dict[str, float]


@dataclass(frozen=True)
class Metric:
    """A figure of one case. Its function's docstring says formula, unit, range and source."""

    name: str
    group: str
    unit: str
    best: str  # "high" or "low"
    needs: str  # "mesh", "metric mesh", "head" or "target"
    function: Callable[[Case], Value]

    def applies(self, case: Case) -> bool:
        """Whether the case has what the metric looks at."""
        if self.needs == "target":
            return case.target is not None and case.answer.head is not None
        if self.needs == "head":
            return case.answer.head is not None
        return self.needs == "mesh" or case.answer.mesh.metric


METRICS: dict[str, Metric] = {}


def metric(group: str, unit: str, best: str, needs: str = "head"):
    """Registers a function under its own name."""

    def register(function: Callable[[Case], Value]) -> Callable[[Case], Value]:
        METRICS[function.__name__] = Metric(function.__name__, group, unit, best, needs, function)
        return function

    return register
