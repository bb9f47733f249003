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
