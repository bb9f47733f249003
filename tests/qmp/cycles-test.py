#!/usr/bin/env python3
"""cycles-test.py: what comes and goes 1,000 times leaves nothing behind: descriptors, threads, memory.

The first argument is the program; words behind it choose tests by name.  Status 77: no /dev/kvm.  The guest
is remote.S: it does what Linux's ACPI code does when it is asked to let go.
"""
import json
import sys

from qmp import Failed, Machine, check, main

CYCLES = 1000
QUICK = 10000                      # of what takes no time: what the allocator keeps is little beside a leak
WARM = 100                         # by then every cache and allocator has what it keeps
EVERY = 10                         # cycles between two looks at the memory
LEAK = 300                         # bytes in a cycle
MIB = 1 << 20
PCIHP, CPUS, DIMMS = 0xae00, 0xaf00, 0x0a00


def repeat(m, once, cycles=CYCLES):
    """What is freed a little later makes the memory rise and fall: a leak is what lifts the lowest points."""
    half = (cycles - WARM) // 2
    low = {True: [], False: []}
    for i in range(cycles):
        if i == WARM:
            before = m.used()
        if i >= WARM and i % EVERY == 0:
            low[i < WARM + half].append(m.used()[2])
        once(i)
    # What other threads might still look at is freed a little later: not before some more commands.
    for _ in range(20000):
        after = m.used()
        low[False].append(after[2])
        growth = min(low[False]) - min(low[True])
        if after[0] <= before[0] and after[1] <= before[1] and growth * 1024 < half * LEAK:
            return
        m.qmp.cmd("query-status")
    raise Failed("descriptors and threads before and after: %r %r, lowest KiB of the two halves: %d %d" %
                 (before[:2], after[:2], min(low[True]), min(low[False])))


def test_chardevs():
    with Machine() as m:
        def once(i):
            backend = ({"type": "null", "data": {}}, {"type": "ringbuf", "data": {"size": 65536}},
                       {"type": "socket", "data": {"server": True, "wait": False, "addr": {
                           "type": "unix", "data": {"path": m.folder.name + "/sock"}}}},
                       {"type": "file", "data": {"out": m.folder.name + "/out"}})[i // 7 % 4]
            m.qmp.cmd("chardev-add", id="c", backend=backend)
            m.qmp.cmd("chardev-remove", id="c")
        repeat(m, once, QUICK)


def test_address_is_free():
    """When the command is answered: the next one may listen there."""
    server = {"type": "socket", "data": {"server": True, "wait": False}}
    with Machine() as m:
        server["data"]["addr"] = {"type": "unix", "data": {"path": m.folder.name + "/sock"}}
        for _ in range(CYCLES):
            m.qmp.send('{"execute":"chardev-add","arguments":{"id":"c","backend":%s}}'
                       '{"execute":"chardev-remove","arguments":{"id":"c"}}\n' % json.dumps(server))
            for _ in range(2):
                check("return" in (reply := m.qmp.reply()), "refused:", reply)


def test_objects():
    kinds = ({"qom-type": "memory-backend-ram", "size": 4 * MIB, "prealloc": True},
             {"qom-type": "memory-backend-memfd", "size": 4 * MIB}, {"qom-type": "iothread"},
             {"qom-type": "rng-random", "filename": "/dev/urandom"}, {"qom-type": "secret", "data": "x"})
    with Machine() as m:
        def once(i):
            m.qmp.cmd("object-add", id="o", **kinds[i % len(kinds)])
            m.qmp.cmd("object-del", id="o")
        repeat(m, once, QUICK)


def test_nodes():
    with Machine() as m:
        with open(m.folder.name + "/disk", "wb") as file:
            file.truncate(MIB)

        def once(i):
            m.qmp.cmd("blockdev-add", **{"driver": "file", "node-name": "f",
                                         "filename": m.folder.name + "/disk"})
            m.qmp.cmd("blockdev-add", **{"driver": "raw", "node-name": "r", "file": "f"})
            m.qmp.cmd("blockdev-del", **{"node-name": "r"})
            m.qmp.cmd("blockdev-del", **{"node-name": "f"})
        repeat(m, once, QUICK)


def test_pci():
    kinds = ({"driver": "virtio-blk-pci", "drive": "n"}, {"driver": "virtio-rng-pci", "rng": "r"},
             {"driver": "virtio-serial-pci"}, {"driver": "i6300esb"}, {"driver": "pvpanic-pci"},
             {"driver": "virtio-balloon-pci"})
    with Machine("-blockdev", "null-co,node-name=n,size=1M", "-object", "rng-builtin,id=r",
                 machine="pc") as m:
        m.outl(PCIHP + 0x10, 0)

        def once(i):
            m.qmp.cmd("device_add", id="d", addr="0x10", **kinds[i % len(kinds)])
            m.qmp.cmd("device_del", id="d")
            m.outl(PCIHP + 8, 1 << 0x10)
            m.qmp.deleted()
        repeat(m, once)


def test_memory():
    with Machine("-m", "16M,slots=2,maxmem=1G", machine="pc") as m:
        m.outl(DIMMS, 0)

        def once(i):
            m.qmp.cmd("object-add", **{"qom-type": "memory-backend-ram", "id": "m", "size": 64 * MIB})
            m.qmp.cmd("device_add", driver="pc-dimm", id="d", memdev="m")
            m.outb(DIMMS + 0x14, 2)
            m.qmp.cmd("device_del", id="d")
            m.outb(DIMMS + 0x14, 4)
            m.outb(DIMMS + 0x14, 8)
            m.qmp.deleted()
            m.qmp.cmd("object-del", id="m")
        repeat(m, once)


def test_vcpus():
    with Machine("-cpu", "qemu64", "-smp", "1,maxcpus=4,cores=4", machine="pc") as m:
        m.outl(CPUS, 0)
        m.outl(CPUS, 0)
        m.outl(CPUS, 2)

        def once(i):
            m.qmp.cmd("device_add", driver="qemu64-x86_64-cpu", id="c",
                      **{"socket-id": 0, "core-id": 2, "thread-id": 0})
            m.outb(CPUS + 4, 2)
            m.qmp.cmd("device_del", id="c")
            m.outb(CPUS + 4, 4)
            m.outb(CPUS + 4, 8)
            m.qmp.deleted()
        repeat(m, once)


if __name__ == "__main__":
    sys.exit(main([f for name, f in list(globals().items()) if name.startswith("test_")]))
