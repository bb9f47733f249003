/* pc-cpu.c: vCPUs as devices, made by the board, -device and device_add.
 *
 * 1. A vCPU is plugged into a place of Machine.cpus, by its topology ids or by its APIC id; the
 *    accelerator makes what runs.  The type's name has the -cpu model in it, so it is made at start.
 * 2. vCPU 0 stays: others may come to expect what it does. */
#include "hw/board/pc-cpu.h"

#include <string.h>
#include "core/accel.h"

typedef struct PcCpu {
    Device dev;
    int32_t index;             /* of Machine.cpus; from realize on */
    /* properties */
    CpuPlace at;
    uint32_t apic_id;
} PcCpu;

CpuPlace cpu_place(const BoardConfig *c, unsigned index)
{
    const CpuTopology *t = &c->smp;

    return (CpuPlace){
        .node = c->cpu_node != NULL ? c->cpu_node[index] : -1,
        .thread = (int32_t)(index % t->threads),
        .core = (int32_t)(index / t->threads % t->cores),
        .die = (int32_t)(index / (t->threads * t->cores) % t->dies),
        .socket = (int32_t)(index / (t->threads * t->cores * t->dies)),
    };
}

/* --- which place --- */

static bool check_id(const char *name, int32_t id, unsigned count, Error **errp)
{
    if (id < 0) {
        return error_set(errp, "CPU %s is not set", name);
    }
    return (unsigned)id < count ||
           error_set(errp, "Invalid CPU %s: %d must be in range 0:%u", name, id, count - 1);
}

static bool find_by_apic_id(PcCpu *cpu, const Machine *m, Error **errp)
{
    for (unsigned i = 0; i < m->cpus.count; i++) {
        if (accel()->vcpu_apic_id(i) == cpu->apic_id) {
            cpu->index = (int32_t)i;
            return true;
        }
    }
    return error_set(errp, "Invalid CPU apic-id: %u, no CPU of this topology has it", cpu->apic_id);
}

static bool find_by_place(PcCpu *cpu, const CpuTopology *t, Error **errp)
{
    if (cpu->at.die < 0 && t->dies == 1) {
        cpu->at.die = 0;
    }
    if (!check_id("socket-id", cpu->at.socket, t->sockets, errp) ||
        !check_id("die-id", cpu->at.die, t->dies, errp) ||
        !check_id("core-id", cpu->at.core, t->cores, errp) ||
        !check_id("thread-id", cpu->at.thread, t->threads, errp)) {
        return false;
    }
    cpu->index = (int32_t)(((cpu->at.socket * t->dies + cpu->at.die) * t->cores + cpu->at.core) *
                           t->threads) + cpu->at.thread;
    return true;
}

/* Beside an APIC id the others may be given too, but not otherwise than it says. */
static bool check_agrees(const PcCpu *cpu, const CpuPlace *place, Error **errp)
{
    const struct { const char *name; int32_t given, is; } ids[] = {
        { "socket-id", cpu->at.socket, place->socket }, { "die-id", cpu->at.die, place->die },
        { "core-id", cpu->at.core, place->core }, { "thread-id", cpu->at.thread, place->thread },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++) {
        if (ids[i].given >= 0 && ids[i].given != ids[i].is) {
            return error_set(errp, "property %s: %d doesn't match set apic-id: 0x%x (%s: %d)", ids[i].name,
                             ids[i].given, cpu->apic_id, ids[i].name, ids[i].is);
        }
    }
    return true;
}

static bool find_place(PcCpu *cpu, const Machine *m, Error **errp)
{
    int32_t node = cpu->at.node;
    const Device *there;
    CpuPlace place;

    if (!(cpu->apic_id != UINT32_MAX ? find_by_apic_id(cpu, m, errp)
                                     : find_by_place(cpu, &m->cfg.smp, errp))) {
        return false;
    }
    there = m->cpus.dev[cpu->index];
    cpu->apic_id = accel()->vcpu_apic_id != NULL ? accel()->vcpu_apic_id(cpu->index) : (uint32_t)cpu->index;
    if (there != NULL) {
        return error_set(errp, "CPU[%d] with APIC ID %u exists", cpu->index, cpu->apic_id);
    }
    place = cpu_place(&m->cfg, cpu->index);
    if (!check_agrees(cpu, &place, errp)) {
        return false;
    }
    cpu->at = place;
    if (node >= 0 && node != MAX(cpu->at.node, 0)) {
        return error_set(errp, "invalid node-id, must be %d", MAX(cpu->at.node, 0));
    }
    return true;
}

/* --- life --- */

static bool cpu_realize(Device *d, Error **errp)
{
    PcCpu *cpu = (PcCpu *)d;
    const MachinePlaces *p = &d->machine->cpus;

    return find_place(cpu, d->machine, errp) &&
           (p->ops == NULL || p->ops->may_plug == NULL || p->ops->may_plug(p->arg, cpu->index, errp)) &&
           (accel()->vcpu_plug == NULL || accel()->vcpu_plug(d, cpu->index, errp));
}

static void cpu_unrealize(Device *d)
{
    if (accel() != NULL && accel()->vcpu_unplug != NULL) {
        accel()->vcpu_unplug(((PcCpu *)d)->index);
    }
}

static bool cpu_publish(Bus *b, Device *d, Error **errp)
{
    machine_place_take(&d->machine->cpus, ((PcCpu *)d)->index, d);
    pc_tell_cpus(d->machine);
    if (machine_was_reset() && machine_moves() && accel()->vcpus_run != NULL) {
        accel()->vcpus_run();
    }
    return true;
}

/* Before the device that holds its state goes. */
static void cpu_withdraw(Bus *b, Device *d)
{
    cpu_unrealize(d);
}

static void cpu_detach(Bus *b, Device *d)
{
    PcCpu *cpu = (PcCpu *)d;
    MachinePlaces *p = &d->machine->cpus;

    if (p->dev[cpu->index] == d) {
        machine_place_leave(p, cpu->index);
        if (d->machine->fw_cfg != NULL) {              /* not at the end of all */
            pc_tell_cpus(d->machine);
        }
    }
}

static bool cpu_may_unplug(const Device *d, Error **errp)
{
    return ((const PcCpu *)d)->index != 0 || error_set(errp, "Boot CPU is unpluggable");
}

static bool cpu_unplug_request(Device *d, Error **errp)
{
    const MachinePlaces *p = &d->machine->cpus;

    if (p->ops == NULL || !d->machine->cfg.acpi) {
        return error_set(errp, "CPU hot unplug not supported without ACPI");
    }
    return p->ops->unplug_request(p->arg, ((PcCpu *)d)->index, errp);
}

static const SlotType cpu_slot = {
    .name = "cpu", .no_bus = true, .base_size = sizeof(Device), .publish = cpu_publish,
    .withdraw = cpu_withdraw, .detach = cpu_detach, .may_unplug = cpu_may_unplug,
    .unplug_request = cpu_unplug_request,
};

static const PropDesc cpu_props[] = {
    PROP_I32(PcCpu, at.socket, "socket-id", -1, -1, INT32_MAX, "socket"),
    PROP_I32(PcCpu, at.die, "die-id", -1, -1, INT32_MAX, "die in the socket"),
    PROP_I32(PcCpu, at.core, "core-id", -1, -1, INT32_MAX, "core in the die"),
    PROP_I32(PcCpu, at.thread, "thread-id", -1, -1, INT32_MAX, "thread in the core"),
    PROP_I32(PcCpu, at.node, "node-id", -1, -1, INT32_MAX, "NUMA node"),
    PROP_U32(PcCpu, apic_id, "apic-id", UINT32_MAX, 0, UINT32_MAX, "APIC id, instead of the others"),
    { 0 },
};

void pc_cpus_begin(Machine *m)
{
    static DeviceType type;
    const char *model = m->cfg.cpu_model;

    assert_control();
    if (m->cpu_type != NULL) {
        return;
    }
    if (type.name == NULL) {
        type = (DeviceType){
            .name = g_strdup_printf("%.*s-x86_64-cpu", (int)strcspn(model, ","), model),
            .summary = "a vCPU", .slot = &cpu_slot, .size = sizeof(PcCpu),
            .flags = DEV_HOTPLUG | DEV_STATELESS, .category = "CPU", .props = cpu_props,
            .extra = accel()->cpu_extra,
            .realize = cpu_realize, .unrealize = cpu_unrealize,
        };
        device_type_add(&type);
    }
    m->cpu_type = &type;
    m->cpus.count = m->cfg.smp.max_cpus;
    m->cpus.dev = g_new0(Device *, m->cpus.count);
}

bool pc_cpus_make(Machine *m, Error **errp)
{
    for (unsigned i = 0; i < m->cfg.smp.cpus; i++) {
        CpuPlace at = cpu_place(&m->cfg, i);
        g_autofree char *socket = g_strdup_printf("%d", at.socket), *die = g_strdup_printf("%d", at.die);
        g_autofree char *core = g_strdup_printf("%d", at.core), *thread = g_strdup_printf("%d", at.thread);

        if (device_make(m->cpu_type, m->root, NULL, NULL, errp, "socket-id", socket, "die-id", die, "core-id",
                        core, "thread-id", thread, NULL) == NULL) {
            return false;
        }
    }
    return true;
}
