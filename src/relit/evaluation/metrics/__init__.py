"""All metrics; importing this registers them."""

from relit.evaluation.metrics import light, maps, person, shape, tone  # noqa: F401
from relit.evaluation.metrics.registry import METRICS, Metric  # noqa: F401
