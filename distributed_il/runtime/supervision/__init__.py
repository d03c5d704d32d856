"""Ray Train's controller, made to end what hangs, to tell a failure from a node that leaves, and to count workers.

All that this program uses of Ray Train beyond its public interface is in this package; pyproject.toml names the
versions of Ray that it was read in.
"""

from distributed_il.runtime.supervision.notice import leave_notice
from distributed_il.runtime.supervision.supervised_trainer import SupervisedTrainer
from distributed_il.runtime.supervision.worker_group import StandingGroup

__all__ = ["StandingGroup", "SupervisedTrainer", "leave_notice"]
