/* bridge.h: what all PCI-to-PCI bridges share (PCI-to-PCI Bridge Architecture 1.2): a secondary bus and
 * the windows on it.
 *
 * 1. Windows follow from config space: bridge_update() may be called at any time under the domain. */
#ifndef HW_PCI_BRIDGE_H
#define HW_PCI_BRIDGE_H

#include "hw/pci/pci-int.h"

typedef struct BridgeWindow {
    Region region;
    uint64_t base, limit;      /* as shown now; base > limit: not shown */
} BridgeWindow;

enum { WINDOW_IO, WINDOW_MEM, WINDOW_PREF, WINDOW_VGA_MEM, WINDOW_VGA_IO1, WINDOW_VGA_IO2, WINDOWS };

/* "Reserve" hints for firmware, all ones: none. */
typedef struct BridgeReserve {
    uint32_t bus;
    uint64_t io, mem, pref32, pref64;
} BridgeReserve;

typedef struct PciBridge {
    PciDevice p;
    PciBus *bus;
    Region mem, io;            /* the secondary bus's addresses */
    BridgeWindow window[WINDOWS];
    uint16_t control;          /* bridge control before the last write */
    BridgeReserve reserve;     /* properties */
} PciBridge;

/* In realize.  @express: the secondary bus is one, with the one slot of a link when @port. */
CTX_CONTROL void bridge_init(PciBridge *b, bool express, bool port);
CTX_CONTROL void bridge_free(PciBridge *b);
CTX_DOMAIN void bridge_update(PciBridge *b);
/* From config_wrote. */
CTX_DOMAIN void bridge_wrote(PciBridge *b, unsigned off, unsigned size);
/* Subsystem ids of a bridge (capability 0x0d). */
CTX_CONTROL void bridge_ssvid(PciBridge *b, uint16_t vendor, uint16_t device);
/* The capability that tells SeaBIOS and OVMF how much to keep free for hot-plug. */
CTX_CONTROL bool bridge_reserve(PciBridge *b, Error **errp);

#define BRIDGE_RESERVE_PROPS(T, b) \
    PROP_U32(T, b.reserve.bus, "bus-reserve", UINT32_MAX, 0, UINT32_MAX, "bus numbers to keep free"), \
    PROP_SIZE(T, b.reserve.io, "io-reserve", UINT64_MAX, 0, UINT64_MAX, "I/O space to keep free"), \
    PROP_SIZE(T, b.reserve.mem, "mem-reserve", UINT64_MAX, 0, UINT64_MAX, "memory space to keep free"), \
    PROP_SIZE(T, b.reserve.pref32, "pref32-reserve", UINT64_MAX, 0, UINT64_MAX, \
              "32-bit prefetchable space to keep free"), \
    PROP_SIZE(T, b.reserve.pref64, "pref64-reserve", UINT64_MAX, 0, UINT64_MAX, \
              "64-bit prefetchable space to keep free")

#endif
