#!/usr/bin/env python3
"""balloon-test.py: the balloon's commands and properties, with the real program and a guest without driver.

The first argument is the program; words behind it choose tests by name.  Status 77: no /dev/kvm.
"""
import sys

from qmp import Machine, main, same

BALLOON = ["-device", "virtio-balloon-pci,id=b0,free-page-reporting=on"]
PATH = "/machine/peripheral/b0"
INTERVAL = "guest-stats-polling-interval"


def test_none():
    with Machine(serial=False) as m:
        for command, arguments in (("query-balloon", {}), ("balloon", {"value": 1 << 20})):
            same(m.qmp.fails(command, "DeviceNotActive", **arguments), "No balloon device has been activated")


def test_target():
    with Machine(*BALLOON, serial=False) as m:
        q = m.qmp
        same(q.cmd("query-balloon"), {"actual": 16 << 20})
        for value in (0, -5):
            same(q.fails("balloon", value=value), "Parameter 'target' expects a size")
        q.fails("balloon", value="1M")
        same(q.cmd("balloon", value=8 << 20), {})
        same(q.cmd("balloon", value=1 << 50), {})
        same(q.cmd("query-balloon"), {"actual": 16 << 20})


def test_statistics():
    with Machine(*BALLOON, serial=False) as m:
        q = m.qmp
        stats = q.cmd("qom-get", path=PATH, property="guest-stats")
        same(stats["last-update"], 0)
        same(set(stats["stats"].values()), {(1 << 64) - 1})
        same(len(stats["stats"]), 10)
        for value, text in ((-1, "timer value must be greater than zero"),
                            (1 << 33, "timer value is too big")):
            same(q.fails("qom-set", path=PATH, property=INTERVAL, value=value), text)
        q.fails("qom-set", path=PATH, property="guest-stats", value=1)
        same(q.cmd("qom-get", path=PATH, property=INTERVAL), 0)
        q.cmd("qom-set", path=PATH, property=INTERVAL, value=10)
        same(q.cmd("qom-get", path=PATH, property=INTERVAL), 10)


if __name__ == "__main__":
    sys.exit(main([v for k, v in list(globals().items()) if k.startswith("test_")]))
