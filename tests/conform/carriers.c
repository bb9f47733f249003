/* carriers.c: controllers for drives and ports, and a virtio bus without a transport's registers.
 *
 * 1. A carrier stays while the device under test comes and goes, so it takes hot-plug.
 * 2. The virtio bus has no driver behind it: what a driver can do is tried on the -pci forms. */
#include "tests/conform/carriers.h"

#include <string.h>
#include "hw/virtio/virtio.h"

static void no_irq(VirtioDevice *v, VirtQueue *q)
{
}

static void nothing(VirtioDevice *v)
{
}

static void no_bells(VirtioDevice *v, bool on)
{
}

static const VirtioTransport transport = {
    .queue_irq = no_irq, .config_irq = nothing, .reset = nothing, .doorbells = no_bells,
};

static bool virtio_carrier_realize(Device *d, Error **errp)
{
    Bus *bus = bus_new(&virtio_slot, d, "virtio-bus");

    d->dma = d->machine->mem;
    bus->priv = (void *)&transport;
    bus->hotplug = true;
    return true;
}

static const DeviceType virtio_carrier = {
    .name = "virtio-carrier", .summary = "a virtio bus", .slot = &board_slot, .size = sizeof(Device),
    .flags = DEV_OWN_DOMAIN | DEV_STATELESS, .realize = virtio_carrier_realize,
};

void carriers_make(Bench *b, const DeviceType *t)
{
    static const struct { const char *slot, *carrier, *prop, *value; } rows[] = {
        { "ide", "ich9-ahci" }, { "virtio-serial-bus", "virtio-serial-pci" },
        { "SCSI", "virtio-scsi-pci" }, { "floppy-bus", "isa-fdc" },
        { "nvme-bus", "nvme", "serial", "S" },
    };

    if (t->slot == &virtio_slot) {
        bench_device(b, &virtio_carrier, "carrier", NULL);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (strcmp(t->slot->name, rows[i].slot) == 0) {
            bench_device(b, device_type_find(rows[i].carrier), "carrier", rows[i].prop, rows[i].value, NULL);
        }
    }
}
