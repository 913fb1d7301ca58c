"""Benchmarks: figures measured in one run, so that their ratios mean something."""
