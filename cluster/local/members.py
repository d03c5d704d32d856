"""Which nodes a cluster has, asked over HTTP, so that the asker need not belong to it."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request

_ANSWER_TIMEOUT_S = 10.0


def living_nodes(dashboard: str, token: str) -> set[str]:
    """The names of the nodes that the head believes alive.

    Args:
        dashboard: URL of the dashboard.
        token: The cluster's token.

    Raises:
        PermissionError: The dashboard refuses the token.
        ConnectionError: It does not answer, or not yet.
    """
    request = urllib.request.Request(f"{dashboard}/api/v0/nodes", headers={"Authorization": f"Bearer {token}"})
    try:
        # Without the proxies of the environment: the dashboard is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_ANSWER_TIMEOUT_S) as answer:
            nodes = json.load(answer)["data"]["result"]["result"]
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise PermissionError(f"{dashboard} refuses the token ({error.reason})") from error
        raise ConnectionError(f"{dashboard} answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(f"{dashboard} does not answer ({error})") from error
    return {node["node_name"] for node in nodes if node["state"] == "ALIVE"}
