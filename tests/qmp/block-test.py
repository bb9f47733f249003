#!/usr/bin/env python3
"""block-test.py: block nodes and disks as clients see them, on machines without a guest.

The first argument is the program; words behind it choose tests by name.
"""
import json
import os
import subprocess
import sys
import tempfile

import disks
from qmp import check, main, same, still

DISK = ["-blockdev", "driver=file,node-name=f,filename=@FOLDER/d,discard=unmap",
        "-blockdev", "driver=raw,node-name=r,file=f,read-only=on",
        "-device", "virtio-blk-pci,id=vd0,drive=r"]


class Disks:
    """still() with a sparse image of 1 MiB at @FOLDER/d."""

    def __init__(self, *args):
        self.m = still(*args)
        with open(self.m.folder.name + "/d", "wb") as f:
            f.truncate(1 << 20)

    def __enter__(self):
        return self.m.__enter__()

    def __exit__(self, *exc):
        self.m.__exit__(*exc)


def nodes(q):
    return {n["node-name"]: n for n in q.cmd("query-named-block-nodes", flat=True)}


def test_query_block():
    with Disks(*DISK, "-device", "ide-cd,id=cd0") as m:
        disks = {d["qdev"]: d for d in m.qmp.cmd("query-block")}
        same(set(disks), {"/machine/peripheral/vd0/virtio-backend", "cd0"})
        vd0, cd0 = disks["/machine/peripheral/vd0/virtio-backend"], disks["cd0"]
        same((vd0["device"], vd0["removable"], vd0["io-status"]), ("", False, "ok"))
        check("tray_open" not in vd0, "a disk with a tray:", vd0)
        same(vd0["inserted"]["node-name"], "r")
        same(vd0["inserted"]["image"]["virtual-size"], 1 << 20)
        same((cd0["device"], cd0["locked"]), ("", False))
        check("inserted" not in cd0, "an empty drive:", cd0)
        m.qmp.fails("query-block", text="unexpected", x=1)


def test_chain():
    """An image tells what it is and what is behind it; a -drive without a device is there too."""
    with disks.Disks("-drive", "if=none,id=x,format=raw,file=@FOLDER/d") as m:
        q, folder = m.qmp, m.folder.name
        subprocess.run(["qemu-img", "rebase", "-u", "-F", "qcow2", "-b", "b", folder + "/a"], check=True)
        q.cmd("blockdev-add", driver="qcow2", file={"driver": "file", "filename": folder + "/a"},
              **{"node-name": "n"})
        spare, = q.cmd("query-block")
        same((spare["device"], spare["removable"], spare["inserted"]["drv"]), ("x", True, "raw"))
        same([s["device"] for s in q.cmd("query-blockstats")], ["x"])
        top = next(n for n in q.cmd("query-named-block-nodes") if n["node-name"] == "n")
        same((top["backing_file"], top["backing_file_depth"]), (folder + "/b", 1))
        image = top["image"]
        same((image["cluster-size"], image["backing-filename"], image["full-backing-filename"],
              image["backing-filename-format"]), (65536, "b", folder + "/b", "qcow2"))
        same(image["format-specific"], {"type": "qcow2", "data": {
            "compat": "1.1", "compression-type": "zlib", "lazy-refcounts": False, "refcount-bits": 16,
            "corrupt": False, "extended-l2": False}})
        same(image["backing-image"]["filename"], folder + "/b")
        top = next(n for n in q.cmd("query-named-block-nodes", flat=True) if n["node-name"] == "n")
        check("backing-image" not in top["image"] and top["backing_file_depth"] == 0, str(top))
        stats = next(s for s in q.cmd("query-blockstats", **{"query-nodes": True}) if s["node-name"] == "n")
        check("parent" in stats["backing"], str(stats))


def test_drive_nodes():
    """What is not a word of -drive is an option of its nodes, and they inherit the cache mode."""
    with tempfile.TemporaryDirectory() as folder:
        for name, more in (("base", []), ("top", ["-F", "qcow2", "-b", folder + "/base"])):
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *more, folder + "/" + name, "1M"],
                           check=True)
        held = "file.backing.file.locking=off,cache=unsafe,if=none"
        with still("-blockdev", "driver=qcow2,node-name=held,file.driver=file,file.filename=%s/base" % folder,
                   "-device", "virtio-blk-pci,drive=held",
                   "-drive", "file.file.filename=%s/top,file.driver=qcow2,%s,id=hd0,format=raw" %
                   (folder, held),
                   "-drive", "driver=null-co,size=64k,if=none,node-name=nul,cache.direct=on",
                   "-drive", "file=%s/top,file.locking=off,format=raw,offset=512,size=1k,id=part,if=none,"
                   "node-name=part,read-only=on" % folder,
                   "-drive", "file=%s/top,backing.file.filename=%s/top,backing.driver=raw,id=other,if=none,"
                   "read-only=on,file.locking=off,backing.file.locking=off" % (folder, folder)) as m:
            chain = next(d["inserted"] for d in m.qmp.cmd("query-block") if d["device"] == "hd0")
            same((chain["drv"], chain["cache"]["no-flush"], chain["image"]["format"]), ("raw", True, "raw"))
            other = next(d["inserted"] for d in m.qmp.cmd("query-block") if d["device"] == "other")
            same(other["image"]["backing-image"]["format"], "raw")
            all_nodes = nodes(m.qmp)
            opened = [n for n in all_nodes.values() if n["cache"]["no-flush"]]
            same(sorted(n["drv"] for n in opened), ["file", "file", "qcow2", "qcow2", "raw"])
            nul = all_nodes["nul"]
            same((nul["image"]["virtual-size"], nul["cache"]["direct"]), (65536, True))
            same(all_nodes["part"]["image"]["virtual-size"], 1024)


def encrypted_image(folder, tool):
    """@tool: rhea-img."""
    subprocess.run([tool, "create", "-q", "--object", "secret,id=s,data=hello", "-f", "luks", "-o",
                    "key-secret=s,iter-time=1", folder + "/e.luks", "1M"], check=True, timeout=60)
    subprocess.run([tool, "create", "-q", "--object", "secret,id=s,data=hello", "-f", "qcow2", "-o",
                    "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1", folder + "/e.qcow2",
                    "1M"],
                   check=True, timeout=60)


def test_encrypted():
    """Opened with a secret, at the start and under the sandbox; read and written."""
    with tempfile.TemporaryDirectory() as folder:
        encrypted_image(folder, os.path.join(os.path.dirname(sys.argv[1]), "..", "img", "rhea-img"))
        with still("-object", "secret,id=s,data=hello", "-blockdev",
                   "driver=luks,node-name=l,key-secret=s,file.driver=file,file.filename=%s/e.luks" % folder,
                   "-drive",
                   "if=none,id=q,file=%s/e.qcow2,encrypt.format=luks,encrypt.key-secret=s" % folder) as m:
            q = m.qmp
            got = nodes(q)
            same((got["l"]["drv"], got["l"]["encrypted"]), ("luks", True))
            same(got["l"]["image"]["virtual-size"], 1 << 20)
            images = [got["l"]["image"], q.cmd("query-block")[0]["inserted"]["image"]]
            for image, name in zip(images, ("e.luks", "e.qcow2")):
                tool = os.path.join(os.path.dirname(sys.argv[1]), "..", "img", "rhea-img")
                told = subprocess.run([tool, "info", "-U", "--output=json", folder + "/" + name], check=True,
                                      timeout=60, stdout=subprocess.PIPE)
                same(image["format-specific"], json.loads(told.stdout)["format-specific"])
            same(images[1]["format-specific"]["data"]["encrypt"]["format"], "luks")
            q.cmd("blockdev-del", **{"node-name": "l"})
            image = {"driver": "file", "filename": folder + "/e.luks"}
            q.cmd("object-add", **{"qom-type": "secret", "id": "bad", "data": "hallo"})
            disk = {"driver": "luks", "node-name": "n", "file": image}
            q.fails("blockdev-add", text="Invalid password", **{"key-secret": "bad"}, **disk)
            q.fails("blockdev-add", text="required", **disk)
            q.cmd("blockdev-add", **{"key-secret": "s"}, **disk)
            q.cmd("object-del", id="s")
            q.cmd("blockdev-del", **{"node-name": "n"})
            q.fails("blockdev-add", text="No secret", **{"key-secret": "s"}, **disk)
            qcow2 = {"driver": "qcow2", "node-name": "c", "read-only": True,
                     "file": {"driver": "file", "filename": folder + "/e.qcow2"},
                     "encrypt": {"format": "luks", "key-secret": "bad"}}
            q.fails("blockdev-add", text="Invalid password", **qcow2)


def test_query_nodes():
    with Disks(*DISK) as m:
        got = nodes(m.qmp)
        same(set(got), {"f", "r"})
        f, r = got["f"], got["r"]
        same((f["drv"], f["ro"], r["drv"], r["ro"]), ("file", False, "raw", True))
        same(r["file"], m.folder.name + "/d")
        same(f["image"]["actual-size"], os.stat(m.folder.name + "/d").st_blocks * 512)
        same(r["cache"], {"writeback": True, "direct": False, "no-flush": False})
        m.qmp.fails("query-named-block-nodes", text="flat", flat=1)


def test_add_and_del():
    with Disks(*DISK) as m:
        q = m.qmp
        q.cmd("blockdev-add", driver="null-co", **{"node-name": "n", "size": 1 << 20})
        same(nodes(q)["n"]["image"]["virtual-size"], 1 << 20)
        q.fails("blockdev-add", text="'n'", driver="null-co", **{"node-name": "n"})
        q.fails("blockdev-add", text="'node-name' must be specified", driver="null-co")
        q.fails("blockdev-add", text="/nosuch/x", driver="file", filename="/nosuch/x", **{"node-name": "x"})
        q.fails("blockdev-add", text="driver", **{"node-name": "x"})
        q.fails("blockdev-add", text="does not accept value 'qcow9'", driver="qcow9", **{"node-name": "x"})
        q.cmd("blockdev-add", driver="raw", file="n", **{"node-name": "over"})
        q.fails("blockdev-del", text="n", **{"node-name": "n"})
        q.cmd("blockdev-del", **{"node-name": "over"})
        q.cmd("blockdev-del", **{"node-name": "n"})
        q.fails("blockdev-del", text="Failed to find node with node-name='n'", **{"node-name": "n"})
        q.fails("blockdev-del", text="vd0", **{"node-name": "r"})
        same(set(nodes(q)), {"f", "r"})


def test_resize():
    with Disks() as m:
        q = m.qmp
        q.cmd("blockdev-add", driver="file", filename=m.folder.name + "/d", **{"node-name": "f"})
        q.cmd("block_resize", **{"node-name": "f", "size": 2 << 20})
        same(os.stat(m.folder.name + "/d").st_size, 2 << 20)
        same(nodes(q)["f"]["image"]["virtual-size"], 2 << 20)
        q.fails("block_resize", text="smaller", **{"node-name": "f", "size": 1 << 20})
        q.fails("block_resize", text="Cannot find device='' nor node-name='g'",
                **{"node-name": "g", "size": 1})
        q.fails("block_resize", text="Cannot find device='d'", device="d", size=1)
        q.fails("block_resize", text="size", **{"node-name": "f", "size": -1})
        same(os.stat(m.folder.name + "/d").st_size, 2 << 20)


def test_stats_of_nothing():
    with Disks(*DISK) as m:
        got = m.qmp.cmd("query-blockstats")
        same(len(got), 1)
        same((got[0]["device"], got[0]["qdev"], got[0]["node-name"]),
             ("", "/machine/peripheral/vd0/virtio-backend", "r"))
        same(got[0]["parent"]["node-name"], "f")
        for key in ("rd_bytes", "wr_bytes", "rd_operations", "wr_operations", "wr_highest_offset"):
            same(got[0]["stats"][key], 0, key)
        same({n["node-name"] for n in m.qmp.cmd("query-blockstats", **{"query-nodes": True})}, {"f", "r"})
        m.qmp.fails("query-blockstats", text="query-nodes", **{"query-nodes": "yes"})


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS, kvm=False))
