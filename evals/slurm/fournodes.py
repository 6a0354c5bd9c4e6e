"""A real Slurm on this machine: four nodes with four GPUs each that are none, a controller, and authentication.

Everything is in a directory of its own, on ports of its own, on 127.0.0.1 only: any number of them run beside each
other. All of one ends with the process that started it, however that ends.
"""

from __future__ import annotations

import math
import os
import pwd
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PACKAGES = "slurmctld slurmd slurm-client munge"
SBIN = "/usr/sbin:/usr/local/sbin:/sbin"
NODES = ("n1", "n2", "n3", "n4")


class NotInstalled(RuntimeError):  # noqa: N818 - read by people
    """Why there is no Slurm to be had."""


def tool(name: str) -> str:
    """The path of a program of Slurm's."""
    found = shutil.which(name) or shutil.which(name, path=SBIN)
    if found is None:
        raise NotInstalled(
            f"{name} is not installed: apt-get install -y --no-install-recommends {PACKAGES} (Debian, Ubuntu)"
        )
    return found


class Slurm:
    """Four nodes ``n1`` to ``n4`` of 8 CPUs and 4 GPUs in the partitions ``main`` and, which gives way to it, ``spot``.

    ``extra`` are lines of its slurm.conf, which win over those of ours with the same key.

    >>> with Slurm() as slurm:
    ...     slurm.call("sbatch", "--parsable", "--wrap", "true")
    """

    def __init__(self, **extra: str) -> None:
        for name in ("munged", "slurmctld", "slurmd", "sbatch"):
            tool(name)
        # Sockets of Slurm lie here, and their paths must be short.
        self.place = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.conf = self.place / "etc" / "slurm.conf"
        self.env = {"SLURM_CONF": str(self.conf)}
        self._extra = extra
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._guard: subprocess.Popen[bytes] | None = None
        self._hurried: dict[str, float] = {}

    # ---- its life

    def start(self) -> Slurm:
        for name in ("etc", "run", "log", "spool/ctld", *(f"spool/{node}" for node in NODES)):
            (self.place / name).mkdir(parents=True)
        guard = [sys.executable, __file__, str(self.conf)]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603
        try:
            self._munge()
            self._configure()
            self.start_controller(clean=True)
            for node in NODES:
                self.start_node(node, wait=False)
            self.until(lambda: self.nodes() == dict.fromkeys(NODES, "idle"), "all nodes are idle")
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End every process that belongs to it, jobs too, and take its directory away."""
        if self._guard is not None:
            self._guard.communicate(b"")
            self._guard = None
        for daemon in self._daemons.values():
            daemon.wait()
        shutil.rmtree(self.place, ignore_errors=True)

    def __enter__(self) -> Slurm:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start_controller(self, *, clean: bool = False) -> None:
        """Start slurmctld, which finds its jobs again unless it is to be ``clean``."""
        self._daemon("slurmctld", "slurmctld", "-D", "-i", *(["-c"] if clean else []), "-f", str(self.conf))
        self.until(lambda: self._ask("scontrol", "ping").returncode == 0, "the controller answers")

    def kill_controller(self) -> None:
        """Kill slurmctld once it has written down what it knows: of its last seconds it would forget all."""
        state = self.place / "spool" / "ctld" / "job_state"
        noted = time.time()
        self.call("scontrol", "reconfigure")
        self.until(lambda: state.exists() and state.stat().st_mtime >= noted, "the controller saves its state")
        self._kill("slurmctld")

    def start_node(self, node: str, *, wait: bool = True) -> None:
        self._daemon(node, "slurmd", "-D", "-N", node, "-f", str(self.conf))
        if wait:
            self.until(lambda: self.nodes().get(node) in ("idle", "mixed", "allocated"), f"{node} is there again")

    def kill_node(self, node: str, *, jobs: bool = True) -> None:
        """Take a node's power away: slurmd and, unless ``jobs`` are to go on unseen, all that runs on it."""
        self._kill(node)
        if jobs:
            end(lambda: [found for found in belonging(self.conf) if node in _places(found)])

    # ---- what it is asked and told

    def call(self, *argv: str, **more: str) -> str:
        """What a program of Slurm's prints. Raises RuntimeError with its words where it fails."""
        ran = self._ask(*argv, **more)
        if ran.returncode:
            raise RuntimeError(f"{' '.join(argv)}: exit {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran.stdout.strip()

    def nodes(self) -> dict[str, str]:
        """Each node's state in one word; ``down*`` is one that does not answer. Empty without a controller."""
        said = self._ask("sinfo", "-h", "-N", "-p", "main", "-o", "%N %T").stdout
        return dict(line.split() for line in said.splitlines())

    def jobs(self) -> dict[str, str]:
        """The state of each job and array element that Slurm knows: ``{"12": "RUNNING", "13_1": "PENDING"}``."""
        return dict(line.split() for line in self.squeue("--states=all", "-r", "-o", "%i %T").splitlines())

    def squeue(self, *words: str) -> str:
        return self.call("squeue", "-h", *words)

    def show(self, job: str) -> str:
        return self.call("scontrol", "show", "job", job)

    def start_soon(self, job: str) -> None:
        """A job that was queued again does not wait for two minutes; to be asked as often as you like.

        It waits for two seconds all the same: a node that has killed a job starts none of that number within the same
        second, and slurmctld takes it for running. It may wait for two minutes anew once its first start is over.
        """
        if time.monotonic() < self._hurried.get(job, -math.inf) + 6:
            return
        self._hurried[job] = time.monotonic()
        with suppress(RuntimeError):  # it may have started, or ended, meanwhile
            self.call("scontrol", "update", self.show(job).split()[0], "StartTime=now+2")

    def drain(self, node: str) -> None:
        """It takes no new jobs, and ends those that it has."""
        self.call("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=maintenance")

    def resume(self, node: str) -> None:
        self.call("scontrol", "update", f"NodeName={node}", "State=RESUME")

    def down(self, node: str) -> None:
        """The administrator says that it is lost; its jobs are ended at once."""
        self.call("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=broken")

    def clear(self) -> None:
        """No job is left, and every node is there: what a module leaves to the next."""
        if self._daemons["slurmctld"].poll() is not None:
            self.start_controller()
        for node in NODES:
            if self._daemons[node].poll() is not None:
                self.start_node(node, wait=False)
        self._ask("scancel", "--user", pwd.getpwuid(os.geteuid()).pw_name)
        for node, state in self.nodes().items():
            if state.startswith(("drain", "down")):
                self._ask("scontrol", "update", f"NodeName={node}", "State=RESUME")
        self.until(lambda: not self.squeue(), "no job is left")
        self.until(lambda: self.nodes() == dict.fromkeys(NODES, "idle"), "all nodes are idle")

    def until(self, condition: Callable[[], Any], what: str = "it", seconds: float = 120.0) -> Any:
        """Poll until it is true; fails loudly, with what the daemons said, when it never is."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.02)
        raise AssertionError(f"it never happened: {what}\n{self.logs()}")

    def logs(self) -> str:
        said = [f"{file.name}: {file.read_text(errors='replace')[-2000:]}" for file in (self.place / "log").iterdir()]
        return "\n".join(sorted(said))

    # ---- how it is made

    def _ask(self, *argv: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | self.env | more
        words = [tool(argv[0]), *argv[1:]]
        return subprocess.run(  # noqa: S603
            words, capture_output=True, text=True, env=env, timeout=60, stdin=subprocess.DEVNULL, check=False
        )

    def _munge(self) -> None:
        key = self.place / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        run = self.place / "run"
        names = {"key": key, "pid": run / "munged.pid", "log": self.place / "log" / "munged", "seed": run / "seed"}
        files = [f"--{name}-file={path}" for name, path in names.items()]
        self._daemon("munged", "munged", "-F", "--force", "-S", str(run / "munge.sock"), *files)
        self.until((run / "munge.sock").exists, "munged answers")

    def _keys(self, port: int) -> dict[str, Any]:
        """What holds for the whole cluster; its controller listens on ``port``."""
        me, place = pwd.getpwuid(os.geteuid()).pw_name, self.place
        return {
            "ClusterName": "tests",
            "SlurmctldHost": f"{socket.gethostname().split('.')[0]}(127.0.0.1)",
            "SlurmctldPort": port,
            "SlurmUser": me,
            "SlurmdUser": me,
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={place}/run/munge.sock",
            "CredType": "cred/munge",
            # Else every daemon listens for the whole network.
            "CommunicationParameters": "NoInAddrAny,NoCtldInAddrAny",
            "StateSaveLocation": f"{place}/spool/ctld",
            "SlurmdSpoolDir": f"{place}/spool/%n",
            "SlurmctldPidFile": f"{place}/run/slurmctld.pid",
            "SlurmdPidFile": f"{place}/run/%n.pid",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "MpiDefault": "none",
            "JobAcctGatherType": "jobacct_gather/linux",
            "JobAcctGatherFrequency": 1,
            "JobAcctGatherParams": "OverMemoryKill",
            "AccountingStorageType": "accounting_storage/none",
            "JobCompType": "jobcomp/none",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core_Memory",
            "DefMemPerCPU": 500,
            "PreemptType": "preempt/partition_prio",
            "PreemptMode": "REQUEUE",
            "GresTypes": "gpu",
            # More CPUs than this machine has.
            "SlurmdParameters": "config_overrides",
            "ReturnToService": 2,
            "SchedulerParameters": "batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1",
            "SlurmdTimeout": 4,
            "SlurmctldTimeout": 30,
            "MessageTimeout": 5,
            "KillWait": 3,
        }

    def _configure(self) -> None:
        ports, place = _free_ports(1 + len(NODES)), self.place
        lines = [f"{key}={value}" for key, value in (self._keys(ports[0]) | self._extra).items()]
        host = socket.gethostname().split(".")[0]
        lines += [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8 RealMemory=20000 "
            "Gres=gpu:a100:4 State=UNKNOWN"
            for node, port in zip(NODES, ports[1:], strict=True)
        ]
        lines += [
            "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF",
            "PartitionName=spot Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=0",
        ]
        self.conf.write_text("\n".join([*lines, ""]))
        gpus = f"NodeName={NODES[0][0]}[1-{len(NODES)}] Name=gpu Type=a100 File={_devices(place / 'etc')}\n"
        (place / "etc" / "gres.conf").write_text(gpus)

    def _daemon(self, name: str, *argv: str) -> None:
        # In a session of its own, as on a machine of its own; what it starts carries its mark.
        with (self.place / "log" / f"{name}.out").open("ab") as log:
            self._daemons[name] = subprocess.Popen(  # noqa: S603
                [tool(argv[0]), *argv[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.env | {"SLURM_TEST_NODE": name},
                start_new_session=True,
            )

    def _kill(self, name: str) -> None:
        self._daemons[name].send_signal(signal.SIGKILL)
        self._daemons[name].wait()


def belonging(conf: Path) -> list[psutil.Process]:
    """Every process of a Slurm, those that watch its jobs first: seeing these end, they would tell of it."""
    watching: dict[psutil.Process, None] = {}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("SLURM_CONF") == str(conf):
                found.append(process)
                # It has overwritten its own variables.
                if (parent := process.parent()) is not None and parent.name() == "slurmstepd":
                    watching[parent] = None
        except (psutil.Error, OSError):
            continue
    return [*watching, *found]


def belonging_called(conf: Path, name: str) -> list[psutil.Process]:
    """Those of them that are called so and have not ended while it was looked."""
    found = []
    for process in belonging(conf):
        with suppress(psutil.NoSuchProcess):
            found += [process] if process.name() == name else []
    return found


def end(find: Callable[[], Iterable[psutil.Process]]) -> None:
    """Kill what is found, until nothing is."""
    deadline = time.monotonic() + 30
    while (left := find()) and time.monotonic() < deadline:
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _places(process: psutil.Process) -> list[str]:
    """The nodes on which it runs; a watching process is on those of what it watches."""
    found = []
    with suppress(psutil.Error, OSError):
        for one in (process, *process.children()):
            variables = one.environ()
            found += [variables.get("SLURM_TEST_NODE", ""), variables.get("SLURMD_NODENAME", "")]
    return found


def _free_ports(count: int) -> list[int]:
    """Below those that this machine hands out by itself: a daemon that is started again finds its own still free."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(11000, 32000)  # noqa: S311
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def _devices(place: Path) -> str:
    """Four character devices, as GPUs are: only of those does Slurm tell jobs which are theirs."""
    if os.geteuid():
        return "/dev/tty[0-3]"
    for number in range(4):
        os.mknod(place / f"nvidia{number}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    return f"{place}/nvidia[0-3]"


if __name__ == "__main__":
    # Ends all of a Slurm when its pipe closes: when it is stopped, and when who started it is killed.
    sys.stdin.read()
    end(lambda: belonging(Path(sys.argv[1])))
    shutil.rmtree(Path(sys.argv[1]).parents[1], ignore_errors=True)
