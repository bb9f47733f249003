#!/usr/bin/env python3
"""stats-test.py: the kernel's statistics, by QMP and by the human monitor.

The first argument is the program; words behind it choose tests by name.
"""
import re
import sys

from qmp import Machine, Nothing, check, main, same, still

VCPU0 = "/machine/unattached/device[0]"


def human(m, line):
    return m.qmp.cmd("human-monitor-command", **{"command-line": line}).replace("\r\n", "\n")


def one(m, name, target="vcpu"):
    result, = m.qmp.cmd("query-stats", target=target, providers=[{"provider": "kvm", "names": [name]}])
    stat, = result["stats"]
    same((result["provider"], stat["name"]), ("kvm", name))
    return stat["value"]


def test_schemas():
    with Machine() as m:
        vcpu, vm = m.qmp.cmd("query-stats-schemas")
        same([vcpu["target"], vm["target"]], ["vcpu", "vm"])
        known = {s["name"]: s for s in vcpu["stats"] + vm["stats"]}
        same(known["exits"], {"name": "exits", "type": "cumulative", "exponent": 0})
        same(known["halt_wait_hist"], {"name": "halt_wait_hist", "type": "log2-histogram", "unit": "seconds",
                                       "base": 10, "exponent": -9})
        same(known["guest_mode"], {"name": "guest_mode", "type": "instant", "unit": "boolean", "exponent": 0})
        same(known["max_mmu_rmap_size"]["type"], "peak")
        same(m.qmp.cmd("query-stats-schemas", provider="kvm"), [vcpu, vm])
        m.qmp.fails("query-stats-schemas", text="'provider' does not accept value 'xen'", provider="xen")


def test_values():
    """Of a guest that runs, and of one that does not."""
    with Machine() as m:
        before = one(m, "exits")
        m.inb(0x61)
        check(one(m, "exits") > before, "exits stand still")
        same(type(one(m, "guest_mode")), bool)
        check(len(one(m, "halt_wait_hist")) > 1, "a histogram")
        check(one(m, "remote_tlb_flush", "vm") >= 0, "of the VM")
        m.qmp.cmd("stop")
        same(one(m, "exits"), one(m, "exits"))
        result, = m.qmp.cmd("query-stats", target="vcpu")
        vcpu, vm = m.qmp.cmd("query-stats-schemas")
        same([s["name"] for s in result["stats"]], [s["name"] for s in vcpu["stats"]])
        same(result["qom-path"], VCPU0)
        result, = m.qmp.cmd("query-stats", target="vm")
        same([s["name"] for s in result["stats"]], [s["name"] for s in vm["stats"]])
        check("qom-path" not in result, "a path of the VM", result)


def test_filters():
    with Machine("-smp", "1,maxcpus=2", "-S", serial=False) as m:
        def ask(**what):
            return [(r.get("qom-path"), [s["name"] for s in r["stats"]])
                    for r in m.qmp.cmd("query-stats", **what)]

        names = [{"provider": "kvm", "names": ["exits", "nosuch", "req_event"]}]
        same(ask(target="vcpu", providers=names), [(VCPU0, ["req_event", "exits"])])
        same(ask(target="vcpu", providers=names, vcpus=[VCPU0]), [(VCPU0, ["req_event", "exits"])])
        for vcpus in ([], ["/nope"], ["/machine"]):
            same(ask(target="vcpu", vcpus=vcpus), [])
        same(ask(target="vm", providers=[]), [])
        same(ask(target="vm", providers=[{"provider": "kvm", "names": []}]), [])
        same(ask(target="vm", providers=[{"provider": "kvm", "names": ["pages_4k"]},
                                         {"provider": "kvm", "names": ["pages_2m"]}]),
             [(None, ["pages_2m"]), (None, ["pages_4k"])])
        used = None
        for _ in range(2):
            m.qmp.cmd("device_add", driver="qemu64-x86_64-cpu", id="c1",
                      **{"socket-id": 0, "core-id": 1, "thread-id": 0})
            same(ask(target="vcpu", providers=names),
                 [("/machine/peripheral/c1", ["req_event", "exits"]), (VCPU0, ["req_event", "exits"])])
            used = m.settles(used) if used else m.used()
            m.qmp.cmd("device_del", id="c1")
            m.qmp.deleted()
            same(ask(target="vcpu", providers=names), [(VCPU0, ["req_event", "exits"])])
        m.qmp.fails("query-stats", text="Parameter 'target' is missing")
        m.qmp.fails("query-stats", text="'target' does not accept value 'host'", target="host")
        m.qmp.fails("query-stats", text="'vcpus' is unexpected", target="vm", vcpus=[])
        m.qmp.fails("query-stats", text="'providers[0].provider' does not accept value 'xen'", target="vm",
                    providers=[{"provider": "xen"}])


def test_none():
    """Where no kernel counts."""
    for machine in (still, Nothing):
        with machine() as m:
            same(m.qmp.cmd("query-stats-schemas"), [])
            same(m.qmp.cmd("query-stats", target="vm"), [])
            same(m.qmp.cmd("query-stats", target="vcpu"), [])
            same(human(m, "info stats vm"), "")


def test_human():
    with Machine("-smp", "2", "-S", serial=False) as m:
        text = human(m, "info stats vcpu")
        check(text.startswith("provider: kvm\n    "), "info stats", text)
        for line in (r"    exits \(cumulative\): \d+", r"    guest_mode \(instant, boolean\): (yes|no)",
                     r"    halt_wait_ns \(cumulative, ns\): \d+",
                     r"    halt_wait_hist \(log2-histogram, ns\): \[1\]=\d+ \[2\]=\d+ .*"):
            check(re.search("^%s$" % line, text, re.M), line, text)
        same(human(m, "info stats vm pages_1g,nosuch"), "provider: kvm\n    pages_1g (instant): 0\n")
        same(human(m, "info stats vm pages_1g kvm"), "    pages_1g (instant): 0\n")
        check("pages_1g" in human(m, "info stats vm * kvm"), "all")
        same(human(m, "info stats vm nosuch"), "")
        same(human(m, "info stats host"), "invalid stats target host\n")
        same(human(m, "info stats vm * xen"), "invalid stats provider xen\n")
        check("string expected" in human(m, "info stats"), "no target")


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS))
