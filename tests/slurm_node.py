"""A SLURM cluster of this machine alone, for tests: its own daemons, ports and folder."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged")
CONF = """
ClusterName=one
SlurmctldHost=localhost(127.0.0.1)
AuthType=auth/munge
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
KillWait=5
JobRequeue=1
NodeName=localhost NodeAddr=127.0.0.1 NodeHostname={host} CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


def missing():
    """Why no cluster can be started here; empty if one can."""
    if os.geteuid():
        return "only root can start the daemons of SLURM"
    lacking = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    return f"{', '.join(lacking)} not found (Debian: apt-get install slurm-wlm munge)" if lacking else ""


class Node:
    """The cluster; its commands find it by the environment variable SLURM_CONF."""

    def __init__(self, folder):
        self.folder = Path(folder)
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        host = socket.gethostname().split(".")[0]
        conf = CONF.format(folder=self.folder, ports=[_free_port(), _free_port()], host=host)
        self.conf = self.folder / "slurm.conf"
        self.conf.write_text(conf)
        self.environment = {**os.environ, "SLURM_CONF": str(self.conf), "PATH": _path()}

    def start(self, *daemons):
        for daemon in daemons or ("slurmctld", "slurmd"):
            more = ["-N", "localhost"] if daemon == "slurmd" else []
            self.command(daemon, *more)
        self.wait(
            lambda: (
                "idle" in self.command("sinfo", "-h", "-o", "%t")
                or "mix" in self.command("sinfo", "-h", "-o", "%t")
                or "alloc" in self.command("sinfo", "-h", "-o", "%t")
            )
        )

    def stop(self, *daemons):
        for daemon in daemons or ("slurmd", "slurmctld"):
            pid = self.folder / f"{daemon}.pid"
            if pid.exists() and pid.read_text().strip():
                _kill(int(pid.read_text()))

    def command(self, *arguments):
        done = subprocess.run(arguments, env=self.environment, capture_output=True, text=True, timeout=60)
        return done.stdout

    def jobs(self):
        """Id and state of each job of an array that is queued or running."""
        return [line.split() for line in self.command("squeue", "-h", "-r", "-o", "%i %T").splitlines()]

    def wait(self, until, seconds=60):
        deadline = time.monotonic() + seconds
        while not (found := until()):
            if time.monotonic() > deadline:
                logs = "".join(p.read_text()[-2000:] for p in self.folder.glob("*.log"))
                raise AssertionError(f"waited {seconds} s; {logs}")
            time.sleep(0.2)
        return found


@contextmanager
def one_node(folder):
    """Run a cluster, and end all of it."""
    with _munge():
        node = Node(folder)
        try:
            node.start()
            yield node
        finally:
            node.command("scancel", "--full", "--user=root")
            node.stop()


@contextmanager
def _munge():
    """Run the daemon of authentication, if none runs."""
    if subprocess.run(["munge", "-n"], capture_output=True).returncode == 0:
        yield
        return
    for place, mode in (
        ("/run/munge", 0o755),
        ("/var/log/munge", 0o700),
        ("/etc/munge", 0o700),
        ("/var/lib/munge", 0o700),
    ):
        Path(place).mkdir(parents=True, exist_ok=True)
        shutil.chown(place, "munge", "munge")
        os.chmod(place, mode)
    key = Path("/etc/munge/munge.key")
    if not key.exists():
        key.write_bytes(os.urandom(1024))
        shutil.chown(key, "munge", "munge")
        key.chmod(0o400)
    subprocess.run(["runuser", "-u", "munge", "--", "/usr/sbin/munged"], check=True)
    try:
        yield
    finally:
        _kill(int(Path("/run/munge/munged.pid").read_text()))


def _kill(pid):
    try:
        os.kill(pid, signal.SIGTERM)
        for _ in range(50):
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _path():
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
