#!/usr/bin/env python3
"""info-test.py: what tools ask before anything runs: -machine none, and facts about the machine.

The first argument is the program; words behind it choose tests by name.
"""
import subprocess
import sys

from qmp import Machine, Nothing, check, main, same, still


def test_none():
    with Nothing() as m:
        q = m.qmp
        same(q.status(), "prelaunch")
        check(isinstance(q.cmd("query-kvm")["enabled"], bool), "kvm")
        same(q.cmd("query-cpus-fast"), [])
        same(q.cmd("qom-get", path="/machine", property="type"), "none-machine")
        same(q.cmd("query-current-machine"), {"wakeup-suspend-support": False})
        same(q.cmd("query-mice"), [])
        q.fails("device_add", text="No 'PCI' bus found", driver="edu")
        q.fails("inject-nmi", text="NMI")
        q.cmd("system_reset")
        q.cmd("cont")
        q.cmd("stop")
        q.cmd("quit")
        m.ends()


def test_none_without_a_usable_accelerator():
    with Nothing(accel="nosuch:tcg") as m:
        same(m.qmp.cmd("query-kvm"), {"enabled": False, "present": True})
    for accel in ("tcg", "nosuch"):
        ended = subprocess.run([Machine.program, "-machine", "none,accel=" + accel], stderr=subprocess.PIPE,
                               text=True, timeout=30, check=False)
        same(ended.returncode, 1)
        check("invalid accelerator " + accel in ended.stderr, "stderr", ended.stderr)
    ended = subprocess.run([Machine.program, "-machine", "none", "-m", "1G"], stderr=subprocess.PIPE,
                           text=True, timeout=30, check=False)
    same(ended.returncode, 1)
    check("'none' has no RAM" in ended.stderr, "stderr", ended.stderr)


def test_machines():
    with still() as m:
        q = m.qmp
        machines = {t["name"]: t for t in q.cmd("query-machines")}
        same(machines["pc-q35-7.2"]["alias"], "q35")
        same(machines["pc-q35-7.2"]["cpu-max"], 288)
        same([machines[n]["hotpluggable-cpus"] for n in ("pc-q35-7.2", "none")], [True, False])
        same(machines["pc-q35-7.2"]["default-ram-id"], "pc.ram")
        same(machines["pc-q35-7.2"]["default-cpu-type"], "qemu64-x86_64-cpu")
        same([n for n, t in machines.items() if t.get("is-default")], ["pc-i440fx-7.2"])
        check("default-ram-id" not in machines["none"], "none", machines["none"])
        same(q.cmd("query-current-machine"), {"wakeup-suspend-support": True})
        same(q.cmd("query-target"), {"arch": "x86_64"})
        q.fails("query-target", text="unexpected", x=1)


def test_identity():
    uuid = "12345678-1234-ABCD-1234-123456789abc"
    with still("-uuid", uuid) as m:
        same(m.qmp.cmd("query-uuid"), {"UUID": uuid.lower()})
    with still() as m:
        same(m.qmp.cmd("query-uuid"), {"UUID": "00000000-0000-0000-0000-000000000000"})


def test_what_there_is_none_of():
    with still() as m:
        q = m.qmp
        same(q.cmd("query-jobs"), [])
        same(q.cmd("query-rx-filter"), [])
        q.fails("query-rx-filter", text="invalid net client name: n1", name="n1")
        for name in ("query-tpm-models", "query-sev", "query-vnc", "query-gic-capabilities", "migrate"):
            q.fails(name, "CommandNotFound", "The command %s has not been found" % name)


def test_migration_capabilities():
    with still() as m:
        q = m.qmp
        same(q.cmd("query-migrate-capabilities"), [{"capability": "events", "state": False}])
        same(q.cmd("query-migrate"), {"blocked-reasons": ["this program cannot migrate or save machines"]})
        same(q.cmd("query-migrate-parameters"), {})
        q.fails("query-migrate-parameters", text="'max-bandwidth' is unexpected", **{"max-bandwidth": 1})
        q.cmd("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        same(q.cmd("query-migrate-capabilities"), [{"capability": "events", "state": True}])
        q.fails("migrate-set-capabilities",
                text="'capabilities[0].capability' does not accept value 'multifd'",
                capabilities=[{"capability": "multifd", "state": True}])


def test_nmi():
    with still() as m:
        m.qmp.fails("inject-nmi", text="machine does not provide NMIs")


def test_pci():
    for machine in ("q35", "pc"):
        with still("-device", "edu,id=e,addr=5", "-device", "pci-bridge,id=b,addr=6,chassis_nr=1",
                   machine=machine) as m:
            bus, = m.qmp.cmd("query-pci")
            same(bus["bus"], 0)
            by_id = {d["qdev_id"]: d for d in bus["devices"] if d["qdev_id"]}
            e, b = by_id["e"], by_id["b"]
            same((e["slot"], e["function"], e["irq_pin"], e["class_info"]["class"]), (5, 0, 1, 0xff))
            same((e["id"]["vendor"], e["id"]["device"]), (0x1234, 0x11e8))
            same(e["regions"], [{"bar": 0, "type": "memory", "address": -1, "size": 1 << 20,
                                 "prefetch": False, "mem_type_64": False}])
            same(b["class_info"], {"class": 0x604, "desc": "PCI bridge"})
            same((b["pci_bridge"]["bus"]["secondary"], "devices" in b["pci_bridge"]), (0, False))
            check("subsystem" not in b["id"], "a bridge's id", b["id"])
            same(bus["devices"][0]["class_info"], {"class": 0x600, "desc": "Host bridge"})
            m.qmp.fails("query-pci", text="unexpected", bus=0)
    with Nothing() as m:
        same(m.qmp.cmd("query-pci"), [])


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS, kvm=False))
