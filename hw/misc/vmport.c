/* vmport.c: the backdoor port by which guests of VMware ask their hypervisor (VMware's public
 * backdoor_def.h and vm_basic_defs.h of open-vm-tools; Linux' arch/x86/include/asm/vmware.h).
 *
 * 1. An access of any width, either way, is a command: EAX holds the magic number, CX the command, and the
 *    answer goes to EAX to EDX of the vCPU whose access it is.  What has no registers reads ones.
 * 2. There is no mouse (commands 39 to 41) behind it. */
#include "core/accel.h"
#include "core/machine.h"
#include "hw/isa/isa.h"
#include "util/bytes.h"
#include "util/trace.h"

#define VMPORT 0x5658
#define MAGIC 0x564d5868u
#define GETRAMSIZE_EBX 0x1177
#define APIC_HZ 1000000000u    /* of KVM's local APIC */
#define LEGACY_X2APIC_OK (1u << 3)

enum { GETVERSION = 10, GETBIOSUUID = 19, GETRAMSIZE = 20, GETHZ = 45, GETVCPU_INFO = 68 };

typedef struct VmPort {
    IsaDevice isa;
    Region io;
    uint32_t version, type;
    bool read_set_eax, signal_unsupported, report_type, cmds_v2;
} VmPort;

extern const DeviceType vmport_type;

/* Writing a 32-bit register clears the upper half. */
static void answer(CpuSelf *c, unsigned reg, uint32_t val)
{
    c->gpr[reg] = val;
}

static void get_uuid(CpuSelf *c, uint32_t *eax)
{
    uint8_t raw[16];

    machine_uuid(machine()->cfg.uuid, raw);
    *eax = ld32(raw);
    answer(c, X86_RBX, ld32(raw + 4));
    answer(c, X86_RCX, ld32(raw + 8));
    answer(c, X86_RDX, ld32(raw + 12));
}

static void get_hz(CpuSelf *c, uint32_t *eax)
{
    uint64_t hz = c->tsc_khz * 1000;

    if (hz == 0) {
        answer(c, X86_RBX, UINT32_MAX);
        return;
    }
    *eax = (uint32_t)hz;
    answer(c, X86_RBX, (uint32_t)(hz >> 32));
    answer(c, X86_RCX, APIC_HZ);
}

/* False: there is no such command. */
static bool carry_out(const VmPort *p, CpuSelf *c, unsigned command, uint32_t *eax)
{
    bool v2 = command == GETBIOSUUID || command == GETHZ || command == GETVCPU_INFO;

    if (v2 && !p->cmds_v2) {
        return false;
    }
    switch (command) {
    case GETVERSION:
        *eax = p->version;
        answer(c, X86_RBX, MAGIC);
        if (p->report_type) {
            answer(c, X86_RCX, p->type);
        }
        return true;
    case GETBIOSUUID:
        get_uuid(c, eax);
        return true;
    case GETRAMSIZE:
        *eax = (uint32_t)machine()->cfg.ram_size;
        answer(c, X86_RBX, GETRAMSIZE_EBX);
        return true;
    case GETHZ:
        get_hz(c, eax);
        return true;
    case GETVCPU_INFO:
        *eax = c->x2apic ? LEGACY_X2APIC_OK : 0;
        return true;
    default:
        return false;
    }
}

static uint32_t call(VmPort *p, bool set_eax)
{
    CpuSelf c;

    if (accel()->self_get == NULL || !accel()->self_get(&c)) {
        return UINT32_MAX;
    }
    uint32_t eax = (uint32_t)c.gpr[X86_RAX];
    unsigned command = (uint16_t)c.gpr[X86_RCX];
    bool known = eax == MAGIC && carry_out(p, &c, command, &eax);

    TRACE(vmport_command, "command=%u magic=0x%08x known=%d", command, (uint32_t)c.gpr[X86_RAX], known);
    if (!known && p->signal_unsupported) {
        eax = UINT32_MAX;
    }
    if (set_eax) {
        answer(&c, X86_RAX, eax);
    }
    accel()->self_set(&c);
    return eax;
}

static uint64_t vmport_read(void *dev, uint64_t off, unsigned size)
{
    VmPort *p = dev;

    return off == 0 ? call(p, p->read_set_eax) : UINT32_MAX;
}

static void vmport_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    if (off == 0) {
        call(dev, true);
    }
}

/* The whole of an access is one command, and the three ports behind it belong to nobody. */
static const RegionOps vmport_ops = { vmport_read, vmport_write, 1, 4, 0 };

static bool vmport_realize(Device *d, Error **errp)
{
    VmPort *p = device_as(d, &vmport_type);

    region_io(&p->io, d, "vmport", &vmport_ops, 4);
    isa_io(d, &p->io, VMPORT);
    return true;
}

static const PropDesc vmport_props[] = {
    PROP_U32(VmPort, version, "vmware-vmx-version", 6, 0, UINT32_MAX, "what GETVERSION tells in EAX"),
    PROP_U32(VmPort, type, "vmware-vmx-type", 2, 0, UINT8_MAX, "the product it tells in ECX"),
    PROP_BOOL(VmPort, read_set_eax, "x-read-set-eax", true, "a read answers in all of EAX"),
    PROP_BOOL(VmPort, signal_unsupported, "x-signal-unsupported-cmd", true, "unknown commands answer ones"),
    PROP_BOOL(VmPort, report_type, "x-report-vmx-type", true, "GETVERSION tells the product"),
    PROP_BOOL(VmPort, cmds_v2, "x-cmds-v2", true, "GETBIOSUUID, GETHZ, GETVCPU_INFO are there"),
    { 0 },
};

const DeviceType vmport_type = {
    .name = "vmport", .summary = "VMware's backdoor port", .slot = &isa_slot, .size = sizeof(VmPort),
    .flags = DEV_INTERNAL | DEV_STATELESS, .props = vmport_props, .category = "Misc",
    .realize = vmport_realize,
};
