"""All metrics; importing this registers them."""

from relit.evaluation.metrics import maps, shape  # noqa: F401
from relit.evaluation.metrics.registry import METRICS, Metric  # noqa: F401
