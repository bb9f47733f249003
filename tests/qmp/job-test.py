#!/usr/bin/env python3
"""job-test.py: jobs as clients see them, on machines without a guest.

The first argument is the program; words behind it choose tests by name.
"""
import subprocess
import sys

from disks import DISK, Disks, disk_node
from qmp import main, same


def states(m, job, last="null"):
    """The states that @job goes through, up to @last."""
    got = []
    while not got or got[-1] != last:
        e = m.qmp.event("JOB_STATUS_CHANGE")
        same(e["id"], job)
        got.append(e["status"])
    return got


def test_mirror():
    with Disks(*DISK, added="ab") as m:
        q = m.qmp
        q.fails("blockdev-mirror", text="node-name='x'", device="r", target="x", sync="full",
                **{"job-id": "j"})
        q.fails("blockdev-mirror", text="Invalid job ID ''", device="r", target="a", sync="full")
        for name in "xy":
            q.cmd("blockdev-add", driver="null-co", size=1 << 62, **{"node-name": "huge" + name})
        q.fails("blockdev-mirror", text="Node 'hugex' is too large for a job", device="hugex", target="hugey",
                sync="full", **{"job-id": "h"})
        q.cmd("blockdev-mirror", device="r", target="a", sync="full",
              **{"job-id": "j", "auto-finalize": False, "auto-dismiss": False})
        same(states(m, "j", "ready"), ["created", "running", "ready"])
        job = q.cmd("query-block-jobs")[0]
        same((job["device"], job["len"], job["offset"], job["ready"]), ("j", 1 << 20, 1 << 20, True))
        q.fails("blockdev-del", text="'j'", **{"node-name": "a"})
        q.cmd("job-pause", id="j")
        states(m, "j", "standby")
        q.fails("block-job-pause", text="already paused", device="j")
        q.fails("block-job-cancel", text="currently paused", device="j")
        q.cmd("job-resume", id="j")
        q.fails("block-job-resume", text="was not paused", device="j")
        states(m, "j", "ready")
        q.fails("job-finalize", text="state 'ready' cannot accept command verb 'finalize'", id="j")
        q.fails("block-job-finalize", text="verb 'finalize'", id="j")
        q.cmd("job-complete", id="j")
        states(m, "j", "pending")
        q.fails("block-job-complete", text="verb 'complete'", device="j")
        q.cmd("job-finalize", id="j")
        states(m, "j", "concluded")
        same(q.cmd("query-jobs")[0]["status"], "concluded")
        q.cmd("block-job-dismiss", id="j")
        states(m, "j")
        q.fails("job-dismiss", text="Job not found", id="j")
        same(disk_node(m), "a")


def test_snapshot_and_commit():
    with Disks(*DISK, added="ab") as m:
        q = m.qmp
        q.cmd("blockdev-snapshot", node="r", overlay="a")
        q.cmd("blockdev-snapshot", node="a", overlay="b")
        q.fails("block-commit", text="node-name='x'", device="b", **{"job-id": "c", "top-node": "x"})
        q.fails("block-commit", kind="DeviceNotFound", text="'x'", device="x", **{"job-id": "c"})
        q.cmd("block-commit", device="b", **{"job-id": "c", "top-node": "a"})
        same(states(m, "c"), ["created", "running", "waiting", "pending", "concluded", "null"])
        q.cmd("blockdev-del", **{"node-name": "a"})
        q.cmd("block-commit", device="b", **{"job-id": "c"})
        q.event("BLOCK_JOB_READY")
        q.cmd("block-job-complete", device="c")
        states(m, "c")
        same(disk_node(m), "r")
        q.cmd("blockdev-del", **{"node-name": "b"})


def test_stream():
    with Disks(*DISK, added="ab") as m:
        q = m.qmp
        q.cmd("blockdev-snapshot", node="r", overlay="a")
        q.fails("block-stream", text="node-name='x'", device="a", **{"job-id": "s", "base-node": "x"})
        q.cmd("block-stream", device="a", **{"job-id": "s"})
        same(states(m, "s"), ["created", "running", "waiting", "pending", "concluded", "null"])
        q.cmd("blockdev-del", **{"node-name": "r"})
        subprocess.run(["qemu-img", "compare", "-U", "-q", "-f", "raw", "-F", "qcow2", m.folder.name + "/d",
                        m.folder.name + "/a"], check=True)


def test_backup():
    with Disks(*DISK, added="ab") as m:
        q = m.qmp
        q.fails("blockdev-backup", text="Only sync=full", device="r", target="a", sync="top",
                **{"job-id": "b"})
        q.cmd("blockdev-backup", device="r", target="a", sync="full", speed=1, **{"job-id": "b"})
        q.cmd("block-job-set-speed", device="b", speed=1000)
        q.cmd("job-cancel", id="b")
        same(q.event("BLOCK_JOB_CANCELLED")["device"], "b")
        states(m, "b")
        q.cmd("blockdev-backup", device="r", target="a", sync="full", **{"job-id": "b"})
        same(q.event("BLOCK_JOB_COMPLETED"),
             {"device": "b", "len": 1 << 20, "offset": 1 << 20, "speed": 0, "type": "backup"})
        states(m, "b")
        same(disk_node(m), "r")
        q.fails("block-job-set-speed", kind="DeviceNotActive", text="'b' not found", device="b", speed=0)


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS, kvm=False))
