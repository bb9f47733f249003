#!/usr/bin/env python3
"""qom-test.py: the object tree and objects, on machines without a guest.

The first argument is the program; words behind it choose tests by name.
"""
import sys

from qmp import check, main, same, still

DEVICES = ["-object", "iothread,id=io1", "-blockdev", "null-co,node-name=n0",
           "-device", "virtio-blk-pci,id=vd0,drive=n0,iothread=io1,serial=abc",
           "-chardev", "null,id=c1", "-device", "virtio-serial-pci,id=vs0",
           "-device", "virtserialport,chardev=c1,name=org.x,id=ch0", "-device", "edu"]


def kinds(q, path):
    return {p["name"]: p["type"] for p in q.cmd("qom-list", path=path)}


def walk(q, path, seen):
    """Lists and reads everything below @path."""
    for name, kind in kinds(q, path).items():
        value = q.cmd("qom-get", path=path, property=name)
        seen[path.rstrip("/") + "." + name] = value
        if kind.startswith("child<"):
            below = path.rstrip("/") + "/" + name
            same(value, below, "the child's path")
            same(q.cmd("qom-get", path=below, property="type"), kind[6:-1], below)
            walk(q, below, seen)
        else:
            ok = {"bool": bool, "size": int, "str": str, "string": str}.get(kind)
            if kind.startswith(("uint", "int")):
                ok = int
            if value is not None and ok:
                check(isinstance(value, ok), "%s.%s is a %s:" % (path, name, kind), value)
    return seen


def test_whole_tree():
    for machine in ("q35", "pc"):
        with still(*DEVICES, machine=machine) as m:
            seen = walk(m.qmp, "/", {})
            vd0 = "/machine/peripheral/vd0"
            same(seen["/machine.type"], "pc-%s-7.2-machine" % {"q35": "q35", "pc": "i440fx"}[machine])
            same(seen[vd0 + ".type"], "virtio-blk-pci")
            same(seen[vd0 + ".serial"], "abc")
            same(seen[vd0 + ".drive"], "n0")
            same(seen[vd0 + ".iothread"], "/objects/io1")
            same(seen[vd0 + ".realized"], True)
            same(seen[vd0 + ".hotplugged"], False)
            same(seen[vd0 + "/virtio-backend.type"], "virtio-blk-device")
            same(seen["/machine/peripheral/ch0.parent_bus"],
                 "/machine/peripheral/vs0/virtio-backend/vs0.0")
            same(seen["/machine/peripheral-anon/device[0].type"], "edu")
            same(seen["/objects/io1.poll-max-ns"], 32768)
            same(seen["/chardevs/c1.type"], "chardev-null")
            same(seen["/machine.graphics"], True)


def test_aliases_and_kinds():
    """-device takes the short names; -global means a type, or all of a kind."""
    with still("-device", "virtio-rng,id=r", "-device", "virtio-serial,id=s", "-device", "ahci,id=a",
               "-global", "virtio-pci.disable-legacy=on", "-global", "virtio-rng-device.period=2000",
               "-global", "pci-device.rombar=0") as m:
        q = m.qmp
        for id, kind in (("r", "virtio-rng-pci"), ("s", "virtio-serial-pci"), ("a", "ich9-ahci")):
            same(q.cmd("qom-get", path=id, property="type"), kind)
            same(q.cmd("qom-get", path=id, property="rombar"), 0)
        same(q.cmd("qom-get", path="r", property="disable-legacy"), "on")
        same(q.cmd("qom-get", path="r", property="period"), 2000)
        same(q.cmd("qom-get", path="/machine/peripheral/r/virtio-backend", property="parent_bus"),
             "/machine/peripheral/r/virtio-bus")
        same(q.cmd("qom-get", path="/machine/peripheral/r/virtio-bus", property="type"), "virtio-pci-bus")


def test_paths():
    with still(*DEVICES) as m:
        q = m.qmp
        root = kinds(q, "/")
        same((root["machine"], root["objects"], root["chardevs"]),
             ("child<pc-q35-7.2-machine>", "child<container>", "child<container>"))
        same(kinds(q, "/machine/peripheral")["vd0"], "child<virtio-blk-pci>")
        same(kinds(q, "vd0"), kinds(q, "/machine/peripheral/vd0"), "the end of a path")
        same(q.cmd("qom-get", path="vd0/virtio-backend", property="type"), "virtio-blk-device")
        same(kinds(q, "/machine/peripheral//vd0/"), kinds(q, "vd0"), "more slashes")
        for path in ("/nosuch", "/machine/peripheral/vd0/nosuch", "nosuch", "/objects/vd0"):
            q.fails("qom-list", "DeviceNotFound", "Device '%s' not found" % path, path=path)
            q.fails("qom-get", "DeviceNotFound", path=path, property="type")
            q.fails("qom-set", "DeviceNotFound", path=path, property="type", value=1)
        for path in ("", "virtio-backend"):
            q.fails("qom-list", text="Path '%s' is ambiguous" % path, path=path)
        q.fails("qom-get", text="Property 'virtio-blk-pci.nosuch' not found", path="vd0",
                property="nosuch")
        q.fails("qom-list", text="path")


def test_set():
    with still(*DEVICES) as m:
        q = m.qmp
        q.fails("qom-set", text="Attempt to set property 'serial' on device 'vd0' (type 'virtio-blk-pci') "
                "after it was realized", path="vd0", property="serial", value="x")
        q.fails("qom-set", text="'virtio-blk-pci.type' is not writable", path="vd0", property="type",
                value="x")
        q.fails("qom-set", text="'pc-q35-7.2-machine.graphics' is not writable", path="/machine",
                property="graphics", value=False)
        q.fails("qom-set", text="Property 'iothread.nosuch' not found", path="/objects/io1",
                property="nosuch", value=1)
        q.fails("qom-set", text="'iothread.type' is not writable", path="/objects/io1", property="type",
                value="x")
        same(q.cmd("qom-set", path="/objects/io1", property="poll-max-ns", value=0), {})
        same(q.cmd("query-iothreads")[0]["poll-max-ns"], 0)
        same(q.cmd("qom-get", path="/objects/io1", property="poll-max-ns"), 0)
        q.fails("qom-set", text="Invalid parameter type for 'poll-max-ns', expected: integer",
                path="/objects/io1", property="poll-max-ns", value="a")
        q.fails("qom-set", text="poll-max-ns", path="/objects/io1", property="poll-max-ns", value=-1)
        same(q.cmd("query-iothreads")[0]["poll-max-ns"], 0)


def chips(q):
    return {p["type"] for p in q.cmd("qom-list", path="/machine/unattached")}


def test_chips_by_choice():
    legacy = {"child<i8042>", "child<port92>"}
    for board in ("q35", "pc"):
        for option, want in (("", legacy | {"child<vmport>"}), (",vmport=auto", legacy | {"child<vmport>"}),
                             (",vmport=off", legacy), (",i8042=off", set())):
            with still(machine=board + option) as m:
                same(chips(m.qmp) & (legacy | {"child<vmport>"}), want)


def test_types():
    with still() as m:
        q = m.qmp
        types = {t["name"]: t for t in q.cmd("qom-list-types")}
        for name in ("virtio-blk-pci", "virtio-blk-device", "pcie-root-port", "iothread", "rng-random",
                     "mch", "memory-backend-memfd", "kvm-accel", "none-machine", "secret", "i8042"):
            check(name in types, "no type", name)
        for name in ("tcg-accel", "virtio-blk", "device", "sev-guest", "vmmouse"):
            check(name not in types, "a type that is none:", name)
        names = {t["name"] for t in q.cmd("qom-list-types", implements="pci-device")}
        check("edu" in names and "isa-serial" not in names, "PCI devices", names)
        both = q.cmd("qom-list-types", implements="rng-backend", abstract=True)
        same({t["name"]: t.get("abstract", False) for t in both},
             {"rng-backend": True, "rng-random": False, "rng-builtin": False, "rng-egd": False})
        same(q.cmd("qom-list-types", implements="nosuch"), [])
        q.fails("qom-list-types", text="abstract", abstract="yes")
        for name in types:
            got = {p["name"] for p in q.cmd("qom-list-properties", typename=name)}
            check("type" in got, "no type property of", name)
        props = {p["name"] for p in q.cmd("qom-list-properties", typename="memory-backend-file")}
        check({"mem-path", "share", "prealloc-threads", "reserve"} <= props, "a file's", props)
        check("id" not in props, "a file's", props)
        # The class counts: libvirt 9.0 ends itself on DeviceNotFound here.
        q.fails("qom-list-properties", "GenericError", "Class 'nosuch' not found", typename="nosuch")


def test_device_properties():
    with still() as m:
        q = m.qmp
        props = {p["name"]: p for p in q.cmd("device-list-properties", typename="virtio-blk-pci")}
        for name in ("queue-size", "acpi-index", "drive", "bootindex", "addr"):
            check(name in props, "virtio-blk has no", name)
        same(props["write-cache"]["default-value"], "auto")
        check("realized" not in props and "type" not in props, "virtio-blk", set(props))
        props = q.cmd("device-list-properties", typename="virtio-blk-device")
        check("queue-size" in {p["name"] for p in props}, "the device behind the transport")
        for command in ("device-list-properties", "qom-list-properties"):
            names = {p["name"] for p in q.cmd(command, typename="kvm-pit")}
            check("lost_tick_policy" in names, "kvm-pit has", names)
        q.fails("device-list-properties", "DeviceNotFound", "Device 'nosuch' not found", typename="nosuch")
        for name in ("iothread", "pci-device", "none-machine"):
            q.fails("device-list-properties", text="expects a non-abstract device type", typename=name)


def test_objects():
    with still(*DEVICES) as m:
        q = m.qmp
        add = lambda **a: q.cmd("object-add", **a)
        refused = lambda text, **a: q.fails("object-add", text=text, **a)
        for kind, more in (("iothread", {}), ("rng-random", {}), ("rng-builtin", {}),
                           ("secret", {"data": "x"}),
                           ("secret", {"data": "eHl6", "format": "base64"}),
                           ("memory-backend-ram", {"size": 1 << 20}),
                           ("memory-backend-memfd", {"size": 1 << 20})):
            add(**{"qom-type": kind, "id": "o"}, **more)
            same(q.cmd("qom-get", path="/objects/o", property="type"), kind)
            refused("duplicate property 'o'", **{"qom-type": "rng-builtin", "id": "o"})
            q.cmd("object-del", id="o")
            q.fails("object-del", text="object 'o' not found", id="o")
        with open(m.folder.name + "/key", "w") as f:
            f.write("secret")
        add(**{"qom-type": "secret", "id": "masterKey0", "format": "raw",
               "file": m.folder.name + "/key"})
        refused("Either 'file' or 'data'", **{"qom-type": "secret", "id": "o"})
        refused("mutually exclusive", **{"qom-type": "secret", "id": "o", "data": "x", "file": "/x"})
        refused("Base64", **{"qom-type": "secret", "id": "o", "data": "*&", "format": "base64"})
        refused("/nosuch/file", **{"qom-type": "secret", "id": "o", "file": "/nosuch/file"})
        refused("expects an identifier", **{"qom-type": "rng-builtin", "id": "3o"})
        refused("does not accept value 'nosuch'", **{"qom-type": "nosuch", "id": "o"})
        refused("size", **{"qom-type": "memory-backend-ram", "id": "o"})
        q.fails("object-del", text="in use", id="io1")
        same(set(kinds(q, "/objects")), {"type", "io1", "masterKey0"})


def test_object_of_a_device_stays():
    """What a device refers to cannot be taken from it."""
    with still("-object", "rng-random,id=r0", "-device", "virtio-rng-pci,rng=r0") as m:
        m.qmp.fails("object-del", text="object 'r0' is in use", id="r0")
        same(m.qmp.cmd("qom-get", path="/machine/peripheral-anon/device[0]", property="rng"), "/objects/r0")


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS, kvm=False))
