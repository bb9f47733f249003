#!/usr/bin/env python3
"""throttle-test.py: limits of disks and groups, as clients set and see them, on machines without a guest.

The first argument is the program; words behind it choose tests by name.
"""
import sys

from qmp import check, main, same, still

DISKS = ["-blockdev", "driver=null-co,node-name=n,size=1M", "-device", "virtio-blk-pci,id=vd0,drive=n",
         "-drive", "if=none,id=d,format=raw,file=@FOLDER/qmp.img,throttling.iops-total=77,iops_max=90,"
                   "throttling.iops-size=4096",
         "-device", "ide-hd,id=hd0,drive=d,bus=ide.0", "-device", "ide-cd,id=cd0,bus=ide.1"]
ZERO = {k: 0 for k in ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")}
PATH = "/machine/peripheral/vd0/virtio-backend"


def disks(*args):
    m = still(*DISKS, *args)
    with open(m.folder.name + "/qmp.img", "wb") as f:
        f.write(bytes(1 << 20))
    return m


def inserted(q, device):
    return [b["inserted"] for b in q.cmd("query-block") if device in (b["device"], b["qdev"])][0]


def limits(q, device):
    """What is said of the limits, zeroes left out."""
    i = inserted(q, device)
    return {k: v for k, v in i.items() if (k.startswith(("bps", "iops")) or k == "group") and v}


def test_drive():
    with disks() as m:
        q = m.qmp
        same(limits(q, "d"), {"iops": 77, "iops_max": 90, "iops_max_length": 1,
                                "iops_size": 4096, "group": "d"})
        same(limits(q, PATH), {})
        check("iops=77 iops_rd=0 iops_wr=0 iops_max=90 iops_rd_max=0 iops_wr_max=0 iops_size=4096 "
              "group=d\r\n" in
              q.cmd("human-monitor-command", **{"command-line": "info block"}), "info block")
        # The node itself has none.
        nodes = {n["node-name"]: n for n in q.cmd("query-named-block-nodes")}
        same(nodes["n"]["iops"], 0)
        check("group" not in nodes["n"], "a node has no group")


def test_layers():
    """The limits are the disk's, whatever the -drive puts on its image."""
    for more, driver in (("", "null-co"), (",snapshot=on", "qcow2"), (",copy-on-read=on", "copy-on-read")):
        drive = "if=none,id=d,driver=null-co,size=1M,bps=1048576,group=g,detect-zeroes=on" + more
        with still("-drive", drive, "-device", "virtio-blk-pci,drive=d") as m:
            got = inserted(m.qmp, "d")
            same((got["drv"], got["detect_zeroes"]), (driver, "on"))
            same(limits(m.qmp, "d"), {"bps": 1048576, "group": "g"})


def test_command():
    with disks() as m:
        q = m.qmp

        def fails(text, **args):
            return q.fails("block_set_io_throttle", text=text, **{**ZERO, **args})
        fails("Need exactly one of 'device' and 'id'")
        fails("Need exactly one of 'device' and 'id'", id=PATH, device="d")
        q.fails("block_set_io_throttle", kind="DeviceNotFound", text="Device 'x' not found", id="x", **ZERO)
        q.fails("block_set_io_throttle", text="iops_wr", id=PATH,
                **{k: v for k, v in ZERO.items() if k != "iops_wr"})
        fails("Device has no medium", id="cd0")
        fails("cannot be used at the same time", id=PATH, iops=1, iops_rd=1)
        fails("burst length set without burst rate", id=PATH, iops_rd_max_length=5)
        fails("must be within [0, 1000000000000000]", id=PATH, bps=-1)
        fails("iops size requires an iops value to be set", id=PATH, iops_size=1)
        same(limits(q, PATH), {})
        # As libvirt's blkdeviotune says it.
        more = {k + "_max": 0 for k in ZERO}
        q.cmd("block_set_io_throttle", id=PATH, **{**ZERO, **more, "bps": 10485760, "iops": 1000,
                                                   "iops_size": 0})
        same(limits(q, PATH), {"bps": 10485760, "iops": 1000, "group": PATH})
        q.cmd("block_set_io_throttle", id=PATH, **{**ZERO, **more, "iops_rd": 100, "iops_wr": 200,
                                                   "iops_rd_max": 400, "group": "g1",
                                                   "iops_rd_max_length": 5})
        g1 = {"iops_rd": 100, "iops_wr": 200, "iops_rd_max": 400, "iops_rd_max_length": 5, "group": "g1"}
        same(limits(q, PATH), g1)
        # One group, one set of limits.
        q.cmd("block_set_io_throttle", device="d", **{**ZERO, "iops": 5, "group": "g1"})
        same(limits(q, PATH), {"iops": 5, "group": "g1"})
        q.cmd("human-monitor-command", **{"command-line": "block_set_io_throttle d 1 0 0 2 0 0"})
        same(limits(q, PATH), {"bps": 1, "iops": 2, "group": "g1"})
        q.cmd("block_set_io_throttle", device="d", **ZERO)
        same(limits(q, "d"), {})
        same(limits(q, PATH), {"bps": 1, "iops": 2, "group": "g1"})


def test_objects():
    with still("-object", "throttle-group,id=g,x-iops-total=100,x-iops-total-max=200",
               "-object", '{"qom-type":"throttle-group","id":"h","limits":{"bps-read":5}}') as m:
        q = m.qmp

        def get(name, prop):
            return q.cmd("qom-get", path="/objects/" + name, property=prop)
        same([get("g", "x-iops-total"), get("g", "limits")["iops-total-max"],
              get("g", "x-bps-read-max-length")], [100, 200, 1])
        same(get("h", "limits")["bps-read"], 5)
        new = {"qom-type": "throttle-group", "id": "i"}
        q.fails("object-add", text="burst length set without burst rate", **new,
                limits={"iops-total": 1, "iops-total-max-length": 5})
        q.fails("object-add", text="the burst length cannot be 0", **new, **{"x-bps-total-max-length": 0})
        q.fails("object-add", text="iops-x", **new, limits={"iops-x": 1})
        q.fails("qom-set", text="Property cannot be set after initialization", path="/objects/g",
                property="x-iops-total", value=5)
        q.fails("qom-set", text="at the same time", path="/objects/g", property="limits",
                value={"iops-read": 5})
        q.cmd("qom-set", path="/objects/g", property="limits",
              value={"iops-total": 0, "iops-total-max": 0, "iops-read": 5})
        same((get("g", "x-iops-total"), get("g", "x-iops-read")), (0, 5))


def test_node():
    with still("-object", "throttle-group,id=g,x-iops-total=100", "-object", "throttle-group,id=h",
               "-blockdev", "driver=null-co,node-name=n,size=1M",
               "-blockdev", "driver=throttle,node-name=t,throttle-group=g,file=n",
               "-device", "virtio-blk-pci,id=vd0,drive=t") as m:
        q = m.qmp
        nodes = {n["node-name"]: n for n in q.cmd("query-named-block-nodes")}
        same((nodes["t"]["drv"], nodes["t"]["image"]["virtual-size"]), ("throttle", 1 << 20))
        new = {"driver": "throttle", "node-name": "u", "file": "n", "read-only": True}
        q.fails("blockdev-add", text="Throttle group 'x' does not exist", **new, **{"throttle-group": "x"})
        q.fails("blockdev-add", text="'throttle-group' is missing", **new)
        q.fails("object-del", text="object 'g' is in use", id="g")
        q.fails("blockdev-del", text="in use", **{"node-name": "n"})
        # A disk and a node may be in one group.
        q.cmd("block_set_io_throttle", id=PATH, **{**ZERO, "iops": 7, "group": "g"})
        same(q.cmd("qom-get", path="/objects/g", property="x-iops-total"), 7)
        t = {"driver": "throttle", "node-name": "t", "file": "n"}
        q.fails("blockdev-reopen", text="Throttle group 'x' does not exist",
                options=[{**t, "throttle-group": "x"}])
        q.cmd("blockdev-reopen", options=[{**t, "throttle-group": "h"}])
        q.fails("object-del", text="object 'h' is in use", id="h")
        q.fails("object-del", text="object 'g' is in use", id="g")
        q.cmd("block_set_io_throttle", id=PATH, **ZERO)
        q.cmd("object-del", id="g")


def test_histograms():
    with disks() as m:
        q = m.qmp

        def histograms(device):
            return {k.split("_")[0]: (v["boundaries"], v["bins"]) for b in q.cmd("query-blockstats")
                    if b["qdev"] == device for k, v in b["stats"].items() if "histogram" in k}

        def put(**args):
            q.cmd("block-latency-histogram-set", id=PATH, **args)
        q.fails("block-latency-histogram-set", kind="DeviceNotFound", text="Device 'x' not found", id="x")
        q.fails("block-latency-histogram-set", text="Device '%s' set read boundaries fail" % PATH, id=PATH,
                boundaries=[0, 5])
        q.fails("block-latency-histogram-set", text="set write boundaries fail", id=PATH,
                **{"boundaries-write": [5, 5]})
        same(histograms(PATH), {})
        put(boundaries=[5], **{"boundaries-write": [9, 10]})
        same(histograms(PATH), {"rd": ([5], [0, 0]), "wr": ([9, 10], [0, 0, 0]), "flush": ([5], [0, 0])})
        same(histograms("hd0"), {})
        put(**{"boundaries-flush": []})
        same(histograms(PATH)["flush"], ([], [0]))
        put()
        same(histograms(PATH), {})


def test_detect_zeroes():
    m = still("-blockdev", "driver=null-co,node-name=n,detect-zeroes=on",
              "-drive", "if=none,id=d,format=raw,file=@FOLDER/d,detect-zeroes=unmap",
              "-device", "ide-hd,drive=d")
    with open(m.folder.name + "/d", "wb") as f:
        f.write(bytes(512))
    with m:
        q = m.qmp
        same([n["detect_zeroes"] for n in q.cmd("query-named-block-nodes") if n["node-name"] == "n"], ["on"])
        same(q.cmd("query-block")[0]["inserted"]["detect_zeroes"], "unmap")
        q.fails("blockdev-add", text="without setting discard operation to unmap", driver="null-co",
                **{"node-name": "m", "detect-zeroes": "unmap"})


def test_refused():
    for args, text in ((["-drive", "if=none,file=x,iops=1,iops_rd=1"], "at the same time"),
                       (["-drive", "if=none,file=x,iops=1,throttling.iops-total=1"],
                        "'throttling.iops-total' and its alias 'iops' can't be used at the same time"),
                       (["-object", "throttle-group,id=g,x-iops-total=-1"], "must be within"),
                       (["-blockdev", "driver=throttle,node-name=t,throttle-group=x,file.driver=null-co"],
                        "Throttle group 'x' does not exist")):
        m = still(*args)
        try:
            with m:
                check(False, "it started", args)
        except (OSError, AssertionError):
            pass
        except Exception as e:
            check("it started" not in str(e), str(e))


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS, kvm=False))
