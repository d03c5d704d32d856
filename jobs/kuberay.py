"""`python -m jobs.kuberay COMMAND …`: a command of distributed_il as the entrypoint of a RayJob.

KubeRay sends a job that failed again, whatever it failed of. What was refused, with exit code 2, would be refused
again, each time on a new cluster; so here it ends the job, and the log's last line says so.
"""

from __future__ import annotations

import sys

from distributed_il.cli import main
from distributed_il.cli.main import REFUSED

if __name__ == "__main__":
    code = main()
    if code == REFUSED:
        sys.stderr.write("Refused, as said above. KubeRay does not send this job again: cure it and apply it anew.\n")
        code = 0
    sys.exit(code)
