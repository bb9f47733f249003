#!/usr/bin/env python3
"""export-test.py: the NBD server in the program, and the driver nbd by QMP.

The first argument is the program; words behind it choose tests by name.
"""
import os
import subprocess
import sys

from disks import DISK, Disks
from qmp import Machine, check, main, same, still

NODE = {"driver": "null-co", "node-name": "n0", "size": 1 << 20, "read-zeroes": True}


def unix(m, name="nbd"):
    return {"type": "unix", "data": {"path": m.folder.name + "/" + name}}


def start(m, name="nbd"):
    m.qmp.cmd("blockdev-add", **NODE)
    m.qmp.cmd("nbd-server-start", addr=unix(m, name))
    return "nbd+unix:///%s?socket=" + m.folder.name + "/" + name


def ids(q):
    return [e["id"] for e in q.cmd("query-block-exports")]


def client(uri, *commands):
    args = [a for c in commands for a in ("-c", c)]
    return subprocess.run(["qemu-io", "-f", "raw", *args, uri], timeout=30,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_authz_objects():
    """What they decide is tried with rhea-nbd."""
    with still("-object", "authz-simple,id=a0,identity=CN=x") as m:
        q = m.qmp
        rules = [{"match": "CN=*", "policy": "allow", "format": "glob"}]
        q.cmd("object-add", id="a1", rules=rules, **{"qom-type": "authz-list"})
        same(q.cmd("qom-get", path="/objects/a0", property="identity"), "CN=x")
        same(q.cmd("qom-get", path="/objects/a1", property="policy"), "deny")
        q.fails("object-add", text="Parameter 'rules[0].policy' is missing", id="a2",
                rules=[{"match": "x"}], **{"qom-type": "authz-list"})
        q.fails("object-add", text="Parameter 'identity' is missing", id="a2", **{"qom-type": "authz-simple"})
        for absent in ("authz-pam", "authz-list-file"):
            q.fails("object-add", text="does not accept value '%s'" % absent, id="a2", **{"qom-type": absent})
        q.cmd("object-del", id="a1")
        q.cmd("object-add", id="a1", **{"qom-type": "authz-list"})


def test_errors():
    with still() as m:
        q = m.qmp
        q.fails("nbd-server-stop", text="NBD server not running")
        q.fails("nbd-server-add", text="Cannot find device='n' nor node-name='n'", device="n")
        q.fails("nbd-server-remove", text="Export 'n' is not found", name="n")
        q.cmd("blockdev-add", **NODE)
        q.fails("block-export-add", text="NBD server not running", type="nbd", id="e", **{"node-name": "n0"})
        q.fails("nbd-server-start", text="No TLS credentials with id 'x'", addr=unix(m), **{"tls-creds": "x"})
        q.fails("nbd-server-start", text="tls-authz is not permitted without tls-creds", addr=unix(m),
                **{"tls-authz": "x"})
        q.cmd("object-add", id="t", endpoint="server", **{"qom-type": "tls-creds-anon"})
        q.fails("nbd-server-start", text="tls-authz needs certificates of clients", addr=unix(m),
                **{"tls-creds": "t", "tls-authz": "x"})
        q.fails("nbd-server-start", text="Failed to bind socket to /nonexistent/s: No such file or directory",
                addr={"type": "unix", "data": {"path": "/nonexistent/s"}})
        q.cmd("nbd-server-start", addr=unix(m))
        q.fails("nbd-server-start", text="NBD server already running", addr=unix(m))
        q.cmd("block-export-add", type="nbd", id="e0", name="name", **{"node-name": "n0"})
        for text, args in (("Block export id 'e0' is already in use", {"id": "e0", "name": "b"}),
                           ("NBD server already has export named 'name'", {"id": "e1", "name": "name"}),
                           ("Invalid block export id", {"id": "9", "name": "b"}),
                           ("Bitmap 'b' is not found", {"id": "e1", "name": "b", "bitmaps": ["b"]}),
                           ("iothread", {"id": "e1", "name": "b", "iothread": "x"}),
                           ("too long", {"id": "e1", "name": "x" * 5000})):
            q.fails("block-export-add", text=text, type="nbd", **{"node-name": "n0"}, **args)
        q.fails("block-export-del", text="Export 'nope' is not found", id="nope")
        q.fails("blockdev-del", text="Node 'n0' is in use by NBD export 'name'", **{"node-name": "n0"})
        same(ids(q), ["e0"])


def test_bitmaps():
    """What a client writes is what the bitmap tells clients."""
    with still() as m:
        q, uri = m.qmp, start(m)
        q.cmd("blockdev-add", **{"driver": "null-co", "node-name": "z", "size": 1 << 20})
        q.cmd("block-dirty-bitmap-add", node="z", name="b", granularity=4096)
        q.fails("block-export-add", text="Enabled bitmap 'b' incompatible with readonly export",
                type="nbd", id="e", name="n", bitmaps=["b"], **{"node-name": "z"})
        q.cmd("block-export-add", type="nbd", id="e", name="n", writable=True, bitmaps=["b"],
              **{"node-name": "z"})
        q.fails("block-dirty-bitmap-clear", text="Bitmap 'b' is currently in use by another operation",
                node="z", name="b")
        client(uri % "n", "write 4096 4096", "write 65536 512", "write 66000 10k")
        done = subprocess.run(["nbdinfo", "--map=qemu:dirty-bitmap:b", uri % "n"], timeout=30, check=True,
                              stdout=subprocess.PIPE, text=True)
        same([[int(word) for word in line.split()[:3]] for line in done.stdout.splitlines()],
             [[0, 4096, 0], [4096, 4096, 1], [8192, 57344, 0], [65536, 12288, 1], [77824, 970752, 0]])
        q.cmd("block-export-del", id="e", mode="hard")         # nobody said that the last client is gone
        q.event("BLOCK_EXPORT_DELETED")
        q.cmd("block-dirty-bitmap-clear", node="z", name="b")


def test_life():
    with still() as m:
        q, uri = m.qmp, start(m)
        q.cmd("block-export-add", type="nbd", id="e0", name="one", writable=True, **{"node-name": "n0"})
        q.cmd("nbd-server-add", device="n0", name="two", description="text")
        same(ids(q), ["two", "e0"])
        check("read 4096/4096" in client(uri % "one", "write 0 4k", "read -P 0 0 4k").stdout, "no data")
        check("denied" in client(uri % "two", "write 0 4k").stdout, "a write to a read-only export")
        q.cmd("block-export-del", id="e0", mode="hard")
        same(q.event("BLOCK_EXPORT_DELETED"), {"id": "e0"})
        check("not available" in client(uri % "one", "read 0 4k").stdout, "an export that is gone")
        q.cmd("nbd-server-stop")
        same(q.event("BLOCK_EXPORT_DELETED"), {"id": "two"})
        same(ids(q), [])
        q.cmd("blockdev-del", **{"node-name": "n0"})


def test_clients():
    """An export with a client is not removed safely; hard, the client is disconnected."""
    with still() as m:
        q, uri = m.qmp, start(m)
        q.cmd("block-export-add", type="nbd", id="e0", name="one", **{"node-name": "n0"})
        process = subprocess.Popen(["qemu-io", "-f", "raw", "-r", uri % "one"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        process.stdin.write(b"read 0 4k\n")
        process.stdin.flush()
        while b"ops" not in process.stdout.readline():
            pass
        q.fails("block-export-del", text="export 'e0' still in use", id="e0")
        q.cmd("block-export-del", id="e0", mode="hard")
        same(q.event("BLOCK_EXPORT_DELETED"), {"id": "e0"})
        check(b"failed" in process.communicate(b"read 0 4k\n", timeout=30)[0], "the client goes on")
        q.cmd("blockdev-del", **{"node-name": "n0"})


def test_snapshot_under_export():
    """A client writes on while its disk gets an overlay, and is told what is where."""
    with Disks(*DISK[:4], added="a") as m:
        q = m.qmp
        q.cmd("nbd-server-start", addr=unix(m))
        q.cmd("block-export-add", type="nbd", id="e", name="n", writable=True, **{"node-name": "r"})
        uri = "nbd+unix:///n?socket=" + m.folder.name + "/nbd"
        process = subprocess.Popen(["qemu-io", "-f", "raw", uri], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        process.stdin.write(b"write -P 1 0 64k\n")
        process.stdin.flush()
        while b"ops" not in process.stdout.readline():
            pass
        q.cmd("blockdev-snapshot", node="r", overlay="a")
        same(q.cmd("query-block-exports")[0]["node-name"], "a")
        said = process.communicate(b"write -P 2 64k 64k\nread -P 1 0 64k\nread -P 2 64k 64k\nmap\n",
                                   timeout=30)[0]
        check(b"failed" not in said and b"1 MiB (0x100000) bytes" in said, said)
        base = open(m.folder.name + "/d", "rb").read(1 << 17)
        check(base == b"\1" * (1 << 16) + b"rhea" * (1 << 14), "the base after its overlay was made")


def test_temporary():
    """-snapshot, and snapshot=on: a drive is written to a file that nobody finds."""
    drive = "if=none,id=x,format=raw,file=@FOLDER/d"
    for args, kept in ((("-snapshot", "-drive", drive), True), (("-drive", drive + ",snapshot=on"), True),
                       (("-snapshot", "-drive", drive + ",snapshot=off"), False)):
        with Disks(*args) as m:
            q = m.qmp
            node = q.cmd("query-block")[0]["inserted"]
            same((node["drv"], node["backing_file_depth"]), ("qcow2", 1) if kept else ("raw", 0))
            q.cmd("nbd-server-start", addr=unix(m))
            q.cmd("nbd-server-add", device="x", writable=True)
            said = client("nbd+unix:///x?socket=" + m.folder.name + "/nbd", "write -P 1 0 64k",
                          "read -P 1 0 64k").stdout
            check("failed" not in said and "read 65536/65536" in said, said)
            with open(m.folder.name + "/d", "rb") as f:
                same(f.read(4) == b"rhea", kept)
            for base in ("/var/tmp", m.folder.name):
                same([name for name in os.listdir(base) if name.startswith("rhea.")], [])
    done = subprocess.run([Machine.program, "-M", "none", "-drive", "if=none,file=/dev/null,format=raw",
                           "-snapshot"], env=dict(os.environ, TMPDIR="/nonexistent"), timeout=30,
                          stderr=subprocess.PIPE, text=True)
    same(done.returncode, 1)
    check("Could not open temporary file '/nonexistent/rhea." in done.stderr, done.stderr)


def test_client_node():
    """Two machines: one's disk is the other's export; it waits for a server that went away."""
    with still() as a, still() as b:
        start(a)
        a.qmp.cmd("block-export-add", type="nbd", id="e0", name="one", writable=True, **{"node-name": "n0"})
        server = {"type": "unix", "path": a.folder.name + "/nbd"}
        b.qmp.cmd("blockdev-add", driver="nbd", server=server, export="one",
                  **{"node-name": "c", "reconnect-delay": 30})
        info = [n for n in b.qmp.cmd("query-named-block-nodes") if n["node-name"] == "c"][0]
        same((info["drv"], info["file"], info["image"]["virtual-size"]),
             ("nbd", "nbd+unix:///one?socket=" + server["path"], 1 << 20))
        uri = start(b, "back")
        b.qmp.cmd("block-export-add", type="nbd", id="e1", name="two", writable=True, **{"node-name": "c"})
        check("read 4096/4096" in client(uri % "two", "write 0 4k", "read 0 4k").stdout, "no data")
        a.qmp.cmd("nbd-server-stop")
        waiting = subprocess.Popen(["qemu-io", "-f", "raw", "-c", "read 0 4k", uri % "two"],
                                   stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        a.qmp.cmd("nbd-server-start", addr=unix(a))
        a.qmp.cmd("block-export-add", type="nbd", id="e2", name="one", writable=True, **{"node-name": "n0"})
        check("read 4096/4096" in waiting.communicate(timeout=60)[0], "it did not come back")


def test_tls():
    """Two machines with a key that both know; one without it gets nothing."""
    with still() as a, still() as b:
        with open(a.folder.name + "/keys.psk", "w") as f:
            f.write("qemu:0123456789abcdef0123456789abcdef\n")
        for m, end in ((a, "server"), (b, "client")):
            m.qmp.cmd("object-add", id="t", dir=a.folder.name, endpoint=end, **{"qom-type": "tls-creds-psk"})
        a.qmp.cmd("blockdev-add", **NODE)
        a.qmp.cmd("nbd-server-start", addr=unix(a), **{"tls-creds": "t"})
        a.qmp.cmd("block-export-add", type="nbd", id="e0", name="one", writable=True, **{"node-name": "n0"})
        server = {"type": "unix", "path": a.folder.name + "/nbd"}
        b.qmp.fails("blockdev-add", text="requires TLS", driver="nbd", server=server, **{"node-name": "c"})
        b.qmp.fails("nbd-server-start", text="Expecting TLS credentials with a server endpoint", addr=unix(b),
                    **{"tls-creds": "t"})
        b.qmp.cmd("blockdev-add", driver="nbd", server=server, export="one",
                  **{"node-name": "c", "tls-creds": "t"})
        uri = start(b, "back")
        b.qmp.cmd("block-export-add", type="nbd", id="e1", name="two", writable=True, **{"node-name": "c"})
        said = client(uri % "two", "write 0 1M", "read 0 1M", "write -z 0 64k", "flush").stdout
        check("read 1048576/1048576" in said and "failed" not in said, said)


def test_client_errors():
    with still() as m:
        for text, args in (("Failed to connect to '/nonexistent': No such file",
                            {"server": {"type": "unix", "path": "/nonexistent"}}),
                           ("Parameter 'server' is missing", {}),
                           ("No TLS credentials with id 'x'",
                            {"server": {"type": "unix", "path": "/n"}, "tls-creds": "x"}),
                           ("File descriptor named 'x' has not been found",
                            {"server": {"type": "fd", "str": "x"}})):
            m.qmp.fails("blockdev-add", text=text, driver="nbd", **{"node-name": "c"}, **args)


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS, kvm=False))
