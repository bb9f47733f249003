#!/usr/bin/env python3
"""watchdog-test.py: what an expired watchdog does, with the real program and a guest that starts it.

The first argument is the program; words behind it choose tests by name.  Status 77: no /dev/kvm.
"""
import sys

from qmp import Machine, main, same

BDF = 5 << 3
ARGS = ["-device", "i6300esb,id=w0,addr=5"]


def expire(m):
    """Both stages, with preloads as after a reset: two seconds."""
    m.pci_write(BDF, 0x60, 4)
    m.pci_write(BDF, 0x68, 2)


def test_actions():
    with Machine(*ARGS, "-watchdog-action", "pause") as m:
        q = m.qmp
        expire(m)
        same(q.event("WATCHDOG"), {"action": "pause"})
        q.event("STOP")
        same(q.status(), "watchdog")
        q.cmd("cont")
        q.cmd("watchdog-set-action", action="none")
        expire(m)
        same(q.event("WATCHDOG"), {"action": "none"})
        same(q.status(), "running")
        q.cmd("set-action", watchdog="reset")
        expire(m)
        same(q.event("WATCHDOG"), {"action": "reset"})
        same(q.event("RESET"), {"guest": True, "reason": "guest-reset"})
        m.started()
        same(m.pci_read(BDF, 0x68) & 7, 0)
        q.fails("watchdog-set-action", action="explode")


def test_poweroff():
    with Machine(*ARGS, "-action", "watchdog=poweroff") as m:
        expire(m)
        same(m.qmp.event("WATCHDOG"), {"action": "poweroff"})
        m.qmp.event("SHUTDOWN")
        m.ends()


if __name__ == "__main__":
    sys.exit(main([v for k, v in list(globals().items()) if k.startswith("test_")]))
