/* mmc.h: the commands of CD and DVD drives (MMC-5), the same behind ATAPI and SCSI.
 *
 * 1. Nothing here waits or knows who carries the command: it looks at a drive as of now, and answers or
 *    moves the tray. */
#ifndef HW_SCSI_MMC_H
#define HW_SCSI_MMC_H

#include <stdbool.h>
#include "core/state.h"
#include "hw/scsi/sense.h"

#define CD_SECTOR 2048
#define MMC_REPLY_MAX 1024     /* bytes of the largest answer */

/* What a drive remembers of its tray and its medium. */
typedef struct MmcTray {
    bool locked, open;
    bool attention, changed;   /* medium changed: for the next command; for GET EVENT STATUS */
    bool eject_wanted;         /* the host asked a locked drive to open */
} MmcTray;

extern const StateDesc mmc_tray_state;

typedef struct MmcDrive {
    MmcTray *tray;
    bool medium;               /* there is one, perhaps in an open tray */
    uint32_t blocks;           /* of CD_SECTOR bytes that it has */
    uint8_t interface;         /* of the core feature: 1 SCSI, 2 ATAPI (MMC-5, table 94) */
} MmcDrive;

typedef enum MmcResult {
    MMC_OTHER,                 /* no command of this file */
    MMC_GOOD,
    MMC_ANSWER,                /* n bytes of buf; the guest has room for room */
    MMC_REFUSED,               /* sense says why */
} MmcResult;

typedef struct MmcAnswer {
    uint8_t *buf;              /* the caller's: MMC_REPLY_MAX bytes, zeroed */
    uint32_t n, room;
    ScsiSense sense;
    bool moved;                /* the tray was opened or closed */
} MmcAnswer;

/* Runs the command @cdb, of at least 12 bytes, on @d.  It has a medium where it needs one. */
CTX_ANY MmcResult mmc_run(const MmcDrive *d, const uint8_t *cdb, MmcAnswer *a);
/* True if the command works on a medium only. */
CTX_ANY bool mmc_needs_medium(uint8_t code);
/* READ CD: the blocks whose user data it wants; false: data that is not there.  None may be *@n. */
CTX_ANY bool mmc_read_cd(const uint8_t *cdb, uint32_t *first, uint32_t *n);

#endif
