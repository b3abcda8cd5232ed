"""Test sets: synthetic subjects of the test split, photographed by a path tracer that shares no code with relit."""
