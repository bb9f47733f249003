#!/usr/bin/env python3
"""past-test.py: pulled backups: what a disk was is read by NBD clients while it is written to.

The first argument is the program; words behind it choose tests by name.
"""
import shutil
import subprocess
import sys

from disks import Disks, add, disk_node
from qmp import check, main, same

SHARED = ["-blockdev", "driver=file,node-name=f,filename=@FOLDER/d",
          "-blockdev", "driver=raw,node-name=r,file=f",
          "-device", "virtio-blk-pci,id=vd0,drive=r,share-rw=on"]
PATH = "/machine/peripheral/vd0"
# What the guest writes: over a cluster, over parts of several, zeroes, and nothing any more.
WRITES = ["write -P 1 0 64k", "write -P 2 100k 200k", "write -P 3 1000 24", "write -z 400k 100k",
          "discard 512k 256k"]


def run(*args):
    done = subprocess.run(args, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    same(done.returncode, 0, done.stdout)
    return done.stdout


def client(uri, command, *mode):
    """What qemu-io says, whatever comes of it."""
    return subprocess.run(["qemu-io", "-f", "raw", *mode, "-c", command, uri], timeout=30, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


class Disk:
    """The disk of @m, its NBD server, and a copy of what it was."""

    def __init__(self, m):
        self.m, self.was = m, m.folder.name + "/was"
        shutil.copy(m.folder.name + "/d", self.was)
        m.qmp.cmd("nbd-server-start", addr={"type": "unix", "data": {"path": m.folder.name + "/nbd"}})

    def uri(self, name):
        return "nbd+unix:///%s?socket=%s/nbd" % (name, self.m.folder.name)

    def export(self, node, writable=False, **args):
        self.m.qmp.cmd("block-export-add", type="nbd", id=node, name=node, writable=writable,
                       **{"node-name": node}, **args)

    def unexport(self, node):
        self.m.qmp.cmd("block-export-del", id=node, mode="hard")
        self.m.qmp.event("BLOCK_EXPORT_DELETED")

    def write(self, node):
        run("qemu-io", "-f", "raw", *[a for c in WRITES for a in ("-c", c)], self.uri(node))

    def check(self, name):
        """Clients see what was."""
        got = self.m.folder.name + "/got"
        for client in (("nbdcopy", self.uri(name), got),
                       ("qemu-img", "convert", "-O", "raw", self.uri(name), got)):
            run("rm", "-f", got)
            run(*client)
            run("cmp", got, self.was)


def nodes(q):
    return {n["node-name"]: n for n in q.cmd("query-named-block-nodes")}


def bad_target(q, **when):
    """A node above a that has no room."""
    q.cmd("blockdev-add", driver="blkdebug", image="a", **{
        "node-name": "bad", "inject-error": [{"event": "none", "iotype": "write", "errno": 28, **when}]})


def test_overlay():
    with Disks(*SHARED) as m:
        q, disk = m.qmp, Disk(m)
        q.cmd("block-dirty-bitmap-add", node="r", name="b")
        disk.export("r", writable=True)
        disk.write("r")
        shutil.copy(m.folder.name + "/d", disk.was)
        q.cmd("block-dirty-bitmap-disable", node="r", name="b")
        before = sorted(nodes(q))
        q.cmd("blockdev-add", driver="qcow2", backing="r", **{
            "file": {"driver": "file", "filename": m.folder.name + "/a"}, "node-name": "a"})
        q.cmd("transaction", actions=[
            {"type": "blockdev-backup", "data": {"device": "r", "target": "a", "sync": "none", "job-id": "j",
                                                 "filter-node-name": "filter"}},
            {"type": "block-dirty-bitmap-add", "data": {"node": "r", "name": "next"}}])
        same(nodes(q)["a"]["image"]["backing-image"]["format"], "raw")
        disk.export("a", bitmaps=["b"])
        q.fails("block-export-add", text="does not let others write it", type="nbd", id="w", name="w",
                writable=True, **{"node-name": "a"})
        disk.check("a")
        disk.write("r")
        run("qemu-io", "-f", "raw", "-c", "write -P 9 900k 4k", disk.uri("r"))
        disk.check("a")
        dirty = run("nbdinfo", "--map=qemu:dirty-bitmap:b", disk.uri("a")).split()
        same(dirty[3::4], ["dirty", "clean", "dirty", "clean"])
        disk.unexport("a")
        q.cmd("job-cancel", id="j")
        q.event("BLOCK_JOB_CANCELLED")
        q.cmd("blockdev-del", **{"node-name": "a"})
        same(sorted(nodes(q)), before)
        same(disk_node(m), "r")


def test_access():
    with Disks(*SHARED, added="ab") as m:
        q, disk = m.qmp, Disk(m)

        def set_drive(node):
            q.cmd("qom-set", path=PATH, property="drive", value=node)
            same(q.cmd("qom-get", path=PATH, property="drive"), node)
            same(disk_node(m), node)
        q.cmd("blockdev-add", driver="copy-before-write", file="r", target="a", **{"node-name": "c"})
        set_drive("c")
        set_drive("c")
        q.cmd("blockdev-add", driver="snapshot-access", file="c", **{"node-name": "s"})
        same([nodes(q)[n]["drv"] for n in "cs"], ["copy-before-write", "snapshot-access"])
        disk.export("c", writable=True)
        disk.export("s")
        disk.write("c")
        disk.check("s")
        # It is also what a backup copies.
        q.cmd("blockdev-backup", device="s", target="b", sync="full", **{"job-id": "j"})
        disk.write("c")
        same(q.event("BLOCK_JOB_COMPLETED")["offset"], 1 << 20)
        q.fails("qom-set", text="already used by node 'c'", path=PATH, property="drive", value="r")
        q.fails("block_resize", text="does not let others resize it", size=2 << 20, **{"node-name": "r"})
        q.fails("blockdev-del", text="in use", **{"node-name": "c"})
        for export in "sc":
            disk.unexport(export)
        q.cmd("blockdev-del", **{"node-name": "s"})
        set_drive("r")
        for node in "cab":
            q.cmd("blockdev-del", **{"node-name": node})
        run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", m.folder.name + "/b", disk.was)


def test_access_refused():
    with Disks(*SHARED, added="a") as m:
        q, disk = m.qmp, Disk(m)

        def fails(text, **args):
            q.fails("blockdev-add", text=text, driver="copy-before-write", **{"node-name": "c"}, **args)
        fails("Parameter 'target' is missing", file="r")
        fails("Parameter 'file' is missing", target="a")
        fails("Cannot find device='' nor node-name='x'", file="r", target="x")
        fails("Node 'x' not found", file="r", target="a", bitmap={"node": "x", "name": "b"})
        fails("Dirty bitmap 'b' not found", file="r", target="a", bitmap={"node": "r", "name": "b"})
        fails("does not accept value 'x'", file="r", target="a", **{"on-cbw-error": "x"})
        fails("bytes in common", file="f", target="r")
        q.fails("qom-set", text="Cannot find device='' nor node-name='x'", path=PATH, property="drive",
                value="x")
        q.fails("qom-set", text="expected: string", path=PATH, property="drive", value=1)
        fails("Parameter 'cbw-timeout'", file="r", target="a", **{"cbw-timeout": -1})
        q.cmd("blockdev-add", driver="null-co", **{"node-name": "slow", "latency-ns": 1500000000})
        q.cmd("blockdev-add", driver="copy-before-write", file="r", target="slow",
              **{"node-name": "c", "cbw-timeout": 1})
        q.cmd("qom-set", path=PATH, property="drive", value="c")
        disk.export("c", writable=True)
        told = client(disk.uri("c"), "write -P 5 256k 4k")
        check("write failed: " in told, "a copy that takes longer than it may", told)
        disk.unexport("c")
        q.cmd("qom-set", path=PATH, property="drive", value="r")
        q.cmd("blockdev-del", **{"node-name": "c"})
        q.cmd("blockdev-del", **{"node-name": "slow"})
        bad_target(q)
        for how, told in (("break-guest-write", "No space left on device"), ("break-snapshot", "")):
            q.cmd("blockdev-add", driver="copy-before-write", file="r", target="bad",
                  **{"node-name": "c", "on-cbw-error": how})
            q.cmd("qom-set", path=PATH, property="drive", value="c")
            q.cmd("blockdev-add", driver="snapshot-access", file="c", **{"node-name": "s"})
            disk.export("c", writable=True)
            disk.export("s")
            for node, command, want in (("c", "write -P 5 256k 4k", told),
                                        ("s", "read 0 4k", "" if told else "Operation not permitted")):
                told_it = client(disk.uri(node), command, *(["-r"] if node == "s" else []))
                same((want or "ops/sec") in told_it, True, told_it)
            for export in "sc":
                disk.unexport(export)
            q.cmd("blockdev-del", **{"node-name": "s"})
            q.cmd("qom-set", path=PATH, property="drive", value="r")
            q.cmd("blockdev-del", **{"node-name": "c"})


def dirty_grains(q):
    """How many pieces of 64 KiB the bitmap b of the disk has."""
    return next(b["count"] >> 16 for b in nodes(q)["r"]["dirty-bitmaps"] if b.get("name") == "b")


def test_bitmap_modes():
    """The guest writes to what is copied, and elsewhere, before a backup by bitmap goes on, ends or fails."""
    for mode, ending, left in (("on-success", "completes", 2), ("on-success", "cancelled", 5),
                               ("never", "completes", 5), ("always", "completes", 2), ("always", "fails", 3),
                               ("on-success", "fails", 5)):
        with Disks(*SHARED, added="a") as m:
            q, disk = m.qmp, Disk(m)
            disk.export("r", writable=True)
            q.cmd("block-dirty-bitmap-add", node="r", name="b")
            client(disk.uri("r"), "write -P 1 0 256k")
            bad_target(q, sector=3 * 128)
            q.cmd("blockdev-backup", device="r", target="bad" if ending == "fails" else "a", sync="bitmap",
                  bitmap="b", speed=1, **{"bitmap-mode": mode, "job-id": "j",
                                          "x-perf": {"max-workers": 1, "max-chunk": 65536}})
            for at in ("64k", "512k"):
                client(disk.uri("r"), "write -P 2 %s 4k" % at)
            if ending == "cancelled":
                q.cmd("job-cancel", id="j")
                q.event("BLOCK_JOB_CANCELLED")
            else:
                q.cmd("block-job-set-speed", device="j", speed=0)
                same(q.event("BLOCK_JOB_COMPLETED").get("error"),
                     "No space left on device" if ending == "fails" else None)
            same(dirty_grains(q), left, mode + " " + ending)
            for node in ("bad", "a"):
                q.cmd("blockdev-del", **{"node-name": node})
            wanted = ["read -P 1 64k 64k", "read -P 0 512k 64k"]
            for command in wanted + ["read -P 1 0 256k"] * (ending == "completes"):
                said = run("qemu-io", "-f", "qcow2", "-c", command, m.folder.name + "/a")
                same("verification failed" in said, False, said)


def test_job_cannot_copy():
    """A copy before a guest's write that fails: the write fails, or the job."""
    for how, told in (("break-guest-write", "No space left on device"), ("break-snapshot", "ops/sec")):
        with Disks(*SHARED, added="a") as m:
            q, disk = m.qmp, Disk(m)
            disk.export("r", writable=True)
            bad_target(q)
            q.cmd("blockdev-backup", device="r", target="bad", sync="none",
                  **{"job-id": "j", "on-cbw-error": how})
            said = client(disk.uri("r"), "write -P 5 256k 4k")
            same(told in said, True, said)
            if how == "break-snapshot":
                same(q.event("BLOCK_JOB_COMPLETED")["error"], "No space left on device")
            else:
                q.cmd("job-cancel", id="j")
                q.event("BLOCK_JOB_CANCELLED")


def test_below():
    """Put in below the disk's node by blockdev-reopen, on the command line at the start."""
    with Disks("-blockdev", "driver=file,node-name=f,filename=@FOLDER/d",
               "-blockdev", "driver=qcow2,node-name=a,file.driver=file,file.filename=@FOLDER/a",
               "-blockdev", "driver=copy-before-write,node-name=c,file=f,target=a",
               "-blockdev", "driver=raw,node-name=r,file=c",
               "-device", "virtio-blk-pci,id=vd0,drive=r,share-rw=on") as m:
        q, disk = m.qmp, Disk(m)
        disk.export("r", writable=True)
        for again in range(2):
            shutil.copy(m.folder.name + "/d", disk.was)
            if again:
                add(m, "b")
                q.cmd("blockdev-add", driver="copy-before-write", file="f", target="b", **{"node-name": "c"})
                q.cmd("blockdev-reopen", options=[{"driver": "raw", "node-name": "r", "file": "c"}])
            q.cmd("blockdev-add", driver="snapshot-access", file="c", **{"node-name": "s"})
            disk.export("s")
            disk.write("r")
            disk.check("s")
            disk.unexport("s")
            q.cmd("blockdev-del", **{"node-name": "s"})
            q.cmd("blockdev-reopen", options=[{"driver": "raw", "node-name": "r", "file": "f"}])
            q.cmd("blockdev-del", **{"node-name": "c"})
            disk.write("r")


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS, kvm=False))
