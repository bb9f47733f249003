/* firmware.h: finding firmware images and mapping them below 4 GiB. */
#ifndef HW_BOARD_FIRMWARE_H
#define HW_BOARD_FIRMWARE_H

#include "core/machine.h"

/* Adds a folder in front of where firmware is looked for (-L). */
CTX_CONTROL void firmware_path_add(const char *dir);
/* The path of @name: itself when it names a file, else the first match on the search path.  Owned by the
 * caller; NULL: not found, *errp lists where it was looked for. */
CTX_CONTROL char *firmware_find(const char *name, Error **errp);

/* A system ROM: mapped read-only at the top of the 4 GiB, and its last 128 KiB below 1 MiB. */
typedef struct FirmwareRom {
    RamBlock *ram;
    Region rom, low;
} FirmwareRom;

/* Maps the image called @name into @box (the PCI memory space, which RAM overlays). */
CTX_CONTROL bool firmware_map(FirmwareRom *f, Device *owner, Region *box, const char *name, Error **errp);
CTX_CONTROL void firmware_unmap(FirmwareRom *f);

#endif
