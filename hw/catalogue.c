/* catalogue.c: the table of all device types, expanded from hw/devices.def. */
#include "hw/catalogue.h"

#include "core/device.h"

#define DEVICE(symbol, name) extern const DeviceType symbol;
#define VIRTIO(symbol, name) \
    extern const DeviceType symbol, symbol##_pci, symbol##_pci_transitional, symbol##_pci_modern;
#define VIRTIO_MODERN(symbol, name) extern const DeviceType symbol, symbol##_pci;
#include "hw/devices.def"
#undef DEVICE
#undef VIRTIO
#undef VIRTIO_MODERN

static const DeviceType *const all_types[] = {
#define DEVICE(symbol, name) &symbol,
#define VIRTIO(symbol, name) &symbol, &symbol##_pci, &symbol##_pci_transitional, &symbol##_pci_modern,
#define VIRTIO_MODERN(symbol, name) &symbol, &symbol##_pci,
#include "hw/devices.def"
#undef DEVICE
#undef VIRTIO
#undef VIRTIO_MODERN
    NULL,
};

void catalogue_register(void)
{
    device_types_register(all_types);
}
