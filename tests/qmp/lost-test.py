#!/usr/bin/env python3
"""lost-test.py: an NBD server that is killed and comes back, below a disk and as the target of jobs.

The first argument is the program, of whose build rhea-nbd is used; words behind it choose tests by name.
Status 77: no /dev/kvm.
"""
import os
import select
import signal
import subprocess
import sys

from qmp import Machine, check, main, same
from virtio import DATA, IN, OUT, Blk

SIZE = 1 << 20
WORD = 0x41424344


class Server:
    """Serves an image of a folder by rhea-nbd, from start() to kill()."""

    def __init__(self, m, name="served"):
        self.image = m.folder.name + "/" + name
        self.socket = self.image + ".socket"
        with open(self.image, "wb") as f:
            f.truncate(SIZE)
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process is not None:
            self.kill()

    def start(self):
        pid = self.image + ".pid"
        tool = os.path.join(os.path.dirname(Machine.program), "..", "img", "rhea-nbd")
        subprocess.run([tool, "--fork", "--pid-file=" + pid, "-t", "-f", "raw", "-k", self.socket,
                        self.image], check=True)
        with open(pid) as f:
            self.process = os.pidfd_open(int(f.read()))

    def kill(self):
        """It is gone when this returns."""
        signal.pidfd_send_signal(self.process, signal.SIGKILL)
        select.select([self.process], [], [])
        os.close(self.process)
        self.process = None

    def read(self):
        with open(self.image, "rb") as f:
            return f.read()


def add(m, server, delay=0):
    m.qmp.cmd("blockdev-add", driver="nbd", server={"type": "unix", "path": server.socket},
              **{"node-name": "n", "reconnect-delay": delay})


def plug(m, **how):
    m.qmp.cmd("device_add", driver="virtio-blk-pci", id="d0", drive="n", addr="4", **how)
    return Blk(m, 4)


def fill(m, word):
    for at in range(0, 512, 4):
        m.store(DATA + at, word)


def sector(word):
    return word.to_bytes(4, "little") * 128


def test_requests_wait():
    """With reconnect-delay the guest hears nothing but that it took long."""
    with Machine(machine="pc") as m, Server(m) as s:
        add(m, s, delay=300)
        d = plug(m)
        fill(m, WORD)
        d.request(OUT, 1)
        s.kill()
        fill(m, WORD + 1)
        d.begin(OUT, 2)
        check(not d.ended(), "done without a server")
        s.start()
        d.end(OUT)
        fill(m, 0)
        d.request(IN, 1)
        same(m.load(DATA + 508), WORD)
        same(m.qmp.status(), "running")
        check("BLOCK_IO_ERROR" not in [e["event"] for e in m.qmp.events], m.qmp.events)
        same(s.read()[512:1536], sector(WORD) + sector(WORD + 1))


def test_reported():
    """Without, it hears of an error at once."""
    with Machine(machine="pc") as m, Server(m) as s:
        add(m, s)
        d = plug(m)
        s.kill()
        for kind, name in ((OUT, "write"), (IN, "read")):
            d.request(kind, 1, status=1)
            e = m.qmp.event("BLOCK_IO_ERROR")
            same((e["operation"], e["action"], e["nospace"], e["reason"]),
                 (name, "report", False, "Input/output error"))
        same(m.qmp.status(), "running")


def test_stopped():
    """With werror=stop the machine waits for somebody to say that the server is back."""
    with Machine(machine="pc") as m, Server(m) as s:
        q = m.qmp
        add(m, s)
        d = plug(m, werror="stop", rerror="stop")
        fill(m, WORD)
        s.kill()
        d.begin(OUT, 1, silent=True)
        for again in (True, False):            # the second: it is still away
            e = q.event("BLOCK_IO_ERROR")
            same((e["operation"], e["action"], e["node-name"]), ("write", "stop", "n"))
            q.event("STOP")
            same(q.status(), "io-error")
            if again:
                q.cmd("cont")
        s.start()
        while q.cmd("query-blockstats")[0]["stats"]["wr_operations"] == 0:
            if q.status() == "io-error":       # not connected to again, yet
                q.cmd("cont")
        same(m.guest.take(1), b".", "the notification's answer")
        d.end(OUT)
        same(s.read()[512:1024], sector(WORD))


def job(q):
    return q.cmd("query-block-jobs")[0]


def becomes(q, status):
    while q.event("JOB_STATUS_CHANGE")["status"] != status:
        pass


def begin_job(m, s, command, policy):
    """A job of 1 MiB whose target is lost after its first piece."""
    with open(m.folder.name + "/from", "wb") as f:
        f.write(bytes(range(256)) * (SIZE >> 8))
    m.qmp.cmd("blockdev-add", driver="raw", file={"driver": "file", "filename": m.folder.name + "/from"},
              **{"node-name": "r"})
    add(m, s)
    m.qmp.cmd(command, device="r", target="n", sync="full", speed=1,
              **{"job-id": "j", "on-target-error": policy})
    s.kill()
    m.qmp.cmd("block-job-set-speed", device="j", speed=0)
    e = m.qmp.event("BLOCK_JOB_ERROR")
    same((e["device"], e["operation"], e["action"]), ("j", "write", policy))


def job_fails(command, kind):
    with Machine(machine="pc") as m, Server(m) as s:
        begin_job(m, s, command, "report")
        e = m.qmp.event("BLOCK_JOB_COMPLETED")
        same((e["device"], e["type"], e["error"]), ("j", kind, "Input/output error"))
        check(e["offset"] < e["len"], e)
        becomes(m.qmp, "null")
        same(m.qmp.cmd("query-block-jobs"), [])
        m.qmp.cmd("blockdev-del", **{"node-name": "n"})
        m.qmp.cmd("blockdev-del", **{"node-name": "r"})


def job_pauses(command, last):
    with Machine(machine="pc") as m, Server(m) as s:
        q = m.qmp
        begin_job(m, s, command, "stop")
        becomes(q, "paused")
        same((job(q)["status"], job(q)["io-status"]), ("paused", "failed"))
        s.start()
        q.cmd("block-job-resume", device="j")
        while (e := q.events.pop(0) if q.events else q.message())["event"] != last:
            if e["event"] == "JOB_STATUS_CHANGE" and e["data"]["status"] == "paused":
                q.cmd("block-job-resume", device="j")          # not connected to again, yet
        check("error" not in e["data"], e)
        if command == "blockdev-mirror":
            same(job(q)["io-status"], "ok")
            q.cmd("job-complete", id="j")
            q.event("BLOCK_JOB_COMPLETED")
        same(s.read(), bytes(range(256)) * (SIZE >> 8))


def test_mirror_fails():
    job_fails("blockdev-mirror", "mirror")


def test_backup_fails():
    job_fails("blockdev-backup", "backup")


def test_mirror_pauses():
    job_pauses("blockdev-mirror", "BLOCK_JOB_READY")


def test_backup_pauses():
    job_pauses("blockdev-backup", "BLOCK_JOB_COMPLETED")


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS))
