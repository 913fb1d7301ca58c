"""The door (see `runs._dagster`) to the classes with which Dagster keeps files: documented, but not exported.

Apart from the other door because `import dagster` does not load them: only `dagster.yaml` asks for them. They wait for
a `dagster.yaml` in which a path may depend on something else than one variable that has to be set.
"""

from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage

__all__ = ["LocalArtifactStorage", "LocalComputeLogManager"]
