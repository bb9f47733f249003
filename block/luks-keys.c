/* luks-keys.c: changing the key slots of an image in use, what amend jobs do.
 *
 * 1. The change works on a copy of what is known of the header: control may look at it meanwhile, and gets it
 *    at the end.  One change at a time.
 * 2. Until the end the image stays where it is: what is below it cannot be replaced. */
#include "block/luks.h"

struct BlkKeys {
    BlkNode *node;
    BlkUser use, below;
    LuksPlace place;
    Luks luks;                 /* the copy */
    const BlkLuksAmend *amend;
    bool force;
};

BlkKeys *blk_keys_begin(BlkNode *n, const char *who, const BlkLuksAmend *a, bool force, Error **errp)
{
    LuksPlace place;

    assert_control();
    if (!n->drv->keys) {
        error_set(errp, "Driver does not support x-blockdev-amend");
        return NULL;
    }
    if (n->read_only) {
        error_set(errp, "Block node '%s' is read-only", n->name);
        return NULL;
    }
    if (!crypt_load(errp) || !n->drv->keys(n, &place, errp)) {
        return NULL;
    }
    if (place.luks->busy) {
        error_set(errp, "Key slots of block node '%s' are being changed", n->name);
        return NULL;
    }
    BlkKeys *k = g_new0(BlkKeys, 1);
    *k = (BlkKeys){ .node = n, .place = place, .luks = *place.luks, .amend = a, .force = force };
    k->use.stays = true;
    if (!blk_attach(n, &k->use, who, 0, BLK_PERM_ALL, errp) ||
        !blk_attach(n->child, &k->below, who, 0, BLK_PERM_ALL, errp)) {
        blk_detach(&k->use);
        g_free(k);
        return NULL;
    }
    place.luks->busy = true;
    return k;
}

bool blk_keys_change(BlkKeys *k, Error **errp)
{
    return luks_amend(k->below.node, k->place.base, &k->luks, k->place.secret, k->amend, k->force, errp);
}

void blk_keys_end(BlkKeys *k)
{
    *k->place.luks = k->luks;          /* not busy, too */
    blk_detach(&k->below);
    blk_detach(&k->use);
    g_free(k);
}
