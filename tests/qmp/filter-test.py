#!/usr/bin/env python3
"""filter-test.py: filters as clients make and see them, on machines without a guest.

The first argument is the program; words behind it choose tests by name.
"""
import os
import subprocess
import sys

from disks import DISK, Disks, add
from qmp import check, main, same


def test_add():
    with Disks(*DISK) as m:
        q = m.qmp
        add(m, "a")
        add(m, "b")

        def fails(text, driver, **args):
            q.fails("blockdev-add", text=text, driver=driver, **{"node-name": "x"}, **args)
        fails("Parameter 'image' is missing", "blkdebug")
        fails("does not accept value 'foo'", "blkdebug", image="f", **{"inject-error": [{"event": "foo"}]})
        fails("Cannot meet constraints with align 3", "blkdebug", image="f", align=3)
        fails("Could not read blkdebug config file", "blkdebug", image="f", config=m.folder.name + "/nosuch")
        fails("take-child-perms", "blkdebug", image="f", **{"take-child-perms": []})
        fails("Parameter 'raw' is missing", "blkverify", test="f")
        fails("Cannot find device='' nor node-name='nx'", "blkverify", test="a", raw="nx")
        fails("Invalid log sector size 5", "blklogwrites", file="a", log="b", **{"log-sector-size": 5})
        fails("Bottom node 'nx' not found", "copy-on-read", file="a", bottom="nx")
        fails("not supported for underlying format: raw", "compress", file="r")
        fails("is not aligned to 512", "preallocate", file="f", **{"prealloc-align": 1000})
        for node, driver, args in (("p", "preallocate", {"file": "a", "prealloc-size": 1 << 20}),
                                   ("d", "blkdebug", {"image": "a", "inject-error": [{"event": "l2_load"}]}),
                                   ("v", "blkverify", {"test": "a", "raw": "b"}),
                                   ("l", "blklogwrites", {"file": "a", "log": "b"}),
                                   ("c", "copy-on-read", {"file": "a", "bottom": "a"}),
                                   ("z", "compress", {"file": "a"})):
            q.cmd("blockdev-add", driver=driver, **{"node-name": node}, **args)
            nodes = {n["node-name"]: n for n in q.cmd("query-named-block-nodes")}
            same((nodes[node]["drv"], nodes[node]["image"]["virtual-size"]), (driver, 1 << 20))
            q.fails("blockdev-del", text="in use", **{"node-name": "a"})
            q.cmd("blockdev-del", **{"node-name": node})
        q.cmd("blockdev-del", **{"node-name": "a"})


def test_preallocate():
    """An image made in a growing file: space behind it while it is made, and none afterwards."""
    with Disks(*DISK) as m:
        path = m.folder.name + "/new"
        with open(path, "wb"):
            pass
        m.qmp.cmd("blockdev-add", driver="preallocate", file={"driver": "file", "filename": path},
                  **{"node-name": "p", "prealloc-size": 1 << 20})
        m.qmp.cmd("blockdev-create", options={"driver": "qcow2", "file": "p", "size": 1 << 20},
                  **{"job-id": "c"})
        while m.qmp.event("JOB_STATUS_CHANGE")["status"] != "concluded":
            pass
        same(m.qmp.cmd("query-jobs")[0].get("error"), None)
        check(0 < os.path.getsize(path) < 1 << 20, "not cut", os.path.getsize(path))
        m.qmp.cmd("blockdev-add", driver="qcow2", file="p", **{"node-name": "q"})
        m.qmp.cmd("blockdev-del", **{"node-name": "q"})
        m.qmp.cmd("blockdev-del", **{"node-name": "p"})
        subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", path], check=True)


def test_drive():
    with Disks("-drive", "if=none,id=d,file=@FOLDER/a,format=qcow2,copy-on-read=on",
               "-device", "virtio-blk-pci,drive=d") as m:
        same(m.qmp.cmd("query-block")[0]["inserted"]["drv"], "copy-on-read")


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS, kvm=False))
