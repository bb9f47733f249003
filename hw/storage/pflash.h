/* pflash.h: the flash chips a PC's firmware is in (-drive if=pflash, -machine pflash0=). */
#ifndef HW_STORAGE_PFLASH_H
#define HW_STORAGE_PFLASH_H

#include "core/machine.h"

extern const DeviceType cfi_pflash01_type;

/* Makes a chip for each block node named by m->cfg.pflash and maps it into @box: unit 0 ends at 4
 * GiB, with its last 128 KiB also below 1 MiB, unit 1 ends where unit 0 begins.  Nothing is made
 * when unit 0 has no node.  The chips go with the machine. */
CTX_CONTROL bool pflash_make(Machine *m, Region *box, Error **errp);

#endif
