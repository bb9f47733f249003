#!/usr/bin/env python3
"""compare.py: what Rhea and the installed QEMU tell KVM about the same -cpu, on the same played host.

    compare.py SHIM RHEA [--all | CPU...]

Both programs run with shim.c between them and KVM, on hosts made up here; the CPUID tables they set, the
feature registers and the lines they print must be equal, but for the differences that EXPLAINED names. With
--all every model QEMU has is compared, else a choice of them. Status 77: no /dev/kvm or no QEMU.
"""
import fcntl
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

QEMU = "qemu-system-x86_64"
ONES = 0xffffffff
LIMIT_S = 60
KVM_GET_SUPPORTED_CPUID = 0xc008ae05
SMP = [(), ("-smp", "16,sockets=2,dies=2,cores=2,threads=2"), ("-smp", "6,cores=3,threads=2"),
       ("-smp", "2,sockets=2"), ("-smp", "4,cores=4")]
# One of each kind: table rows, caches, vendors, levels, dependencies, forms of the text.
CHOICE = """
    host max base qemu64 kvm64 486 phenom n270 Conroe Nehalem-IBRS SandyBridge Haswell-noTSX
    Broadwell-v4 Skylake-Client-v4 Skylake-Server-v5 Cascadelake-Server-v5 Cooperlake-v2
    Icelake-Server-v6 KnightsMill Denverton-v3 Opteron_G1 Opteron_G5 EPYC EPYC-v3 EPYC-Rome-v2
    EPYC-Milan Dhyana-v2 Skylake-Server-v1,l3-cache=off Skylake-Server-v1,cpuid-0xb=off
    Skylake-Server-v1,vendor=AuthenticAMD EPYC-v3,vendor=AuthenticAMD
    EPYC-v3,vendor=AuthenticAMD,legacy-cache=on EPYC-v3,vendor=AuthenticAMD,l3-cache=off
    EPYC-v3,vendor=AuthenticAMD,x-vendor-cpuid-only=off Skylake-Server-v1,vendor=HygonGenuine
    Skylake-Server-v1,level=5 Skylake-Server-v1,min-level=0x20,min-xlevel=0x80000020
    486,full-cpuid-auto-level=off,+avx2 486,+avx512f 486,+arat 486,+xsaveopt 486,+svm,+npt 486,+npt
    486,+invtsc 486,+intel-pt,+intel-pt-lip 486,+xstore
    qemu64,host-phys-bits=on,host-phys-bits-limit=43 qemu64,+la57 qemu64,phys-bits=60
    486,phys-bits=44 qemu64,family=25,model=33,stepping=9,model-id=hello
    qemu64,xlevel2=0xc0000004,xlevel=0x80000020 host,host-phys-bits=off host,+topoext host,-sgx
    host,-xsave host,-avx host,kvm-hint-dedicated=on Skylake-Server-v5,vmx=on
    Skylake-Server-v5,vmx=on,-vmx-ept EPYC-Milan,svm=on kvm64,vmx=on qemu64,+vmx-ept
    Cascadelake-Server-v2,-arch-capabilities qemu64,ucode-rev=0x1234 qemu64,-kvmclock,-x2apic
    qemu64,kvm=off qemu64,legacy-cache=off qemu64,avx2=maybe qemu64,+avx2,avx2=off nothing
    qemu64,family=999 qemu64,vendor=x hv:qemu64,hv-relaxed,hv-vapic,hv-spinlocks=0x1fff
    hv:qemu64,hv-vpindex,hv-synic,hv-time,hv-stimer,hv-stimer-direct
    hv:qemu64,hv-runtime,hv-crash,hv-reset,hv-frequencies,hv-reenlightenment hv:qemu64,hv-synic
    hv:qemu64,hv-stimer hv:qemu64,hv-vpindex,hv-tlbflush,hv-tlbflush-ext,hv-ipi
    hv:qemu64,hv-vapic,hv-tlbflush-direct hv:qemu64,hv-avic
    hv:qemu64,hv-relaxed,hv-vendor-id=abc,hv-version-id-build=5,hv-version-id-major=6,hv-version-id-sbranch=9
    hv:qemu64,hv-vendor-id=1234567890123,hv-relaxed hv:qemu64,hv-relaxed,kvm=off
    hv:qemu64,hv-emsr-bitmap,hv-xmm-input
    hv:qemu64,hv-no-nonarch-coresharing=on,hv-relaxed,x-hv-max-vps=5
    hv:qemu64,x-hv-synic-kvm-only,hv-vpindex,hv-synic
""".split()
TOPOLOGIES = ["qemu64", "EPYC-v3,vendor=AuthenticAMD", "Skylake-Client"]

# Differences that are meant: (leaf or register, why). Registers beyond CPUID are "msr".
EXPLAINED = {
    ("msr", 0xcf): "QEMU leaves core capabilities at KVM's default",
    ("msr", 0x491): "QEMU leaves VM functions at KVM's default, whatever vmx-eptp-switching says",
}


def real_offer():
    """The host's own KVM_GET_SUPPORTED_CPUID: {(leaf, index): (eax, ebx, ecx, edx)}."""
    room = 256
    buf = bytearray(struct.pack("<II", room, 0) + bytes(40 * room))
    with open("/dev/kvm", "rb+", buffering=0) as kvm:
        fcntl.ioctl(kvm, KVM_GET_SUPPORTED_CPUID, buf, True)
    count = struct.unpack_from("<I", buf)[0]
    return {struct.unpack_from("<2I", buf, 8 + 40 * i): struct.unpack_from("<4I", buf, 20 + 40 * i)
            for i in range(count)}


def played_cpuid(real):
    """A host that has every feature; its identity and XSAVE components, which QEMU reads itself, are real."""
    leaves = {
        (0, None): (0x1f, 0, 0, 0), (1, None): (0, 0x100800, ONES & ~(1 << 27), ONES),
        (2, None): (0x00feff01, 0xf0, 0, 0), (6, None): (4, 2, 9, 0),
        (7, 0): (1, ONES, ONES & ~(1 << 4), ONES & ~(1 << 19)), (7, 1): (ONES, 0, 0, 0),
        (0xa, None): (0x07300605, 0, 7, 0x8603), (0xd, 1): (0x1f, 0, 0, 0),
        (0x12, 0): (ONES, ONES, 0, 0x381f), (0x12, 1): (ONES, 0, 0xe7, 0),
        (0x14, 0): (1, 0x4f, 0x80000007, 0), (0x14, 1): (0x02490002, 0x003f3fff, 0, 0),
        (0x1d, 0): (1, 0, 0, 0), (0x1d, 1): (0x04002000, 0x00080040, 0x10, 0), (0x1e, 0): (0, 0x4010, 0, 0),
        (0x40000000, None): (0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d),
        (0x40000001, None): (0x0100fefb, 0, 0, 0),
        (0x80000000, None): (0x80000021, 0, 0, 0), (0x80000001, None): (0, 0, ONES, ONES),
        (0x80000007, None): (0, 0, 0, ONES), (0x80000008, None): (0x3030, ONES, 0, 0),
        (0x8000000a, None): (1, 8, 0, ONES),
        (0xc0000000, None): (0xc0000004, 0, 0, 0), (0xc0000001, None): (0, 0, 0, ONES),
    }
    for (leaf, index), regs in real.items():
        if leaf == 0:
            leaves[leaf, None] = (max(regs[0], 0x1f),) + regs[1:]
        elif leaf == 1:
            leaves[leaf, None] = regs[:2] + leaves[leaf, None][2:]
        elif leaf == 0x80000000:
            leaves[leaf, None] = (0x80000021,) + regs[1:]
        elif leaf == 0x80000008:
            leaves[leaf, None] = (regs[0], ONES, 0, 0)
        elif leaf in (4, 0xd) and (leaf, index) != (0xd, 1):
            leaves[leaf, index] = regs
        elif leaf == 2 or 0x80000002 <= leaf <= 0x80000006:
            leaves[leaf, None] = regs
    return b"".join(struct.pack("<10I", leaf, index or 0, index is not None, *regs, 0, 0, 0)
                    for (leaf, index), regs in leaves.items())


def played_msrs():
    values = {0x10a: ONES, 0xcf: ONES, 0x345: ONES, 0x8b: 0x12 << 32, 0x480: ONES << 32 | 0x1234, 0x485: ONES,
              0x486: 0x80000021, 0x487: ONES, 0x488: 0x2000, 0x489: 0xffffff, 0x48a: 0x2e,
              0x48c: ONES << 32 | ONES, 0x491: ONES << 32 | ONES}
    values.update({i: ONES << 32 for i in (0x481, 0x482, 0x483, 0x484, 0x48b, 0x48d, 0x48e, 0x48f, 0x490)})
    return b"".join(struct.pack("<IIQ", index, 0, value) for index, value in values.items())


def played_hyperv():
    leaves = {0x40000000: (0x40000082, 0x7263694d, 0x666f736f, 0x76482074), 0x40000001: (0x31237648, 0, 0, 0),
              0x40000002: (0x3839, 0xa0000, 0, 0), 0x40000003: (ONES, ONES, ONES, ONES),
              0x40000004: (ONES, 0xfff, 0, 0), 0x40000005: (ONES, 64, 0, 0), 0x40000006: (ONES, 0, 0, 0),
              0x4000000a: (ONES, 0, 0, 0)}
    return b"".join(struct.pack("<10I", leaf, 0, 0, *regs, 0, 0, 0) for leaf, regs in leaves.items())


class Told:
    """What one run told KVM and the user."""

    def __init__(self, program, cpu, extra, shim, folder, refuse=""):
        hyperv = cpu.startswith("hv:")
        log = folder + "/log"
        env = dict(os.environ, LD_PRELOAD=shim, SHIM_LOG=log, SHIM_CPUID=folder + "/cpuid",
                   SHIM_MSRS=folder + "/msrs", SHIM_CAPS="1", SHIM_REFUSE=refuse)
        if hyperv:
            env["SHIM_HV"] = folder + "/hv"
        quit_it = ["-S", "-qmp", "stdio"] if program != QEMU else []
        if os.path.exists(log):
            os.unlink(log)
        done = subprocess.run(
            [program, "-M", "q35", "-accel", "kvm", "-cpu", cpu.removeprefix("hv:"), "-m", "16",
             "-display", "none", "-nodefaults", *quit_it, *extra], env=env, timeout=LIMIT_S,
            capture_output=True, text=True, input='{"execute":"qmp_capabilities"}{"execute":"quit"}')
        self.status, self.values = done.returncode, {}
        # QEMU reads Hyper-V's registers at once, which only a real KVM has, and dies of it after its CPUID.
        self.died = self.status == -6
        self.lines = [re.sub(r"^-cpu [^ ,:]*: ", "", line.split(": ", 1)[1])
                      for line in done.stderr.splitlines()
                      if line.startswith((QEMU + ": ", "rhea: ")) and "recommended cpus" not in line]
        for line in open(log) if os.path.exists(log) else ():
            words = line.split()
            if words[0] == "cpuid":
                leaf, index, indexed = int(words[1], 16), int(words[2], 16), int(words[3]) & 1
                self.values[leaf, index if indexed else 0] = tuple(int(w, 16) for w in words[4:])
            elif words[0] == "msr":
                self.values["msr", int(words[1], 16)] = (int(words[2], 16),)

    def text(self):
        """The lines once, without advice and what QEMU adds when it gives up."""
        lines = [line for line in self.lines if "did you mean" not in line and "kvm_init_vcpu" not in line and
                 "failed to get MSR" not in line and "Assertion" not in line]
        return list(dict.fromkeys(lines))


def differences(cpu, extra, rhea, shim, folder):
    theirs, ours = (Told(p, cpu, extra, shim, folder) for p in (QEMU, rhea))
    for key in sorted(set(theirs.values) | set(ours.values), key=str):
        a, b = theirs.values.get(key), ours.values.get(key)
        if key[0] == "msr" and (theirs.died or key in EXPLAINED):
            continue
        # An absent leaf reads as zeros.
        if (a or (0,) * 4) != (b or (0,) * 4):
            yield "%s QEMU %s Rhea %s" % (" ".join("%x" % k if isinstance(k, int) else k for k in key),
                                          *(" ".join("%08x" % r for r in v) if v else "-" for v in (a, b)))
    if theirs.text() != ours.text():
        yield "QEMU says %s, Rhea %s" % (theirs.text(), ours.text())
    if theirs.status != ours.status and not theirs.died:
        yield "QEMU ends with %d, Rhea with %d" % (theirs.status, ours.status)


def refusals(rhea, shim, folder):
    """A KVM that offers a register and then does not take it; QEMU aborts."""
    for cpu, status, said in (("host", 0, []), ("qemu64,check=off", 0, []), ("qemu64,enforce=on", 1, None),
                              ("qemu64", 0, ["warning: -cpu qemu64: KVM refuses feature register 0x8b"])):
        told = Told(rhea, cpu, (), shim, folder, refuse="8b")
        if told.status != status or (said is not None and said != [t for t in told.text() if "refuses" in t]):
            yield "8b refused: -cpu %s ends with %d, says %s" % (cpu, told.status, told.text())
        elif status == 0 and ("msr", 0x10a) not in told.values:
            yield "8b refused: -cpu %s: what comes after it is not given" % cpu


def all_models():
    text = subprocess.run([QEMU, "-cpu", "help"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return [line.split()[1] for line in text.splitlines() if line.startswith("x86 ")]


def main():
    shim, rhea, *names = sys.argv[1:]
    if not os.access("/dev/kvm", os.R_OK | os.W_OK) or not shutil.which(QEMU):
        print("no /dev/kvm or no " + QEMU)
        sys.exit(77)
    choice = all_models() + CHOICE if names == ["--all"] else names or CHOICE
    cases = [(cpu, ()) for cpu in dict.fromkeys(choice)]
    if not names or names == ["--all"]:
        cases += [(cpu, smp) for cpu in TOPOLOGIES for smp in SMP[1:]]
    bad = 0
    with tempfile.TemporaryDirectory(prefix="rhea-cpu-") as folder:
        for name, data in (("cpuid", played_cpuid(real_offer())), ("msrs", played_msrs()),
                           ("hv", played_hyperv())):
            with open(folder + "/" + name, "wb") as file:
                file.write(data)
        for cpu, extra in cases:
            found = list(differences(cpu, extra, rhea, os.path.abspath(shim), folder))
            bad += bool(found)
            if found:
                print("-cpu", cpu, *extra)
                print("\n".join("    " + line for line in found), flush=True)
        for line in [] if names else refusals(rhea, os.path.abspath(shim), folder):
            bad += 1
            print(line)
    print("%d compared, %d differ" % (len(cases), bad))
    sys.exit(bool(bad))


main()
