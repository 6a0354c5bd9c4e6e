"""A real Ray for tests, in a network of its own in which there is nothing but this machine's loopback.

Ray listens on every address, asks others, and ends its processes by name, all over the host. So whatever has to do with
it runs in a network namespace, and ends with that: ``python tests/rayhost.py pytest …`` runs a command in a new one,
as tox does. That needs root, ip and the extra ``ray``. In there, ``rayhost`` (conftest.py of tests/unit/engines/ray) is
a cluster that tests share: a head that takes no job, and machines with two cores, two GPUs that are said to be there,
and a board.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
# Its objects are none of our tests: the least that it accepts.
OBJECTS = 80 * 1024**2
# A machine that is gone is noticed in a second, and not in fifteen.
QUICK = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 300, "health_check_failure_threshold": 4}


class RayHost:
    """A running cluster; ``address`` is what RAY_ADDRESS says in real life, ``port`` that of its dashboard."""

    def __init__(self, port: int = 8265) -> None:
        names = [name for _, name in socket.if_nameindex()]
        assert names == ["lo"], f"Ray would reach {names}: tests with it are run by `tox -e ray`"
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "num_gpus": 0, "include_dashboard": True, "object_store_memory": OBJECTS}
        head |= {"dashboard_port": port, "_system_config": QUICK}
        self._cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
        self.address = f"http://{self._cluster.webui_url}"

    def add_machine(self, **words: object):
        """Start one more; it is there when this returns."""
        words = {"num_cpus": 2, "num_gpus": 2, "resources": {"board": 1}} | words
        return self._cluster.add_node(object_store_memory=OBJECTS, **words)

    def lose(self, machine) -> None:
        """Take a machine away as a power cut does: nobody on it is asked."""
        self._cluster.remove_node(machine, allow_graceful=False)

    def announce(self, machine) -> None:
        """Tell the cluster that whoever lent a machine wants it back; Ray believes it where it is gone after that."""
        from ray._raylet import GcsClient
        from ray.core.generated.autoscaler_pb2 import DrainNodeReason

        reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        client = GcsClient(address=self._cluster.gcs_address)
        client.drain_node(machine.node_id, reason, "wanted elsewhere", int(time.time() * 1000) + 100)

    def close(self) -> None:
        self._cluster.shutdown()

    def until(self, condition, seconds: float = 120.0):
        """Poll until it is true; fails loudly when it never is."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.1)
        raise AssertionError("it never happened")


def main(words: list[str]) -> int:
    """Run a command in a network namespace of its own, and end all that is in there with it."""
    name = f"evalrun-ray-{os.getpid()}"
    # Sockets lie in it, whose names may not be long.
    directory = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    own = {"HOME": str(directory), "RAY_TMPDIR": str(directory), "RAY_AUTH_MODE": "disabled"}
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/"}
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        given = [f"{key}={value}" for key, value in (own | quiet).items()]
        return subprocess.call([tool("ip"), "netns", "exec", name, "env", *given, *words])
    finally:
        end_all(name)
        ip("netns", "del", name)
        shutil.rmtree(directory, ignore_errors=True)


def end_all(name: str) -> None:
    """Until nobody is left: each of them may have started another meanwhile."""
    while pids := ip("netns", "pids", name).split():
        for pid in pids:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)


def ip(*words: str) -> str:
    done = subprocess.run([tool("ip"), *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"ip {' '.join(words)}: {done.stderr.strip()} (it needs root)")
    return done.stdout


def tool(name: str) -> str:
    found = shutil.which(name, path=SBIN)
    if found is None:
        raise SystemExit(f"tests with Ray need {name}; install it: apt-get install -y --no-install-recommends iproute2")
    return found


if __name__ == "__main__":
    # Told to end, it ends all that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
