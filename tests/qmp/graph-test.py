#!/usr/bin/env python3
"""graph-test.py: changes of the graph of block nodes, as clients make them, on machines without a guest.

The first argument is the program; words behind it choose tests by name.
"""
import subprocess
import sys

from disks import DISK, Disks, add, disk_node
from qmp import check, main, same


def test_blockdev_snapshot():
    with Disks(*DISK) as m:
        q = m.qmp
        add(m, "a")
        q.fails("blockdev-snapshot", text="Cannot find device='x' nor node-name='x'", node="x", overlay="a")
        q.fails("blockdev-snapshot", text="would create a cycle", node="r", overlay="f")
        same(disk_node(m), "r")
        q.cmd("blockdev-snapshot", node="r", overlay="a")
        same(disk_node(m), "a")
        q.fails("blockdev-snapshot", text="Node 'r' is busy: node is used as backing hd of 'a'", node="r",
                overlay="a")
        q.fails("blockdev-del", text="a", **{"node-name": "r"})
        # What is behind an image is its own affair: it can be read from, not written to.
        nodes = {n["node-name"]: n for n in q.cmd("query-named-block-nodes")}
        same((nodes["r"]["ro"], nodes["a"]["ro"]), (True, False))


def test_snapshot_sync():
    with Disks(*DISK) as m:
        q, path = m.qmp, m.folder.name + "/b"
        q.fails("blockdev-snapshot-sync", text="New overlay node-name missing", mode="existing",
                **{"node-name": "r", "snapshot-file": path})
        q.fails("blockdev-snapshot-sync", text="/nosuch/x", mode="existing",
                **{"node-name": "r", "snapshot-file": "/nosuch/x", "snapshot-node-name": "s"})
        q.cmd("blockdev-snapshot-sync", mode="existing",
              **{"node-name": "r", "snapshot-file": path, "snapshot-node-name": "s"})
        same(disk_node(m), "s")
        new = m.folder.name + "/new"
        q.cmd("blockdev-snapshot-sync", **{"node-name": "s", "snapshot-file": new, "snapshot-node-name": "t"})
        same(disk_node(m), "t")
        got = subprocess.run(["qemu-img", "info", "-U", new], capture_output=True, text=True).stdout
        check("backing file: " + path in got and "backing file format: qcow2" in got, "qemu-img info:", got)


def test_transaction():
    with Disks(*DISK, "-blockdev", "driver=null-co,node-name=z,size=1M",
               "-device", "virtio-blk-pci,id=vd1,drive=z") as m:
        q = m.qmp
        add(m, "a")
        add(m, "b")
        both = [{"type": "blockdev-snapshot", "data": {"node": "r", "overlay": "a"}},
                {"type": "blockdev-snapshot", "data": {"node": "z", "overlay": "b"}}]
        # The last one fails when the others are done already.
        q.fails("transaction", text="is busy", actions=both + [both[0]])
        q.fails("transaction", text="Transaction aborted using Abort action",
                actions=both + [{"type": "abort", "data": {}}])
        same([d["inserted"]["node-name"] for d in q.cmd("query-block")], ["r", "z"])
        q.cmd("transaction", actions=both)
        same([d["inserted"]["node-name"] for d in q.cmd("query-block")], ["a", "b"])


def test_reopen():
    with Disks(*DISK) as m:
        q = m.qmp
        add(m, "a")
        add(m, "b")
        raw = {"driver": "raw", "node-name": "r", "file": "f"}
        q.fails("blockdev-reopen", text="Failed to find node with node-name='x'",
                options=[{**raw, "node-name": "x"}])
        q.fails("blockdev-reopen", text="'r' is written by device 'vd0'",
                options=[{**raw, "read-only": True}])
        q.fails("blockdev-reopen", text="Cannot find device='' nor node-name='nx'",
                options=[{**raw, "file": "nx"}])
        a = {"driver": "qcow2", "node-name": "a", "file": {"driver": "file", "filename": "x"}}
        q.fails("blockdev-reopen", text="Cannot change the option 'file'", options=[a])
        file_a = [n["node-name"] for n in q.cmd("query-named-block-nodes") if n["file"].endswith("/a")
                  and n["drv"] == "file"][0]
        a["file"] = file_a
        q.cmd("blockdev-reopen", options=[{**a, "backing": "b"}])
        q.fails("blockdev-del", text="node 'a'", **{"node-name": "b"})
        q.cmd("blockdev-reopen", options=[{**a, "backing": None, "read-only": True}])
        q.cmd("blockdev-del", **{"node-name": "b"})
        q.fails("blockdev-snapshot", text="read-only", node="r", overlay="a")
        q.cmd("blockdev-reopen", options=[a])
        q.cmd("blockdev-snapshot", node="r", overlay="a")


def test_reopen_file():
    with Disks(*DISK, "-object", "throttle-group,id=g,x-iops-total=100") as m:
        q = m.qmp

        def below(name):
            return [s["parent"]["node-name"] for s in q.cmd("query-blockstats", **{"query-nodes": True})
                    if s["node-name"] == name][0]
        add(m, "a")
        f = below("a")
        for name, node in (("t", "f"), ("ta", f)):
            q.cmd("blockdev-add", driver="throttle", file=node, **{"node-name": name, "throttle-group": "g"})
        # A filter comes between a node and its file, and goes again; an image keeps its file.
        raw, a = {"driver": "raw", "node-name": "r"}, {"driver": "qcow2", "node-name": "a"}
        q.cmd("blockdev-reopen", options=[{**raw, "file": "t"}])
        same(below("r"), "t")
        q.fails("blockdev-reopen", text="would create a cycle",
                options=[{"driver": "throttle", "node-name": "t", "throttle-group": "g", "file": "r"}])
        q.fails("blockdev-del", text="in use", **{"node-name": "t"})
        q.cmd("blockdev-reopen", options=[{**raw, "file": "f"}])
        q.cmd("blockdev-del", **{"node-name": "t"})
        q.fails("blockdev-reopen", text="'a' is an image, and 'r' another file", options=[{**a, "file": "r"}])
        q.cmd("blockdev-reopen", options=[{**a, "file": "ta"}])
        same(below("a"), "ta")


def test_change_backing_file():
    with Disks(*DISK) as m:
        q = m.qmp
        add(m, "a")
        name = {"device": "a", "image-node-name": "a", "backing-file": "other.raw"}
        q.fails("change-backing-file", text="without a backing file", **name)
        q.cmd("blockdev-snapshot", node="r", overlay="a")
        q.cmd("change-backing-file", **name)
        q.fails("change-backing-file", text="not in the same chain", **{**name, "device": "r"})
        got = subprocess.run(["qemu-img", "info", "-U", m.folder.name + "/a"], capture_output=True,
                             text=True).stdout
        check("backing file: other.raw" in got and "backing file format: raw" in got, "qemu-img info:", got)


def test_write_threshold():
    with Disks(*DISK) as m:
        q = m.qmp
        q.fails("block-set-write-threshold", text="'x'", **{"node-name": "x", "write-threshold": 1})
        q.cmd("block-set-write-threshold", **{"node-name": "f", "write-threshold": 4096})
        nodes = {n["node-name"]: n for n in q.cmd("query-named-block-nodes")}
        same(nodes["f"]["write_threshold"], 4096)
        q.cmd("block-set-write-threshold", **{"node-name": "f", "write-threshold": 0})


def test_nested_path():
    """A wrong option of a node within a node is named by its path from the outermost one."""
    wrong = (({"locking": "maybe"}, "Parameter 'backing.file.locking' does not accept value 'maybe'"),
             ({"locking": 5}, "Invalid parameter type for 'backing.file.locking', expected: string"),
             ({"aio": "x"}, "Parameter 'backing.file.aio' does not accept value 'x'"),
             ({"x-y": 1}, "Parameter 'backing.file.x-y' is unexpected"))
    with Disks(*DISK) as m:
        file = {"driver": "file", "filename": m.folder.name + "/a"}
        for option, text in wrong:
            m.qmp.fails("blockdev-add", text=text, driver="qcow2", file=file,
                        backing={"driver": "raw", "file": {**file, **option}}, **{"node-name": "n"})
        nodes = [node["node-name"] for node in m.qmp.cmd("query-named-block-nodes")]
        check("n" not in nodes, "a refused node exists:", nodes)


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS, kvm=False))
