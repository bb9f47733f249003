#!/usr/bin/env python3
"""preconfig-test.py: -preconfig: what runs before the machine is built, and leaving that state.

The first argument is the program; words behind it choose tests by name.
"""
import glob
import json
import os
import signal
import sys

from qmp import HERE, LIMIT, Machine, check, main, same, still

QAPI = os.path.join(HERE, "..", "..", "qapi")
TOO_EARLY = "The command '%s' is permitted only after machine initialization has completed"


def human(m, line):
    return m.qmp.cmd("human-monitor-command", **{"command-line": line})


def test_numa():
    with Machine("-preconfig", "-S", "-smp", "2,sockets=2", serial=False) as m:
        q = m.qmp
        same(m.qmp.status(), "prelaunch")
        same(["node-id" in c["props"] for c in q.cmd("query-hotpluggable-cpus")], [False, False])
        for i in range(2):
            q.cmd("object-add", **{"qom-type": "memory-backend-ram", "id": "m%d" % i, "size": 8 << 20})
            q.cmd("set-numa-node", type="node", nodeid=i, memdev="m%d" % i)
            q.cmd("set-numa-node", type="cpu", **{"node-id": i, "socket-id": i})
        q.cmd("set-numa-node", type="dist", src=0, dst=1, val=30)
        same([c["props"]["node-id"] for c in q.cmd("query-hotpluggable-cpus")], [1, 0])
        q.cmd("x-exit-preconfig")
        same([c["props"]["node-id"] for c in q.cmd("query-cpus-fast")], [0, 1])
        check("node 1 size: 8 MB" in human(m, "info numa"), "info numa")
        q.fails("x-exit-preconfig", text="only before machine initialization")
        q.fails("set-numa-node", text="only before the machine has been created", type="node")
        q.cmd("cont")
        same(q.status(), "running")
        q.cmd("quit")
        m.ends()


def test_block_nodes():
    with still("-preconfig") as m:
        q = m.qmp
        q.cmd("blockdev-add", driver="null-co", **{"node-name": "n0"})
        q.cmd("x-exit-preconfig")
        same([n["node-name"] for n in q.cmd("query-named-block-nodes")], ["n0"])
        q.cmd("blockdev-del", **{"node-name": "n0"})


def test_what_runs():
    early = set()
    for path in glob.glob(QAPI + "/*.json"):
        with open(path, encoding="utf-8") as file:
            early |= {d["command"] for d in json.load(file)["schema"] if d.get("preconfig")}
    with still("-preconfig") as m:
        names = {c["name"] for c in m.qmp.cmd("query-commands")}
        check(early <= names, "unknown", early - names)
        for name in sorted(names - early):
            m.qmp.fails(name, text=TOO_EARLY % name)
        for name in sorted(early - {"quit", "x-exit-preconfig", "qmp_capabilities"}):
            got = m.qmp.execute(name)
            check("only after" not in str(got), name, got)
        m.qmp.cmd("x-exit-preconfig")
        m.qmp.cmd("query-cpus-fast")


def test_mistakes():
    with still("-preconfig", "-smp", "2") as m:
        q = m.qmp
        q.fails("set-numa-node", text="CPU index (9)", type="node", nodeid=0, cpus=[0, 9])
        q.fails("set-numa-node", text="'type' does not accept value 'nod'", type="nod")
        q.fails("set-numa-node", text="node-id", type="cpu", **{"node-id": 0, "socket-id": 0})
        q.fails("set-numa-node", text="Invalid node 1", type="dist", src=1, dst=1, val=10)
        q.cmd("set-numa-node", type="node", nodeid=0)
        q.fails("set-numa-node", text="1 was expected", type="node", nodeid=0)
        q.fails("set-numa-node", text="no CPU matches", type="cpu", **{"node-id": 0, "socket-id": 7})
        q.cmd("x-exit-preconfig")
        check("node 0 size: 16 MB" in human(m, "info numa"), "info numa")


def test_machine_that_cannot_be():
    with still("-preconfig") as m:
        m.qmp.cmd("set-numa-node", type="node", mem=1 << 30)
        m.qmp.send('{"execute": "x-exit-preconfig"}\n')
        same(m.process.wait(LIMIT), 1)
        err = m.process.stderr.readline().decode()
        check("-numa: total memory for NUMA nodes (0x40000000) should equal RAM size" in err, "message", err)


def test_end():
    with still("-preconfig") as m:
        m.qmp.cmd("quit")
        same(m.qmp.rest(), ["SHUTDOWN"])
        m.ends()
    with still("-preconfig", "-pidfile", "@FOLDER/pid") as m:
        m.process.send_signal(signal.SIGTERM)
        same(m.qmp.rest(), ["SHUTDOWN"])
        m.ends()
        check(not os.path.exists(m.folder.name + "/pid"), "pidfile")


def test_human():
    with still("-preconfig", "-monitor", "unix:@FOLDER/hmp,server=on,wait=off") as m:
        line = m.connect(m.folder.name + "/hmp")

        def says(text, want):
            line.sock.sendall(text.encode() + b"\r")
            while not line.buffer.endswith(b"(qemu) ") or text.encode() not in line.buffer:
                check(line.more(), "the end")
            got = line.buffer.decode().replace("\r\n", "\n").split(text + "\n", 1)[1][:-len("(qemu) ")]
            line.buffer = b""
            check(got == want if want is not None else True, text, got)
            return got

        late = "Command '%s' not available until machine initialization has completed.\n"
        says("info status", "VM status: paused (prelaunch)\n")
        for word in ("cont", "info pci", "device_add edu", "x 0", "cpu 0", "gdbserver"):
            says(word, late % (word if word.startswith("info") else word.split()[0]))
        got = says("help", None)
        check("exit_preconfig" in got and "\nx /fmt" not in got, "help", got)
        says("exit_preconfig", "")
        says("exit_preconfig", "Error: The command is permitted only before machine initialization\n")
        check("Bus  0" in says("info pci", None), "info pci")


if __name__ == "__main__":
    sys.exit(main([f for name, f in list(globals().items()) if name.startswith("test_")]))
