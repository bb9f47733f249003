#!/usr/bin/env python3
"""job-test.py: jobs as clients see them, on machines without a guest.

The first argument is the program; words behind it choose tests by name.
"""
import os
import subprocess
import sys

from disks import DISK, Disks, add, disk_node
from qmp import check, main, same


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


def run(m, command, job="j", last="null", **args):
    """Runs a job to its end; what its last event said."""
    m.qmp.cmd(command, **args, **{"job-id": job})
    got = states(m, job, last)
    same(got[-1], last)


def holds(m, name, at, pattern, length=1 << 16):
    """Does image @name have @pattern there?"""
    command = "read -P %d %d %d" % (pattern, at, length)
    done = subprocess.run(["qemu-io", "-U", "-r", "-f", "qcow2", "-c", command,
                           m.folder.name + "/" + name], stdout=subprocess.PIPE, check=False)
    return b"Pattern verification failed" not in done.stdout


def bitmap(m, node="r"):
    """Dirty bytes of the bitmap b of a node, and whether it is busy."""
    for n in m.qmp.cmd("query-named-block-nodes"):
        if n["node-name"] == node:
            return [(b["count"], b["busy"]) for b in n["dirty-bitmaps"]][0]


def test_backup_modes():
    with Disks(*DISK, added="ab") as m:
        q = m.qmp
        full = {"device": "r", "target": "a", "job-id": "j"}
        q.fails("blockdev-backup", text="must provide a valid bitmap name for 'incremental' sync mode",
                sync="incremental", **full)
        q.fails("blockdev-backup", text="Cannot specify bitmap sync mode without a bitmap", sync="full",
                **full,
                **{"bitmap-mode": "never"})
        q.fails("blockdev-backup", text="Bitmap 'b' could not be found", sync="bitmap", bitmap="b", **full)
        q.cmd("block-dirty-bitmap-add", node="r", name="b")
        q.fails("blockdev-backup", text="Bitmap sync mode must be given when providing a bitmap",
                sync="bitmap",
                bitmap="b", **full)
        q.fails("blockdev-backup", text="Bitmap sync mode must be 'on-success' when using sync mode",
                sync="incremental", bitmap="b", **full, **{"bitmap-mode": "never"})
        q.fails("blockdev-backup", text="sync mode 'none' does not produce meaningful bitmap outputs",
                sync="none",
                bitmap="b", **full, **{"bitmap-mode": "always"})
        q.fails("blockdev-backup", text="Bitmap sync mode 'never' has no meaningful effect when combined",
                sync="full", bitmap="b", **full, **{"bitmap-mode": "never"})
        q.fails("blockdev-backup", text="max-workers must be between 1 and 2147483647", sync="full", **full,
                **{"x-perf": {"max-workers": 0}})
        q.fails("blockdev-backup", text="max-chunk must be zero", sync="full", **full,
                **{"x-perf": {"max-chunk": -1}})
        q.fails("blockdev-backup", text="Required max-chunk (1000) is less than backup cluster size (65536)",
                sync="full", **full, **{"x-perf": {"max-chunk": 1000}})
        q.fails("blockdev-backup", text="use-copy-range is not supported", sync="full", **full,
                **{"x-perf": {"use-copy-range": True}})
        q.fails("blockdev-backup", text="Compression is not supported for this drive", device="a", target="r",
                sync="full", compress=True, **{"job-id": "j"})
        q.fails("blockdev-mirror", text="Sync mode 'incremental' not supported", sync="incremental", **full)
        q.fails("blockdev-mirror", text="expects a value in range [512B, 64MB]", sync="full",
                granularity=3, **full)
        q.fails("blockdev-mirror", text="expects a power of 2", sync="full", granularity=768, **full)
        q.fails("blockdev-mirror", text="Invalid parameter 'buf-size'", sync="full", **full,
                **{"buf-size": -1})
        q.fails("blockdev-mirror", text="node-name='x'", sync="full", replaces="x", **full)
        # Nothing is marked: nothing is copied.
        q.cmd("blockdev-backup", device="r", target="a", sync="incremental", bitmap="b", **{"job-id": "j"})
        same(q.event("BLOCK_JOB_COMPLETED")["len"], 0)
        states(m, "j")
        check(holds(m, "a", 0, 0), "something was copied")
        run(m, "blockdev-backup", device="r", target="b", sync="full", compress=True)
        subprocess.run(["qemu-img", "compare", "-U", "-q", "-f", "raw", "-F", "qcow2", m.folder.name + "/d",
                        m.folder.name + "/b"], check=True)
        same(bitmap(m), (0, False))
        # A backup of nothing but what the guest writes over waits until it is cancelled.
        q.cmd("blockdev-backup", device="r", target="a", sync="none", **{"job-id": "j"})
        q.fails("block_resize", text="does not let others resize it", size=2 << 20, **{"node-name": "r"})
        q.fails("blockdev-del", text="in use", **{"node-name": "a"})
        q.cmd("block-job-cancel", device="j")
        same(states(m, "j")[-4:], ["running", "aborting", "concluded", "null"])


def test_opened_targets():
    with Disks(*DISK) as m:
        q = m.qmp
        new = m.folder.name + "/new"
        full = {"target": new, "sync": "full", "job-id": "j"}
        q.fails("drive-backup", text="Cannot find device='x' nor node-name='x'", device="x", **full)
        q.fails("drive-backup", text="No such file or directory", device="r", mode="existing", format="raw",
                **full)
        nodes = len(q.cmd("query-named-block-nodes"))
        run(m, "drive-backup", device="r", target=new, sync="full", format="qcow2")
        same(len(q.cmd("query-named-block-nodes")), nodes)
        subprocess.run(["qemu-img", "compare", "-U", "-q", "-f", "raw", "-F", "qcow2", m.folder.name + "/d",
                        new], check=True)
        q.fails("drive-mirror", text="Invalid job ID ''", device="r", target=new, sync="full",
                mode="existing")
        q.cmd("drive-mirror", device="r", target=new, sync="full", mode="existing",
              **{"job-id": "j", "node-name": "to", "copy-mode": "write-blocking"})
        q.event("BLOCK_JOB_READY")
        q.cmd("job-complete", id="j")
        states(m, "j")
        same(disk_node(m), "to")


def test_mirror_of_what_is_written():
    """sync=none: the new image gets what is written, and the rest from the source, which is behind it."""
    with Disks("-drive", "if=none,id=d0,format=qcow2,file=@FOLDER/a") as m:
        q, folder = m.qmp, m.folder.name
        address = {"type": "unix", "data": {"path": folder + "/s"}}
        q.cmd("nbd-server-start", addr=address)
        q.cmd("nbd-server-add", device="d0", writable=True)

        def io(*commands):
            words = [word for command in commands for word in ("-c", command)]
            subprocess.run(["qemu-io", "-f", "raw", *words, "nbd+unix:///d0?socket=%s/s" % folder],
                           check=True, stdout=subprocess.DEVNULL)

        none = {"device": "d0", "sync": "none", "target": folder + "/new"}
        q.fails("drive-mirror", text="Backing file not supported for file format 'raw'", format="raw", **none)
        q.fails("drive-mirror", text="copy-mode=write-blocking is not supported",
                **{"copy-mode": "write-blocking", **none})
        io("write -P 1 0 1M")
        q.cmd("drive-mirror", granularity=4096, **none)
        states(m, "d0", "ready")
        same(q.cmd("query-block-jobs")[0]["len"], 0)
        io("write -P 2 8k 4k")
        q.cmd("block-job-complete", device="d0")
        states(m, "d0")
        same(q.cmd("query-block")[0]["inserted"]["backing_file"], folder + "/a")
        io("write -P 3 512k 4k")
        io("read -P 1 0 8k", "read -P 2 8k 4k", "read -P 1 12k 500k", "read -P 3 512k 4k",
           "read -P 1 516k 508k")
        q.cmd("quit")
        m.ends()
        for name, pattern in (("a", 1), ("new", 3)):
            subprocess.run(["qemu-io", "-f", "qcow2", "-c", "read -P %d 512k 4k" % pattern,
                            folder + "/" + name], check=True, stdout=subprocess.DEVNULL)


def create(m, last="concluded", **options):
    """Runs blockdev-create; the job's error, or None."""
    options = {k.replace("_", "-"): v for k, v in options.items()}
    m.qmp.cmd("blockdev-create", options=options, **{"job-id": "c"})
    got = states(m, "c", last)
    same(got[:2], ["created", "running"])
    error = m.qmp.cmd("query-jobs")[0].get("error")
    same(got[2:], ["aborting", "concluded"] if error else ["waiting", "pending", "concluded"])
    same(m.qmp.cmd("query-block-jobs"), [])
    m.qmp.cmd("job-dismiss", id="c")
    states(m, "c")
    return error


def test_create():
    with Disks(*DISK) as m:
        q = m.qmp
        name = m.folder.name + "/made"
        same(create(m, driver="file", filename=name, size=1 << 20), None)
        q.cmd("blockdev-add", driver="file", filename=name, **{"node-name": "made"})
        same(create(m, driver="qcow2", file="made", size=4 << 20, cluster_size=4096, refcount_bits=8),
             None)
        same(create(m, driver="qcow2", file="no", size=1), "Cannot find device='no' nor node-name='no'")
        same(create(m, driver="qcow2", file="made", size=1 << 20, cluster_size=3),
             "Cluster size must be a power of two between 512 and 2048k")
        check("already used" in create(m, driver="qcow2", file="f", size=1 << 20),
              "a disk in use was formatted")
        check("No such file" in create(m, driver="file", filename="/nonexistent/x", size=1), "no error")
        q.fails("blockdev-create", text="Invalid job ID '1'", **{"job-id": "1"},
                options={"driver": "file", "filename": name, "size": 0})
        q.cmd("blockdev-del", **{"node-name": "made"})
        subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", name], check=True)
        # A node whose file was empty is as long as the image in it then, for an image of its own.
        with open(m.folder.name + "/empty", "wb"):
            pass
        q.cmd("blockdev-add", driver="file", filename=m.folder.name + "/empty", **{"node-name": "empty"})
        q.cmd("blockdev-add", driver="raw", file="empty", **{"node-name": "above"})
        same(create(m, driver="qcow2", file="above", size=1 << 20), None)
        same([n["image"]["virtual-size"] for n in q.cmd("query-named-block-nodes")
              if n["node-name"] in ("empty", "above")], [os.stat(m.folder.name + "/empty").st_size] * 2)
        for _ in range(2):
            q.cmd("blockdev-add", driver="qcow2", file="above", **{"node-name": "image"})
            q.cmd("blockdev-backup", device="r", target="image", sync="full", **{"job-id": "fill"})
            same(q.event("BLOCK_JOB_COMPLETED").get("error"), None)
            q.cmd("blockdev-del", **{"node-name": "image"})


def test_busy():
    """What a job has in hand no other one and no snapshot takes; a backup is in nobody's way."""
    text = "Node '%s' is busy: block device is in use by block job: %s"
    with Disks(*DISK, added="c") as m:
        q = m.qmp
        for layer in "ab":
            subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write 0 1M", m.folder.name + "/" + layer],
                           check=True, stdout=subprocess.DEVNULL)
            add(m, layer)
            q.cmd("blockdev-snapshot", node=disk_node(m), overlay=layer)
        slow = {"job-id": "j", "speed": 1, "auto-finalize": False}
        for first, args, busy in (
                ("blockdev-mirror", {"device": "b", "target": "c", "sync": "full"}, "b"),
                ("block-stream", {"device": "b"}, "ba"),
                ("block-stream", {"device": "b", "base-node": "r"}, "ba"),
                ("block-commit", {"device": "b", "top-node": "a", "base-node": "r"}, "ba"),
                ("block-commit", {"device": "b", "base-node": "r"}, "ba")):
            kind = first.split("-")[1]
            q.cmd(first, **args, **slow)
            for node in busy:
                q.fails("blockdev-backup", device=node, target="c", sync="full", text=text % (node, kind),
                        **{"job-id": "k"})
            for command in ("block-stream", "block-commit"):
                q.fails(command, device="b", text=text % ("b", kind), **{"job-id": "k", "base-node": "a"})
            if kind != "mirror":
                q.fails("blockdev-mirror", device="b", target="c", sync="full", text=text % ("b", kind),
                        **{"job-id": "k"})
                q.fails("blockdev-snapshot", node="b", overlay="c", text=text % ("b", kind))
            q.cmd("block-job-cancel", device="j", force=True)
            states(m, "j")
        slow.pop("auto-finalize")
        q.cmd("blockdev-backup", device="b", target="c", sync="full", **slow)
        q.cmd("block-stream", device="b", **{"job-id": "k", "base-node": "a"})
        while q.event("BLOCK_JOB_COMPLETED")["device"] != "k":
            pass


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS, kvm=False))
