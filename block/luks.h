/* luks.h: the LUKS1 header ("LUKS1 On-Disk Format Specification", version 1.2.3): of the format luks, and of
 * encrypted qcow2 images; private to block/.
 *
 * 1. A header lies at @base of a node, with @room bytes for it and its key material; offsets in it count from
 *    @base.
 * 2. Everything here blocks: on control while an image is opened, made or amended. */
#ifndef BLOCK_LUKS_H
#define BLOCK_LUKS_H

#include "block/block-int.h"
#include "util/crypt.h"

#define LUKS_SLOTS 8
#define LUKS_HEADER_BYTES 592
#define LUKS_SALT 32
#define LUKS_DIGEST 20

typedef struct LuksSlot {
    bool active;
    uint32_t iterations, stripes;
    uint64_t off;              /* of its key material, bytes */
    uint8_t salt[LUKS_SALT];
} LuksSlot;

typedef struct Luks {
    CryptSpec spec;
    CryptHash hash;
    uint64_t payload;          /* bytes from @base: where sector 0 is */
    uint32_t key_bytes, iterations;
    uint8_t digest[LUKS_DIGEST], salt[LUKS_SALT];
    char uuid[40];
    LuksSlot slots[LUKS_SLOTS];
    bool busy;                 /* a change is under way */
} Luks;

/* The header of an open image. */
typedef struct LuksPlace {
    Luks *luks;
    uint64_t base;             /* where it is in the child */
    const char *secret;        /* the id of what opened it, or NULL */
} LuksPlace;

/* Reads and checks the header; every field, before anything is done by it. */
bool luks_read(BlkNode *file, uint64_t base, uint64_t room, Luks *l, Error **errp);
/* Finds the slot that @secret opens and makes the cipher. */
Crypt *luks_open(BlkNode *file, uint64_t base, const Luks *l, const char *secret, Error **errp);

/* Writes a new header with a new key, whose slot 0 o->key_secret opens. */
bool luks_format(BlkNode *file, uint64_t base, const BlkLuksCreate *o, Error **errp);
/* Changes slots; @l is what the file says afterwards, also after a failure. */
bool luks_amend(BlkNode *file, uint64_t base, Luks *l, const char *secret, const BlkLuksAmend *a, bool force,
                Error **errp);
/* What info tells. */
void luks_info(const Luks *l, BlkLuksInfo *out);

#endif
