/* qmp-hotplug.c: QMP commands about vCPUs and memory devices: what there is room for, what is there. */
#include <stdlib.h>
#include <unistd.h>
#include "core/accel.h"
#include "core/machine.h"
#include "hw/board/pc-cpu.h"
#include "qapi/commands.h"
#include "system/objects.h"
#include "util/bytes.h"

/* --- vCPUs --- */

static CpuInstanceProperties *place_of(unsigned index)
{
    const BoardConfig *c = &machine()->cfg;
    CpuPlace at = cpu_place(c, index);
    CpuInstanceProperties *p = qapi_new_cpu_instance_properties();

    p->has_node_id = at.node >= 0;
    p->node_id = at.node;
    p->has_socket_id = p->has_core_id = p->has_thread_id = true;
    p->has_die_id = c->smp.dies > 1;
    p->socket_id = at.socket;
    p->die_id = at.die;
    p->core_id = at.core;
    p->thread_id = at.thread;
    return p;
}

bool qmp_query_cpus_fast(CpuInfoFastList *ret, Error **errp)
{
    const MachinePlaces *cpus = &machine()->cpus;

    for (unsigned i = 0; i < cpus->count; i++) {
        if (cpus->dev[i] == NULL) {
            continue;
        }
        CpuInfoFast *c = qapi_new_cpu_info_fast();
        int thread = accel()->vcpu_thread_id != NULL ? accel()->vcpu_thread_id(i) : -1;
        c->cpu_index = i;
        c->qom_path = device_path(cpus->dev[i]);
        c->thread_id = thread >= 0 ? thread : getpid();
        c->target = g_strdup("x86_64");
        c->props = place_of(i);
        qapi_append(ret, c);
    }
    return true;
}

bool qmp_query_hotpluggable_cpus(HotpluggableCPUList *ret, Error **errp)
{
    const MachinePlaces *cpus = &machine()->cpus;

    if (machine()->cpu_type == NULL) {
        return error_set(errp, "machine does not support hot-plugging CPUs");
    }
    for (unsigned i = cpus->count; i-- > 0;) {
        HotpluggableCPU *c = qapi_new_hotpluggable_cpu();
        c->type = g_strdup(machine()->cpu_type->name);
        c->vcpus_count = 1;
        c->props = place_of(i);
        c->qom_path = cpus->dev[i] != NULL ? device_path(cpus->dev[i]) : NULL;
        qapi_append(ret, c);
    }
    return true;
}

/* --- memory --- */

static int64_t number(Device *d, const char *prop)
{
    g_autofree char *text = device_get(d, prop);

    return text != NULL ? strtoll(text, NULL, 0) : 0;
}

static char *id_of(const MemoryDevice *md)
{
    return md->dev->parent == md->dev->machine->peripheral ? g_strdup(md->dev->id) : NULL;
}

static char *memdev_of(const MemoryDevice *md)
{
    g_autofree char *memdev = device_get(md->dev, "memdev");

    return g_strdup_printf("/objects/%s", memdev);
}

static void tell_dimm(PCDIMMDeviceInfo *i, const MemoryDevice *md)
{
    i->id = id_of(md);
    i->addr = (int64_t)md->addr;
    i->size = (int64_t)md->size;
    i->slot = number(md->dev, "slot");
    i->node = number(md->dev, "node");
    i->memdev = memdev_of(md);
    i->hotplugged = md->hotplugged;
    i->hotpluggable = true;
}

static void tell_virtio_mem(VirtioMEMDeviceInfo *i, const MemoryDevice *md)
{
    i->id = id_of(md);
    i->memaddr = (int64_t)md->addr;
    i->requested_size = number(md->dev, "requested-size");
    i->size = (int64_t)__atomic_load_n(md->plugged, __ATOMIC_RELAXED);
    i->max_size = (int64_t)md->size;
    i->block_size = number(md->dev, "block-size");
    i->node = number(md->dev, "node");
    i->memdev = memdev_of(md);
}

static void tell_memdev(const char *id, ObjectConfigQomType type, void *arg)
{
    const MemoryBackend *m = (const MemoryBackend *)&objects_config(id)->u;
    Memdev *d;

    if (!g_str_has_prefix(object_config_qom_type_name(type), "memory-backend-")) {
        return;
    }
    d = qapi_new_memdev();
    d->id = g_strdup(id);
    d->size = m->size;
    d->merge = m->merge;
    d->dump = m->dump;
    d->prealloc = m->prealloc;
    d->share = m->share;
    d->reserve = m->reserve;
    d->policy = m->policy;
    for (size_t i = 0; m->has_host_nodes && i < m->host_nodes.n; i++) {
        qapi_append(&d->host_nodes, m->host_nodes.at[i]);
    }
    qapi_append((MemdevList *)arg, d);
}

bool qmp_query_memdev(MemdevList *ret, Error **errp)
{
    const BoardConfig *c = &machine()->cfg;

    objects_each(tell_memdev, ret);
    if (c->memory_backend == NULL && ram_find("pc.ram") != NULL) {     /* no object of the user's */
        Memdev *d = qapi_new_memdev();

        d->id = g_strdup("pc.ram");
        d->size = (int64_t)c->ram_size;
        d->merge = c->mem_merge;
        d->dump = c->dump_guest_core;
        d->prealloc = c->mem_prealloc;
        d->reserve = true;
        d->policy = HOST_MEM_POLICY_DEFAULT;
        qapi_append(ret, d);
    }
    return true;
}

bool qmp_query_memory_devices(MemoryDeviceInfoList *ret, Error **errp)
{
    for (const MemoryDevice *d = machine()->memory_area.first; d != NULL; d = d->next) {
        MemoryDeviceInfo *i = qapi_new_memory_device_info();
        if (d->plugged != NULL) {
            i->type = MEMORY_DEVICE_INFO_TYPE_VIRTIO_MEM;
            i->u.virtio_mem.data = qapi_new_virtio_mem_device_info();
            tell_virtio_mem(i->u.virtio_mem.data, d);
        } else {
            i->type = MEMORY_DEVICE_INFO_TYPE_DIMM;
            i->u.dimm.data = qapi_new_pcdimm_device_info();
            tell_dimm(i->u.dimm.data, d);
        }
        qapi_append(ret, i);
    }
    return true;
}

bool qmp_query_memory_size_summary(MemoryInfo **ret, Error **errp)
{
    *ret = qapi_new_memory_info();
    (*ret)->base_memory = machine()->cfg.ram_size;
    (*ret)->has_plugged_memory = true;
    (*ret)->plugged_memory = memory_device_total(machine());
    return true;
}

static void tell_ost(AcpiOstInfoList *ret, const MachinePlaces *p, const char *slot_type)
{
    for (unsigned n = 0; p->ops != NULL && p->ops->ospm_status != NULL && n < p->count; n++) {
        AcpiOstInfo *i = qapi_new_acpi_ost_info();
        const Device *d = p->dev[n];
        uint32_t source, status;
        p->ops->ospm_status(p->arg, n, &source, &status);
        i->device = d != NULL && d->parent == d->machine->peripheral ? g_strdup(d->id) : NULL;
        i->slot = g_strdup_printf("%u", n);
        i->slot_type = g_strdup(slot_type);
        i->source = source;
        i->status = status;
        qapi_append(ret, i);
    }
}

bool qmp_query_acpi_ospm_status(AcpiOstInfoList *ret, Error **errp)
{
    tell_ost(ret, &machine()->cpus, "CPU");
    tell_ost(ret, &machine()->dimms, "DIMM");
    return true;
}
