/* qcow2-crypt.c: encrypted qcow2 images: by LUKS, whose header the image holds, and the old AES-CBC.
 *
 * 1. Guest data alone is encrypted.  With LUKS a sector's number is that of its place in the file that holds
 *    it, with the old AES that of the guest.
 * 2. Zeroes in the file are none to the guest: new clusters are written whole. */
#include "block/luks.h"
#include "block/qcow2-int.h"
#include "util/bytes.h"
#include "util/secret.h"

static bool aes_refused;       /* control */

void blk_refuse_aes(void)
{
    aes_refused = true;
}

static const char *const formats[] = { NULL, "aes", "luks" };

/* The first 16 bytes of the secret are the key. */
static Crypt *aes_open(const char *id, Error **errp)
{
    const CryptSpec spec = { .cipher = CRYPT_AES_128, .mode = CRYPT_CBC, .iv = CRYPT_PLAIN64 };
    uint8_t key[16] = { 0 };
    size_t len;
    char *secret = crypt_load(errp) ? secret_get(id, &len, errp) : NULL;

    if (!secret) {
        return NULL;
    }
    memcpy(key, secret, MIN(len, sizeof(key)));
    secret_wipe(secret, len);
    Crypt *c = crypt_new(&spec, key, errp);
    explicit_bzero(key, sizeof(key));
    return c;
}

bool qcow2_crypt_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    Qcow2 *q = n->state;
    const Qcow2Header *h = &q->h;
    const char *format = formats[h->crypt_method];

    if (!format) {
        return (!o->encrypt_format && !o->key_secret) ||
               error_set(errp, "No encryption in image header, but options specified format '%s'",
                         o->encrypt_format ? o->encrypt_format : "luks");
    }
    if (o->encrypt_format && strcmp(o->encrypt_format, format) != 0) {
        return error_set(errp, "Header reported '%s' encryption format but options specify '%s'", format,
                         o->encrypt_format);
    }
    if (!o->key_secret && !o->no_data) {
        return error_set(errp, "Parameter 'encrypt.key-secret' is required for cipher");
    }
    if (h->crypt_method == QCOW2_CRYPT_AES && aes_refused && !o->no_data) {
        error_set(errp, "Use of AES-CBC encrypted qcow2 images is no longer supported in system "
                  "emulators");
        return error_hint(errp, "You can use 'rhea-img convert' to convert your image to an "
                          "alternative supported format, such as unencrypted qcow2, or raw with the LUKS "
                          "format instead.");
    }
    if (h->crypt_method == QCOW2_CRYPT_LUKS) {
        q->luks = g_new0(Luks, 1);
        if (!luks_read(n->child, h->crypt_off, h->crypt_size, q->luks, errp)) {
            return false;
        }
    }
    if (o->key_secret) {
        n->crypt = q->luks ? luks_open(n->child, h->crypt_off, q->luks, o->key_secret, errp)
                           : aes_open(o->key_secret, errp);
        q->secret = g_strdup(o->key_secret);
    }
    return n->crypt || !o->key_secret;
}

void qcow2_crypt_close(BlkNode *n)
{
    Qcow2 *q = n->state;

    crypt_free(n->crypt);
    n->crypt = NULL;
    g_clear_pointer(&q->luks, g_free);
    g_clear_pointer(&q->secret, g_free);
}

bool qcow2_crypt_room(const BlkCreate *o, uint64_t *room, Error **errp)
{
    *room = 0;
    if (!o->encrypt_format) {
        return true;
    }
    if (o->data_file_raw) {
        return error_set(errp, "'data-file-raw' and encryption cannot be used at the same time");
    }
    if (o->v2 && o->prealloc != BLK_PREALLOC_OFF) {
        return error_set(errp, "Encrypted images can only be preallocated with compatibility level 1.1 and "
                         "above (use version=v3 or greater)");
    }
    if (!strcmp(o->encrypt_format, "aes")) {
        return o->luks.key_secret || error_set(errp, "Parameter 'encrypt.key-secret' is required for cipher");
    }
    if (strcmp(o->encrypt_format, "luks") != 0) {
        return error_set(errp, "Parameter 'format' does not accept value '%s'", o->encrypt_format);
    }
    if (!o->luks.key_secret) {
        return error_set(errp, "Parameter 'encrypt.key-secret' is required for cipher");
    }
    return blk_luks_room(&o->luks, room, errp);
}

void qcow2_crypt_mark(const BlkNode *n, const BlkReq *r, Extent *e)
{
    const Qcow2 *q = n->state;

    if (e->is == EXT_DATA && e->node == q->data) {
        e->crypt = true;
        e->iv = q->luks ? e->off : r->pos;
    }
}

void qcow2_crypt_info(const BlkNode *n, BlkImageInfo *out)
{
    const Qcow2 *q = n->state;

    out->encrypted = q->h.crypt_method != QCOW2_CRYPT_NONE;
    out->luks = q->luks != NULL;
    if (q->luks) {
        luks_info(q->luks, &out->luks_info);
    }
}

bool qcow2_crypt_keys(BlkNode *n, LuksPlace *out, Error **errp)
{
    Qcow2 *q = n->state;

    if (!q->luks) {
        return error_set(errp, q->h.crypt_method ? "Only LUKS encryption options can be amended"
                                                 : "image is not encrypted, can't amend");
    }
    blk_grow(n->child, q->h.crypt_off + q->h.crypt_size);      /* a file may end within the slots */
    *out = (LuksPlace){ q->luks, q->h.crypt_off, q->secret };
    return true;
}

bool qcow2_crypt_amend(BlkNode *n, const BlkLuksAmend *o, bool force, Error **errp)
{
    const Qcow2 *q = n->state;
    LuksPlace p = { 0 };

    if (!q->h.crypt_method) {
        return error_set(errp, "Can't amend encryption options - encryption not present");
    }
    return qcow2_crypt_keys(n, &p, errp) && luks_amend(n->child, p.base, p.luks, p.secret, o, force, errp);
}
