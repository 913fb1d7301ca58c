"""What Dagster sees."""

import warnings

import dagster as dg

# Partition mappings and backfill policies are marked beta; the tests pin what is used of them.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
