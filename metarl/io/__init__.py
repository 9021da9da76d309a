"""L1: files: checkpoints, artifacts, metrics, and the lock of a run."""

from metarl.io.artifacts import Artifact as Artifact
from metarl.io.artifacts import config_hash as config_hash
from metarl.io.artifacts import load_artifact as load_artifact
from metarl.io.artifacts import save_artifact as save_artifact
from metarl.io.atomic import atomic_write_bytes as atomic_write_bytes
from metarl.io.atomic import atomic_write_text as atomic_write_text
from metarl.io.atomic import describing_os_errors as describing_os_errors
from metarl.io.checkpoints import Checkpoints as Checkpoints
from metarl.io.checkpoints import Restored as Restored
from metarl.io.metrics import MetricsLog as MetricsLog
from metarl.io.runs import RunDirectory as RunDirectory
from metarl.io.versions import collect_versions as collect_versions
