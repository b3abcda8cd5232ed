"""The synthetic-subject engine: endless, reproducible heads with exact ground truth, lit and photographed."""
