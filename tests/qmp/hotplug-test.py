#!/usr/bin/env python3
"""hotplug-test.py: vCPUs and memory that come and go, in the real program with a guest on /dev/kvm.

The first argument is the program; words behind it choose tests by name.  Status 77: no /dev/kvm.
"""
import sys

from qmp import Machine, check, main, same, still
from virtio import IN, Blk

CPUS = {"pc": 0xaf00, "q35": 0x0cd8}
DIMMS = 0x0a00
TYPE = "qemu64-x86_64-cpu"
SMP = ["-cpu", "qemu64", "-smp", "1,maxcpus=8,sockets=2,cores=4"]
MEMORY = ["-m", "16M,slots=2,maxmem=1G"]


def place(core, socket=0):
    return {"socket-id": socket, "core-id": core, "thread-id": 0}


def indexes(q):
    return [c["cpu-index"] for c in q.cmd("query-cpus-fast")]


def modern(m):
    """Leaves the legacy interface; returns the ports."""
    for _ in range(2):
        m.outl(CPUS[m.machine], 0)
    return CPUS[m.machine]


def test_places():
    with Machine(*SMP) as m:
        q = m.qmp
        cpus = q.cmd("query-hotpluggable-cpus")
        same(len(cpus), 8)
        same(cpus[-1], {"type": TYPE, "vcpus-count": 1, "props": place(0),
                        "qom-path": "/machine/unattached/device[0]"})
        same(cpus[0], {"type": TYPE, "vcpus-count": 1, "props": place(3, 1)})
    with Machine("-smp", "1,maxcpus=4,dies=2,cores=2", "-numa", "node,cpus=0-3") as m:
        props = m.qmp.cmd("query-hotpluggable-cpus")[0]["props"]
        same(props, {"socket-id": 0, "die-id": 1, "core-id": 1, "thread-id": 0, "node-id": 0})


def test_cpu_refused():
    with Machine(*SMP) as m:
        q = m.qmp

        def refused(text, driver=TYPE, id="bad", **props):  # pylint: disable=redefined-builtin
            q.fails("device_add", driver=driver, id=id, text=text, **props)
        refused("CPU socket-id is not set")
        refused("Invalid CPU core-id: 9 must be in range 0:3", **place(9))
        refused("Invalid CPU socket-id: 5 must be in range 0:1", **place(0, 5))
        refused("CPU[0] with APIC ID 0 exists", **place(0))
        refused("Invalid CPU type, expected cpu type: '%s'" % TYPE, driver="Nehalem-x86_64-cpu", **place(1))
        refused("invalid node-id, must be 0", **{"node-id": 3}, **place(1))
        refused("Invalid CPU apic-id: 77", **{"apic-id": 77})
        refused("is on no bus", bus="isa.0", **place(1))
        refused("not found", flavour="sweet", **place(1))
        refused("property core-id: 2 doesn't match set apic-id: 0x1 (core-id: 1)",
                **{"apic-id": 1, "core-id": 2})
        refused("Property '%s.index' not found" % TYPE, index=100000, **place(1))
        same(indexes(q), [0])
        modern(m)
        q.fails("device_del", id="/machine/unattached/device[0]", text="Boot CPU is unpluggable")
        q.fails("device_del", "DeviceNotFound", id="bad")
    with Machine("-S", *SMP) as m:                         # before the guest began, too
        m.qmp.fails("device_del", id="/machine/unattached/device[0]", text="Boot CPU is unpluggable")
    with Machine("-machine", "acpi=off", *SMP) as m:
        m.qmp.cmd("device_add", driver=TYPE, id="c", **place(1))
        m.qmp.fails("device_del", id="c", text="CPU hot unplug not supported without ACPI")


def test_cpu_by_command_line():
    with Machine(*SMP, "-device", TYPE + ",id=c3,socket-id=0,core-id=3,thread-id=0") as m:
        cpus = m.qmp.cmd("query-cpus-fast")
        same([(c["cpu-index"], c["qom-path"]) for c in cpus],
             [(0, "/machine/unattached/device[0]"), (3, "/machine/peripheral/c3")])
        check(len({c["thread-id"] for c in cpus}) == 2, "threads", cpus)
        # What firmware counts.
        m.outb(0x70, 0x5f)
        same(m.inb(0x71), 1, "CMOS: processors less one")


def test_cpu_comes_and_goes():
    for machine in ("pc", "q35"):
        with Machine(*SMP, machine=machine) as m:
            q = m.qmp
            q.cmd("device_add", driver=TYPE, id="old", **place(1))
            same(m.inb(CPUS[machine]), 3, "the legacy bitmap")
            q.fails("device_del", id="old", text="unplug request for not supported device type")
            base = modern(m)
            tasks = m.used()[1]
            for _ in range(3):
                q.cmd("device_add", driver=TYPE, id="c2", **place(2))
                same(m.used()[1], tasks + 1, "threads")
                m.outl(base, 2)
                same(m.inb(base + 4), 3, "there, inserted")
                m.outb(base + 4, 2)
                q.cmd("device_del", id="c2")
                same(m.inb(base + 4), 5, "there, asked for")
                m.outb(base + 5, 1)
                m.outl(base + 8, 0x3)
                m.outb(base + 5, 2)
                m.outl(base + 8, 0x80)
                same(q.event("ACPI_DEVICE_OST")["info"],
                     {"device": "c2", "slot": "2", "slot-type": "CPU", "source": 3, "status": 0x80})
                same(q.event("DEVICE_UNPLUG_GUEST_ERROR"),
                     {"device": "c2", "path": "/machine/peripheral/c2"})
                status = q.cmd("query-acpi-ospm-status")
                same((status[2]["device"], status[2]["status"]), ("c2", 0x80))
                m.outb(base + 4, 4)
                m.outb(base + 4, 8)
                same(q.event("DEVICE_DELETED"), {"device": "c2", "path": "/machine/peripheral/c2"})
                same(m.inb(base + 4), 0, "an empty place")
                same(indexes(q), [0, 1])
                same(m.used()[1], tasks, "threads")


def test_iothread_of_a_disk_that_went():
    """What a node knows of the thread that served its device ends with the thread."""
    with Machine("-object", "iothread,id=io1", "-blockdev", "null-co,node-name=n,read-zeroes=on", "-device",
                 "virtio-blk-pci,id=vd,drive=n,iothread=io1,addr=5,disable-legacy=off", machine="pc") as m:
        q = m.qmp
        Blk(m, 5).request(IN)
        q.fails("object-del", text="object 'io1' is in use", id="io1")
        q.cmd("device_del", id="vd")
        m.outl(0xae10, 0)
        m.outl(0xae08, 1 << 5)
        same(q.deleted()["device"], "vd")
        q.cmd("object-del", id="io1")
        q.cmd("blockdev-snapshot-sync", **{"node-name": "n", "snapshot-file": m.folder.name + "/over",
                                           "snapshot-node-name": "over"})
        q.cmd("blockdev-del", **{"node-name": "n"})


def test_cpu_and_reset():
    """A vCPU that came is there after a reset; so does firmware count it."""
    with Machine(*SMP) as m:
        q = m.qmp
        q.cmd("device_add", driver=TYPE, id="c1", **place(1))
        q.cmd("system_reset")
        q.event("RESET")
        m.started()
        same(indexes(q), [0, 1])
        m.outb(0x70, 0x5f)
        same(m.inb(0x71), 1)
        q.cmd("stop")
        q.cmd("device_add", driver=TYPE, id="c2", **place(2))
        q.cmd("cont")
        same(indexes(q), [0, 1, 2])
        same(m.inb(CPUS["q35"]), 7)


def test_cpu_before_the_start():
    """As management tools do it: plugged before the guest runs, counted by its firmware."""
    with Machine(*SMP, "-S") as m:
        m.qmp.cmd("device_add", driver=TYPE, id="c1", **place(1))
        m.qmp.cmd("device_add", driver=TYPE, id="c5", **place(1, 1))
        m.qmp.cmd("cont")
        m.started()
        m.outb(0x70, 0x5f)
        same(m.inb(0x71), 2, "CMOS: processors less one")
        m.outw(0x510, 5)
        same([m.inb(0x511), m.inb(0x511)], [3, 0], "fw_cfg: processors")


def test_cpu_features():
    """All vCPUs are of the model of -cpu; what device_add says again must agree."""
    with Machine(*SMP, "-S", "-cpu", "qemu64,-svm") as m:
        q = m.qmp
        name = "qemu64-x86_64-cpu"
        for text, props in (("Property '%s.foo' not found" % name, {"foo": True}),
                            ("Parameter 'svm' expects 'on' or 'off'", {"svm": "maybe"}),
                            ("Property '%s.svm' is the same for all vCPUs: '-cpu' made it off" % name,
                             {"svm": True}),
                            ("Property '%s.family' is the same for all vCPUs: '-cpu' made it" % name,
                             {"family": 3})):
            q.fails("device_add", driver=name, id="c", text=text, **place(1), **props)
        q.cmd("device_add", driver=name, id="c", svm=False, fpu="on", **place(1))
        same(q.cmd("qom-get", path="/machine/peripheral/c", property="svm"), False)


def test_memdev():
    with still("-object", "memory-backend-ram,id=a,size=1M,merge=off") as m:
        q = m.qmp
        q.cmd("object-add", id="b", size=1 << 21, prealloc=True, **{"qom-type": "memory-backend-memfd"})
        got = {d["id"]: d for d in q.cmd("query-memdev")}
        same(got["a"], {"id": "a", "size": 1 << 20, "merge": False, "dump": True, "prealloc": False,
                        "share": False, "reserve": True, "host-nodes": [], "policy": "default"})
        same((got["b"]["size"], got["b"]["share"], got["b"]["prealloc"]), (1 << 21, True, True))
        q.cmd("object-del", id="a")
        same([d["id"] for d in q.cmd("query-memdev")], ["b", "pc.ram"])
        same(got["pc.ram"], {**got["a"], "id": "pc.ram", "size": 16 << 20, "merge": True})
        q.fails("query-memdev", text="'id' is unexpected", id="b")
    with still("-object", "memory-backend-ram,id=a,size=64M", "-m", "64",
               "-machine", "memory-backend=a") as m:
        same([d["id"] for d in m.qmp.cmd("query-memdev")], ["a"])


def test_cpu_in_the_middle():
    """Comes, goes and resets in one breath."""
    with Machine(*SMP) as m:
        q = m.qmp
        base = modern(m)
        for i in range(10):
            q.cmd("device_add", driver=TYPE, id="c", **place(1))
            m.outl(base, 1)
            m.outb(base + 4, 8)
            q.cmd("stop" if i & 1 else "query-status")
            q.cmd("cont")
            q.event("DEVICE_DELETED")
        same(indexes(q), [0])


def test_memory():
    for machine in ("pc", "q35"):
        with Machine(*MEMORY, machine=machine) as m:
            q = m.qmp
            same(q.cmd("query-memory-devices"), [])
            same(q.cmd("query-memory-size-summary"), {"base-memory": 16 << 20, "plugged-memory": 0})
            for _ in range(3):
                q.cmd("object-add", **{"qom-type": "memory-backend-ram", "id": "m1", "size": 128 << 20})
                q.cmd("device_add", driver="pc-dimm", id="d1", memdev="m1", slot=1)
                same(q.cmd("query-memory-devices"), [{"type": "dimm", "data": {
                    "id": "d1", "addr": 4 << 30, "size": 128 << 20, "slot": 1, "node": 0,
                    "memdev": "/objects/m1", "hotplugged": True, "hotpluggable": True}}])
                same(q.cmd("query-memory-size-summary")["plugged-memory"], 128 << 20)
                q.fails("object-del", id="m1", text="object 'm1' is in use, can not be deleted")
                m.outl(DIMMS, 1)
                same(m.inb(DIMMS + 0x14), 3, "there, inserted")
                same([m.inl(DIMMS + at) for at in (0, 4, 8, 12, 16)], [0, 1, 128 << 20, 0, 0])
                m.outb(DIMMS + 0x14, 2)
                q.cmd("device_del", id="d1")
                same(m.inb(DIMMS + 0x14), 5, "there, asked for")
                m.outl(DIMMS + 4, 0x103)
                m.outl(DIMMS + 8, 0x81)
                same(q.event("ACPI_DEVICE_OST")["info"]["slot-type"], "DIMM")
                q.event("DEVICE_UNPLUG_GUEST_ERROR")
                m.outb(DIMMS + 0x14, 4)
                m.outb(DIMMS + 0x14, 8)
                q.event("DEVICE_DELETED")
                q.cmd("object-del", id="m1")
            same(q.cmd("query-memory-devices"), [])


def test_memory_refused():
    with Machine(*MEMORY, "-object", "memory-backend-ram,id=m,size=64M") as m:
        q = m.qmp
        q.fails("device_add", driver="pc-dimm", memdev="nothing", text="not found")
        q.fails("device_add", driver="pc-dimm", text="memdev")
        q.fails("device_add", driver="pc-dimm", memdev="m", slot=2, text="valid range is [0-1]")
        q.fails("device_add", driver="pc-dimm", memdev="m", addr=1, text="must be aligned to 0x200000")
        q.cmd("device_add", driver="pc-dimm", memdev="m", id="d")
        q.fails("device_add", driver="pc-dimm", memdev="m", text="can't use already busy memdev: m")
    with Machine("-object", "memory-backend-ram,id=m,size=64M") as m:
        m.qmp.fails("device_add", driver="pc-dimm", memdev="m", text="specify the 'slots' option")


def test_virtio_mem():
    path = "/machine/peripheral/vm"
    with Machine("-m", "16M,maxmem=1G", "-object", "memory-backend-ram,id=m,size=512M", "-device",
                 "pcie-root-port,id=rp,chassis=1", "-device",
                 "virtio-mem-pci,id=vm,memdev=m,requested-size=64M,bus=rp") as m:
        q = m.qmp
        info = {"id": "vm", "memaddr": 4 << 30, "requested-size": 64 << 20, "size": 0, "max-size": 512 << 20,
                "block-size": 2 << 20, "node": 0, "memdev": "/objects/m"}
        same(q.cmd("query-memory-devices"), [{"type": "virtio-mem", "data": info}])
        same(q.cmd("query-memory-size-summary")["plugged-memory"], 0)
        for value, text in ((1, "'requested-size' has to be multiples of 'block-size' (0x200000)"),
                            (1 << 30, "'requested-size' cannot exceed the memory backend size(0x20000000)"),
                            ("x", "Parameter 'requested-size' expects uint64"),
                            (-1, "Parameter 'requested-size' expects uint64")):
            q.fails("qom-set", path=path, property="requested-size", value=value, text=text)
        q.cmd("qom-set", path=path, property="requested-size", value=128 << 20)
        info["requested-size"] = 128 << 20
        same(q.cmd("query-memory-devices"), [{"type": "virtio-mem", "data": info}])
        same(q.cmd("qom-get", path=path, property="requested-size"), 128 << 20)
        same(q.cmd("qom-get", path=path, property="size"), 0)
        same(q.cmd("qom-get", path=path, property="unplugged-inaccessible"), "off")
        q.fails("qom-set", path=path, property="size", value=0, text="not writable")
        q.fails("qom-set", path=path, property="block-size", value=4 << 20, text="after it was realized")
        q.fails("object-del", id="m", text="object 'm' is in use, can not be deleted")
        q.fails("device_del", id="vm", text="Device 'vm' cannot be unplugged")
        check("Memory device [virtio-mem]: \"vm\"" in q.cmd("human-monitor-command", **{
            "command-line": "info memory-devices"}), "info memory-devices")
    with Machine("-m", "16M,maxmem=1G", "-object", "memory-backend-ram,id=m,size=64M", "-device",
                 "pcie-root-port,id=rp,chassis=1") as m:
        m.qmp.cmd("device_add", driver="virtio-mem-pci", id="vm", memdev="m", bus="rp")
        m.qmp.fails("device_add", driver="pc-dimm", memdev="m", text="busy memdev: m")


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS))
