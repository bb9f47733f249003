/* scsi-int.h: what the files of hw/scsi share. */
#ifndef HW_SCSI_SCSI_INT_H
#define HW_SCSI_SCSI_INT_H

#include "hw/scsi/scsi.h"

#define SCSI_REPLY 1024        /* bytes of the largest answer a command makes */

typedef struct ScsiReply {
    uint8_t buf[SCSI_REPLY];   /* zeroed */
    uint32_t n;                /* bytes the answer has; the guest gets what it has room for */
} ScsiReply;

/* slot_ops of the types. */
typedef struct ScsiTypeOps {
    uint8_t type;              /* peripheral device type: 0 disk, 5 CD-ROM (SPC-4, 6.4.2) */
    const char *product;       /* by default */
    bool removable;
} ScsiTypeOps;

static inline const ScsiTypeOps *scsi_type(const ScsiDev *d)
{
    return d->dev.type->slot_ops;
}

static inline bool scsi_is_cd(const ScsiDev *d)
{
    return scsi_type(d)->type == 5;
}

/* Logical blocks of the medium; 0: there is none. */
static inline uint64_t scsi_blocks(ScsiDev *d)
{
    return medium_size(&d->medium) / d->logical;
}

/* --- bus.c: ends of a command --- */
CTX_LOOP void scsi_good(ScsiCmd *c);
CTX_LOOP void scsi_check(ScsiCmd *c, ScsiSense s);
/* The guest's buffer is smaller than the command says. */
CTX_LOOP void scsi_overrun(ScsiCmd *c);
/* Sends @r, at most @room bytes of it, and ends. */
CTX_LOOP void scsi_reply(ScsiCmd *c, const ScsiReply *r, uint32_t room);
/* A command on @d is over. */
CTX_ANY void scsi_dev_leave(ScsiDev *d);
/* Claims one condition that the guest has to hear of, the most urgent first; false: there is none. */
CTX_LOOP bool scsi_take_attention(ScsiDev *d, ScsiSense *s);

/* --- disk.c --- */
/* The command is for @c->dev, which has nothing more urgent to say. */
CTX_LOOP void scsi_disk_run(ScsiCmd *c);
/* What the command owns beyond its struct. */
CTX_LOOP void scsi_disk_end(ScsiCmd *c);

/* --- pages.c --- */
/* False: @r is of no use, *@s says why. */
CTX_LOOP bool scsi_inquiry(ScsiDev *d, const uint8_t *cdb, ScsiReply *r, ScsiSense *s);
CTX_LOOP bool scsi_mode_sense(ScsiDev *d, const uint8_t *cdb, ScsiReply *r, ScsiSense *s);
/* @list: the parameter list, @n bytes.  *@flush: the cache was switched off. */
CTX_LOOP bool scsi_mode_select(ScsiDev *d, const uint8_t *cdb, const uint8_t *list, uint32_t n, bool *flush,
                               ScsiSense *s);

#endif
