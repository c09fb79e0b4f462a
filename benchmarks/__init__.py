"""Measurements of the platform beside its peers; ratios within one run, never tests."""
