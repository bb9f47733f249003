#!/usr/bin/env python3
"""bitmap-test.py: dirty bitmaps and internal snapshots by QMP, and what an independent implementation then
finds in the image.

The first argument is the program; words behind it choose tests by name.
"""
import json
import subprocess
import sys

from qmp import main, same, still


class Image:
    """still() with a disk: a qcow2 image of 4 MiB."""

    def __init__(self):
        self.m = still("-blockdev", "driver=qcow2,node-name=d,file.driver=file,file.filename=@FOLDER/d",
                       "-blockdev", "driver=null-co,node-name=null,size=4M",
                       "-device", "virtio-blk-pci,id=vd0,drive=d")
        self.path = self.m.folder.name + "/d"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", self.path, "4M"], check=True)

    def __enter__(self):
        return self.m.__enter__()

    def __exit__(self, *exc):
        self.m.__exit__(*exc)


def bitmaps(m, node="d"):
    nodes = {n["node-name"]: n for n in m.qmp.cmd("query-named-block-nodes")}
    return nodes[node].get("dirty-bitmaps", [])


def info(path):
    return json.loads(subprocess.run(["qemu-img", "info", "-U", "--output=json", path], check=True,
                                     stdout=subprocess.PIPE).stdout)


def test_bitmap_add():
    with Image() as m:
        q = m.qmp
        q.fails("block-dirty-bitmap-add", text="Cannot find device='x' nor node-name='x'", node="x", name="b")
        q.fails("block-dirty-bitmap-add", text="Bitmap name cannot be empty", node="d", name="")
        q.fails("block-dirty-bitmap-add", text="Granularity must be power of 2", node="d", name="b",
                granularity=1000)
        q.fails("block-dirty-bitmap-add", text="Granularity must be at least 512", node="d", name="b",
                granularity=0)
        q.fails("block-dirty-bitmap-add", text="does not support persistent bitmaps", node="null", name="b",
                persistent=True)
        q.cmd("block-dirty-bitmap-add", node="d", name="b", persistent=True)
        q.fails("block-dirty-bitmap-add", text="Bitmap already exists: b", node="d", name="b")
        q.cmd("block-dirty-bitmap-add", node="d", name="off", disabled=True, granularity=4096)
        same(bitmaps(m), [
            {"name": "b", "count": 0, "granularity": 65536, "recording": True, "busy": False,
             "persistent": True},
            {"name": "off", "count": 0, "granularity": 4096, "recording": False, "busy": False,
             "persistent": False}])


def test_bitmap_kept():
    image = Image()
    with image as m:
        m.qmp.cmd("block-dirty-bitmap-add", node="d", name="b", persistent=True)
        m.qmp.cmd("block-dirty-bitmap-add", node="d", name="passing")
        m.qmp.cmd("quit")
        m.ends()
        same([(b["name"], b["flags"]) for b in info(image.path)["format-specific"]["data"]["bitmaps"]],
             [("b", ["auto"])])


def test_bitmap_change():
    with Image() as m:
        q = m.qmp
        for command in "remove", "clear", "enable", "disable":
            q.fails("block-dirty-bitmap-" + command, text="Dirty bitmap 'b' not found", node="d", name="b")
            q.fails("block-dirty-bitmap-" + command, text="Cannot find device='x'", node="x", name="b")
        q.cmd("block-dirty-bitmap-add", node="d", name="b")
        q.cmd("block-dirty-bitmap-disable", node="d", name="b")
        same(bitmaps(m)[0]["recording"], False)
        q.cmd("block-dirty-bitmap-enable", node="d", name="b")
        same(bitmaps(m)[0]["recording"], True)
        q.cmd("block-dirty-bitmap-clear", node="d", name="b")
        q.cmd("block-dirty-bitmap-remove", node="d", name="b")
        same(bitmaps(m), [])


def test_bitmap_merge():
    with Image() as m:
        q = m.qmp
        for name in "abc":
            q.cmd("block-dirty-bitmap-add", node="d", name=name)
        q.cmd("block-dirty-bitmap-add", node="null", name="n")
        q.cmd("block-dirty-bitmap-merge", node="d", target="a", bitmaps=["b", {"node": "null", "name": "n"}])
        q.fails("block-dirty-bitmap-merge", text="Dirty bitmap 'x' not found", node="d", target="a",
                bitmaps=["x"])
        q.fails("block-dirty-bitmap-merge", text="Dirty bitmap 'x' not found", node="d", target="x",
                bitmaps=["a"])


class Uneven:
    """A disk that ends within a granule of its bitmaps, exported, and a file to copy it to."""

    SIZE = (4 << 20) + 2560

    def __init__(self):
        self.m = still("-blockdev", "driver=qcow2,node-name=d,file.driver=file,file.filename=@FOLDER/d",
                       "-blockdev", "driver=raw,node-name=t,file.driver=file,file.filename=@FOLDER/t",
                       "-device", "virtio-blk-pci,id=vd0,drive=d,share-rw=on")
        self.folder = self.m.folder.name
        for name, kind in (("d", "qcow2"), ("t", "raw")):
            self.tool("qemu-img", "create", "-q", "-f", kind, self.folder + "/" + name, str(self.SIZE))

    @staticmethod
    def tool(*words):
        return subprocess.run(words, check=True, stdout=subprocess.PIPE, timeout=60).stdout

    def export(self):
        self.m.qmp.cmd("nbd-server-start", addr={"type": "unix", "data": {"path": self.folder + "/s"}})
        self.m.qmp.cmd("nbd-server-add", device="d", writable=True)

    def write(self, byte, at, length):
        self.tool("qemu-io", "-f", "raw", "-c", "write -P %d %d %d" % (byte, at, length),
                  "nbd+unix:///d?socket=%s/s" % self.folder)

    def backup(self, **how):
        q = self.m.qmp
        q.cmd("blockdev-backup", **{"job-id": "j", "device": "d", "target": "t", **how})
        done = q.event("BLOCK_JOB_COMPLETED")
        same((done.get("error"), done["len"], done["offset"]), (None, done["len"], done["len"]))
        self.tool("qemu-img", "compare", "-U", "-f", "raw", "-F", "raw",
                  "nbd+unix:///d?socket=%s/s" % self.folder, self.folder + "/t")


def test_last_granule():
    """Backups by bitmaps, while the disk is written to between them, and merged bitmaps have all of it."""
    disk = Uneven()
    with disk.m as m:
        q, size = m.qmp, disk.SIZE
        disk.export()
        disk.write(1, 0, size)
        for name, granularity in (("b", 65536), ("fine", 512), ("coarse", 1 << 21), ("all", 65536)):
            q.cmd("block-dirty-bitmap-add", node="d", name=name, granularity=granularity, persistent=True)
        disk.backup(sync="full")
        disk.write(2, size - 512, 512)
        same([b["count"] for b in bitmaps(m) if b["name"] == "b"], [65536])
        disk.backup(sync="incremental", bitmap="b")
        disk.write(3, size - 1024, 1024)
        disk.backup(sync="bitmap", bitmap="b", **{"bitmap-mode": "always"})
        disk.write(4, size - 2000, 100)
        disk.backup(sync="bitmap", bitmap="b", **{"bitmap-mode": "never"})
        q.cmd("block-dirty-bitmap-merge", node="d", target="all", bitmaps=["b", "fine", "coarse"])
        disk.backup(sync="incremental", bitmap="all")
        same({b["name"]: b["count"] for b in bitmaps(m) if b["name"] != "fine"},
             {"b": 65536, "coarse": 1 << 21, "all": 0})
        q.cmd("quit")
        m.ends()
        disk.tool("qemu-img", "convert", "--bitmaps", "-O", "qcow2", disk.folder + "/d", disk.folder + "/c")
        same(sorted(b["name"] for b in info(disk.folder + "/c")["format-specific"]["data"]["bitmaps"]),
             ["all", "b", "coarse", "fine"])
        disk.tool("qemu-img", "check", disk.folder + "/d")


def test_internal_snapshot():
    image = Image()
    with image as m:
        q, make, delete = m.qmp, "blockdev-snapshot-internal-sync", "blockdev-snapshot-delete-internal-sync"
        q.fails(make, text="Cannot find device='x'", device="x", name="s")
        q.fails(make, text="Name is empty", device="d", name="")
        q.fails(make, text="Block format 'null-co' used by node 'null' does not support internal snapshots",
                device="null", name="s")
        q.cmd(make, device="d", name="s")
        q.fails(make, text="Snapshot with name 's' already exists on device 'd'", device="d", name="s")
        q.cmd(make, device="d", name="t")
        nodes = {n["node-name"]: n for n in q.cmd("query-named-block-nodes")}
        same([s["name"] for s in nodes["d"]["image"]["snapshots"]], ["s", "t"])
        same([s["name"] for s in info(image.path)["snapshots"]], ["s", "t"])
        q.fails(delete, text="Name or id must be provided", device="d")
        q.fails(delete, text="Snapshot with id 'null' and name 'x' does not exist on device 'd'", device="d",
                name="x")
        gone = q.cmd(delete, device="d", name="s")
        same((gone["id"], gone["name"], gone["vm-state-size"]), ("1", "s", 0))
        same(q.cmd(delete, device="d", id="2")["name"], "t")
        same(info(image.path).get("snapshots", []), [])


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS, kvm=False))
