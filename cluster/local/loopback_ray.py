"""Ray's command line for nodes that share 127.0.0.1, so that nothing of them listens beyond it.

    python -m cluster.local.loopback_ray start --node-ip-address=127.0.0.1 …

Ray puts the machine's outer address in the place of 127.0.0.1, and its servers then listen everywhere. It leaves that
where it believes that there is no network to join (`NO_OUTER_ADDRESS`, which drivers and the head need as well), but a
node does not join another then; this does both.
"""

from __future__ import annotations

import os

import ray._private.services as services
from ray.scripts import scripts

from cluster.local.settings import LOOPBACK, NO_OUTER_ADDRESS


def main() -> None:
    """Runs `ray` with the arguments of this process."""
    services.resolve_ip_for_localhost = lambda host: LOOPBACK if host in (LOOPBACK, "localhost") else host
    os.environ.update(NO_OUTER_ADDRESS)  # for what the node starts; in this process Ray has read it already
    scripts.main()


if __name__ == "__main__":
    main()
