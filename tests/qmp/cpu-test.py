#!/usr/bin/env python3
"""cpu-test.py: processor models and objects in QMP, and that they read as QEMU's, if it is installed.

The first argument is the program; words behind it choose tests by name.  Status 77: no /dev/kvm.
"""
import shutil
import socket
import subprocess
import sys

from qmp import LIMIT, Machine, Qmp, check, main, same, still

QEMU = "qemu-system-x86_64"
OURS_ALONE = ("SapphireRapids", "SapphireRapids-v1")   # newer than QEMU 7.2


class Theirs:
    """QEMU with the same machine and processor, or None as a context if it is not installed."""

    def __init__(self, machine, *args):
        self.command = [QEMU, "-M", machine + ",accel=kvm", "-m", "16", "-nodefaults", "-display", "none",
                        "-S", *args]

    def __enter__(self):
        if not shutil.which(QEMU):
            return None
        ours, theirs = socket.socketpair()
        fd = theirs.fileno()
        self.process = subprocess.Popen(
            self.command + ["-chardev", "socket,id=m,fd=%d" % fd, "-mon", "chardev=m,mode=control"],
            pass_fds=[fd], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        theirs.close()
        ours.settimeout(LIMIT)
        self.qmp = Qmp(ours)
        return self.qmp

    def __exit__(self, *exc):
        if hasattr(self, "process"):
            self.process.kill()
            self.process.wait()
            self.qmp.close()


def paused(*args, machine="q35"):
    m = Machine("-S", *args, machine=machine, serial=False)
    if machine == "none":                              # it has no RAM and no firmware
        for option in ("-m", "-bios"):
            at = m.command.index(option)
            del m.command[at:at + 2]
    return m


def first_cpu(q):
    return q.cmd("query-cpus-fast")[0]["qom-path"]


def kinds(q, path):
    return {p["name"]: p["type"] for p in q.cmd("qom-list", path=path)}


def expand(q, name, kind="static", **props):
    return q.cmd("query-cpu-model-expansion", type=kind, model={"name": name, "props": props})["model"]


def test_definitions():
    with paused(machine="none") as m, Theirs("none") as theirs:
        models = {d["name"]: d for d in m.qmp.cmd("query-cpu-definitions")}
        same(models["EPYC-IBPB"]["alias-of"], "EPYC-v2")
        same(models["host"]["unavailable-features"], [])
        same((models["base"]["static"], models["max"]["migration-safe"]), (True, False))
        types = {t["name"]: t["parent"] for t in m.qmp.cmd("qom-list-types", implements="x86_64-cpu")}
        same(set(types), {d["typename"] for d in models.values()})
        if theirs:
            same([d for d in models.values() if d["name"] not in OURS_ALONE],
                 theirs.cmd("query-cpu-definitions"))


def test_definitions_without_host():
    with still() as m:
        models = {d["name"]: d for d in m.qmp.cmd("query-cpu-definitions")}
        check("unavailable-features" not in models["EPYC"], "no host is known", models["EPYC"])
        same(expand(m.qmp, "Haswell")["props"]["avx2"], True)
        same(expand(m.qmp, "host")["props"]["avx2"], False)


def test_expansion():
    with paused(machine="none") as m:
        q = m.qmp
        model = expand(q, "Skylake-Server-v5", "static")
        same(model["name"], "base")
        same((model["props"]["avx512f"], model["props"]["hle"], model["props"]["family"]), (True, False, 6))
        check("check" not in model["props"] and "sse3" not in model["props"], "static tells only features")
        full = expand(q, "Skylake-Server-v5", "full", vmx=True, **{"phys-bits": 43})
        same((full["name"], full["props"]["vmx-ept"], full["props"]["phys-bits"]),
             ("Skylake-Server-v5", True, 43))
        same(expand(q, "host", migratable=False)["props"].get("migratable"), None)
        expand(q, "host", "full", **{"migratable": False, "hv-passthrough": True})

        def fails(text, kind="static", **model):
            q.fails("query-cpu-model-expansion", type=kind, model=model, text=text)

        fails("CPU model 'nope' not found", name="nope")
        fails("Property 'host-x86_64-cpu.nope' not found", name="host", props={"nope": False})
        fails("Invalid parameter type for 'avx', expected: boolean", name="host", props={"avx": 5})
        fails("Property .family doesn't take value 600 (minimum: 0, maximum: 270)", name="host",
              props={"family": 600})
        fails("Property '.vendor' doesn't take value 'abc'", name="host", props={"vendor": "abc"})
        fails("Property 'qemu64-x86_64-cpu.migratable' not found", name="qemu64", props={"migratable": True})
        fails("expected: object", name="host", props=5)
        fails("Parameter 'type' does not accept value 'stat'", "stat", name="host")


def test_expansion_as_qemu():
    with paused(machine="none") as m, Theirs("none") as theirs:
        if not theirs:
            return
        for name in [d["name"] for d in theirs.cmd("query-cpu-definitions")]:
            for kind in ("static", "full"):
                same(expand(m.qmp, name, kind), expand(theirs, name, kind), name)
        for props in ({"migratable": False}, {"migratable": False, "hv-passthrough": True}, {"vmx": True},
                      {"level": 5}, {"sse4_1": False}, {"model-id": "abc"}, {"lbr-fmt": 5},
                      {"hv-no-nonarch-coresharing": "auto"}):
            for kind in ("static", "full"):
                same(expand(m.qmp, "host", kind, **props), expand(theirs, "host", kind, **props),
                     str(props))


def test_comparison():
    with paused(machine="none") as m:
        def compare(a, b, **props):
            return m.qmp.cmd("query-cpu-model-comparison", modela={"name": a, "props": props},
                             modelb={"name": b})

        same(compare("Haswell-v4", "Haswell-v4")["result"], "identical")
        same(compare("Haswell-v4", "Haswell-v4", hle=True),
             {"result": "superset", "responsible-properties": ["hle"]})
        same(compare("Haswell-v4", "Haswell-v4", avx=False),
             {"result": "subset", "responsible-properties": ["avx"]})
        same(compare("Haswell-v4", "Haswell-v4", hle=True, avx=False)["result"], "incompatible")
        m.qmp.fails("query-cpu-model-comparison", modela={"name": "x"}, modelb={"name": "base"},
                    text="'x' not found")
        got = m.qmp.cmd("query-cpu-model-baseline", modela={"name": "Haswell"},
                        modelb={"name": "EPYC"})["model"]
        props = got["props"]
        same((got["name"], props["avx2"], props["hle"], props["sse4a"]), ("base", True, False, False))
        m.qmp.fails("query-cpu-model-baseline", modela={"name": "base"}, modelb={"name": "x"},
                    text="'x' not found")


def test_object():
    with paused("-cpu", "qemu64,hypervisor=on,lahf-lm=on,-cx16,check=off") as m:
        q, path = m.qmp, first_cpu(m.qmp)

        def get(name):
            return q.cmd("qom-get", path=path, property=name)

        same(get("type"), "qemu64-x86_64-cpu")
        same([get(n) for n in ("hypervisor", "lahf-lm", "lahf_lm", "cx16", "fpu")],
             [True, True, True, False, True])
        same((get("family"), get("level"), get("model-id")), (15, 13, "QEMU Virtual CPU version 2.5+"))
        word = [w for w in get("feature-words")
                if w["cpuid-input-eax"] == 1 and w["cpuid-register"] == "EDX"]
        check(word[0]["features"] & 1, "leaf 1 EDX has fpu", word)
        same(len(get("filtered-features")), 24)
        for name in kinds(q, path):
            q.cmd("qom-get", path=path, property=name)
        q.fails("qom-set", path=path, property="avx", value=True, text="after it was realized")
        q.fails("qom-get", path=path, property="avx3", text="Property 'qemu64-x86_64-cpu.avx3' not found")


def test_objects_as_qemu():
    for cpu in ("qemu64", "EPYC,-svm,check=off", "host,migratable=on,arch-capabilities=off",
                "Skylake-Server-v5,phys-bits=44,check=off"):
        with paused("-cpu", cpu) as m, Theirs("q35", "-cpu", cpu) as theirs:
            if not theirs:
                return
            ours_at, theirs_at = first_cpu(m.qmp), first_cpu(theirs)
            want, got = kinds(theirs, theirs_at), kinds(m.qmp, ours_at)
            same({n for n in want if n not in got and not want[n].startswith("child<")}, {"legacy-memory"})
            for name in want:
                if name in got and name != "crash-information":
                    same(m.qmp.cmd("qom-get", path=ours_at, property=name),
                         theirs.cmd("qom-get", path=theirs_at, property=name), cpu + " " + name)


def test_types():
    with still() as m, Theirs("none") as theirs:
        for model in ("qemu64", "max", "EPYC-v3"):
            typename = model + "-x86_64-cpu"
            props = {p["name"]: p for p in m.qmp.cmd("device-list-properties", typename=typename)}
            same(props["unavailable-features"]["type"], "strList")
            same(props["hv-spinlocks"]["default-value"], 0xffffffff)
            same("migratable" in props, model == "max")
            if theirs:
                want = {p["name"] for p in theirs.cmd("device-list-properties", typename=typename)}
                same(set(props) - want, {"legacy-cache"}, typename)
                same(want - set(props), set(), typename)
        names = {p["name"] for p in m.qmp.cmd("qom-list-properties", typename="max-x86_64-cpu")}
        check({"unavailable-features", "avx2", "migratable", "socket-id"} <= names, "properties", names)
        m.qmp.fails("device-list-properties", "DeviceNotFound", typename="nope-x86_64-cpu")


def features(q):
    return {p["cpuid-register"] + str(p["cpuid-input-eax"]) + str(p.get("cpuid-input-ecx")): p["features"]
            for p in q.cmd("qom-get", path=first_cpu(q), property="feature-words")}


def test_default():
    """Without -cpu it is qemu64, whatever the host has."""
    seen = []
    for options in ((), ("-cpu", "qemu64"), ("-cpu", "host")):
        with paused(*options) as m:
            seen.append(features(m.qmp))
    same(seen[0], seen[1])
    check(seen[0] != seen[2], "has all that the host has", seen[0])
    with Theirs("q35") as theirs:
        if theirs is not None:
            same(features(theirs), seen[0], "QEMU's")
    with paused("-global", "qemu64-x86_64-cpu.fpu=off") as m:
        same(m.qmp.cmd("qom-get", path=first_cpu(m.qmp), property="fpu"), False)


def test_globals():
    """-global of the model is a default that -cpu may set back; other models' say nothing."""
    options = ("-cpu", "qemu64,svm=off,cx16=on", "-global", "qemu64-x86_64-cpu.rdrand=off",
               "-global", "qemu64-x86_64-cpu.cx16=off", "-global", "qemu64-x86_64-cpu.sse3=off",
               "-global", "driver=qemu64-x86_64-cpu,property=level,value=7",
               "-global", "Nehalem-x86_64-cpu.fpu=off")
    with paused(*options) as m, Theirs("q35", *options) as theirs:
        path = first_cpu(m.qmp)
        got = {name: m.qmp.cmd("qom-get", path=path, property=name)
               for name in ("cx16", "pni", "fpu", "level", "svm")}
        same(got, {"cx16": True, "pni": False, "fpu": True, "level": 7, "svm": False})
        if theirs is not None:
            path = first_cpu(theirs)
            same({name: theirs.cmd("qom-get", path=path, property=name) for name in got}, got, "QEMU's")
    for text, why in (("nosuch=on", "'qemu64-x86_64-cpu.nosuch' not found"), ("fpu=maybe", "fpu"),
                      ("fpu=on,vme=on", "a value without commas")):
        ended = subprocess.run([Machine.program, "-M", "q35,accel=kvm", "-cpu", "qemu64", "-display", "none",
                                "-global", "qemu64-x86_64-cpu." + text], stdin=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True, timeout=30, check=False)
        same(ended.returncode, 1)
        check(why in ended.stderr, "stderr", ended.stderr)


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS))
