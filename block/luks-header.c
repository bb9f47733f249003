/* luks-header.c: the LUKS1 header: reading, checking, opening and making it; see luks.h.
 *
 * 1. What a header says is checked before it is believed: sizes, places, and how long it would take to try a
 *    password (WORK_MAX).
 * 2. Key material is written before the header that names it, and a slot is taken out of the header before
 *    its key material is overwritten: a cut leaves a password that works or one that does not.
 * 3. Keys are wiped from memory when they have been used. */
#include "block/luks.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>
#include "util/bytes.h"
#include "util/secret.h"

#define MAGIC "LUKS\xba\xbe"
#define ACTIVE 0x00ac71f3u
#define INACTIVE 0x0000deadu
#define STRIPES 4000u
#define ALIGN 4096u                    /* of key material and payload in what we make */
#define WORK_MAX UINT64_C(200000000)   /* rounds of a hash in which all slots have been tried: minutes */
#define ITERATIONS_MIN 1000u
#define ITER_TIME 2000u                /* ms */

typedef struct RawSlot {
    Be32 active, iterations;
    uint8_t salt[LUKS_SALT];
    Be32 sector, stripes;
} RawSlot;

typedef struct RawLuks {
    char magic[6];
    Be16 version;
    char cipher[32], mode[32], hash[32];
    Be32 payload, key_bytes;
    uint8_t digest[LUKS_DIGEST], salt[LUKS_SALT];
    Be32 iterations;
    char uuid[40];
    RawSlot slots[LUKS_SLOTS];
} RawLuks;

G_STATIC_ASSERT(sizeof(RawLuks) == LUKS_HEADER_BYTES);

/* --- names --- */

/* "xts-plain64", "cbc-essiv:sha256" */
static bool mode_read(const char *text, CryptSpec *s)
{
    g_auto(GStrv) parts = g_strsplit(text, "-", 2);
    const char *iv = parts[0] && parts[1] ? parts[1] : "";
    const char *colon = strchr(iv, ':');
    g_autofree char *iv_name = colon ? g_strndup(iv, (size_t)(colon - iv)) : g_strdup(iv);
    int mode = parts[0] ? crypt_find(crypt_mode_names, parts[0]) : -1;
    int kind = crypt_find(crypt_iv_names, iv_name);
    int hash = colon ? crypt_find(crypt_hash_names, colon + 1) : -1;

    if (mode == CRYPT_ECB && !*iv) {
        kind = CRYPT_PLAIN;    /* it has none */
    }
    if (mode < 0 || kind < 0 || (kind == CRYPT_ESSIV && hash < 0)) {
        return false;
    }
    s->mode = (CryptMode)mode;
    s->iv = (CryptIv)kind;
    s->iv_hash = hash < 0 ? CRYPT_SHA256 : (CryptHash)hash;
    return true;
}

static bool cipher_read(const char *name, uint32_t key_bytes, CryptSpec *s)
{
    for (int c = 0; c < CRYPT_CIPHERS; c++) {
        s->cipher = (CryptCipher)c;
        if (!strcmp(crypt_family(s->cipher), name) && crypt_key_size(s) == key_bytes) {
            return true;
        }
    }
    return false;
}

/* --- reading --- */

static void slots_read(const RawLuks *raw, Luks *l)
{
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const RawSlot *r = &raw->slots[i];
        LuksSlot *s = &l->slots[i];

        *s = (LuksSlot){ .active = be32(r->active) == ACTIVE, .iterations = be32(r->iterations),
                         .stripes = be32(r->stripes), .off = (uint64_t)be32(r->sector) * CRYPT_SECTOR };
        memcpy(s->salt, r->salt, LUKS_SALT);
    }
}

/* Bytes of the key material of a slot, in whole sectors. */
static uint64_t material_bytes(const Luks *l)
{
    return ALIGN_UP((uint64_t)l->key_bytes * STRIPES, CRYPT_SECTOR);
}

static bool slots_ok(const RawLuks *raw, const Luks *l, uint64_t room, Error **errp)
{
    uint64_t bytes = material_bytes(l), work = 0;

    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const LuksSlot *s = &l->slots[i];
        uint32_t active = be32(raw->slots[i].active);

        if (active != ACTIVE && active != INACTIVE) {
            return error_set(errp, "Keyslot %u state is invalid: %#x", i, active);
        }
        if (s->stripes != STRIPES) {
            return error_set(errp, "Keyslot %u is corrupted (stripes %u != %u)", i, s->stripes, STRIPES);
        }
        if (s->off < LUKS_HEADER_BYTES) {
            return error_set(errp, "Keyslot %u is overlapping with the LUKS header", i);
        }
        if (!fits(s->off, bytes, MIN(l->payload, room))) {
            return error_set(errp, "Keyslot %u at %#" PRIx64 " ends after the encrypted payload begins", i,
                             s->off);
        }
        for (unsigned j = 0; j < i; j++) {
            if (s->off < l->slots[j].off + bytes && l->slots[j].off < s->off + bytes) {
                return error_set(errp, "Keyslots %u and %u are overlapping in the header", j, i);
            }
        }
        if (s->active && s->iterations == 0) {
            return error_set(errp, "Keyslot %u iteration count is zero", i);
        }
        work += s->active ? (uint64_t)s->iterations * DIV_ROUND_UP(l->key_bytes, crypt_hash_size(l->hash))
                            + l->iterations : 0;
    }
    return work <= WORK_MAX || error_set(errp, "Trying the keyslots would take %" PRIu64 " rounds, which is "
                                         "too long", work);
}

static bool ended(const char *text, size_t size)
{
    return memchr(text, 0, size) != NULL;
}

static bool fields_ok(const RawLuks *raw, Luks *l, uint64_t room, Error **errp)
{
    if (memcmp(raw->magic, MAGIC, sizeof(raw->magic)) != 0) {
        return error_set(errp, "Volume is not in LUKS format");
    }
    if (be16(raw->version) != 1) {
        return error_set(errp, "LUKS version %u is not supported", be16(raw->version));
    }
    if (!ended(raw->cipher, 32) || !ended(raw->mode, 32) || !ended(raw->hash, 32)) {
        return error_set(errp, "LUKS header %s is not NUL terminated",
                         !ended(raw->cipher, 32) ? "cipher name" : !ended(raw->mode, 32) ? "cipher mode"
                                                                                       : "hash spec");
    }
    if (!mode_read(raw->mode, &l->spec)) {
        return error_set(errp, "Unexpected cipher mode string format '%s'", raw->mode);
    }
    l->key_bytes = be32(raw->key_bytes);
    if (!cipher_read(raw->cipher, l->key_bytes, &l->spec)) {
        return error_set(errp, "Algorithm '%s' with key size %u bytes not supported", raw->cipher,
                         l->key_bytes);
    }
    int hash = crypt_find(crypt_hash_names, raw->hash);
    if (hash < 0) {
        return error_set(errp, "Hash algorithm '%s' is not supported", raw->hash);
    }
    l->hash = (CryptHash)hash;
    l->iterations = be32(raw->iterations);
    l->payload = (uint64_t)be32(raw->payload) * CRYPT_SECTOR;
    if (l->iterations == 0) {
        return error_set(errp, "LUKS key iteration count is zero");
    }
    if (l->payload < LUKS_HEADER_BYTES || l->payload > room) {
        return error_set(errp, "LUKS payload is overlapping with the header, or ends it after %" PRIu64
                         " bytes: %#" PRIx64, room, l->payload);
    }
    return crypt_possible(&l->spec, errp);
}

bool luks_read(BlkNode *file, uint64_t base, uint64_t room, Luks *l, Error **errp)
{
    RawLuks raw = { 0 };
    int ret = room < sizeof(raw) ? 0 : blk_pread(file, base, &raw, sizeof(raw));

    *l = (Luks){ 0 };
    if (ret < 0) {
        return error_set_errno(errp, -ret, "Unable to read LUKS header");
    }
    if (!fields_ok(&raw, l, room, errp)) {
        return false;
    }
    slots_read(&raw, l);
    memcpy(l->digest, raw.digest, LUKS_DIGEST);
    memcpy(l->salt, raw.salt, LUKS_SALT);
    memcpy(l->uuid, raw.uuid, sizeof(l->uuid));
    l->uuid[sizeof(l->uuid) - 1] = 0;
    return slots_ok(&raw, l, room, errp);
}

/* --- writing --- */

static int header_write(BlkNode *file, uint64_t base, const Luks *l)
{
    RawLuks raw = { .version = to_be16(1), .payload = to_be32((uint32_t)(l->payload / CRYPT_SECTOR)),
                    .key_bytes = to_be32(l->key_bytes), .iterations = to_be32(l->iterations) };
    const CryptSpec *s = &l->spec;

    memcpy(raw.magic, MAGIC, sizeof(raw.magic));
    g_strlcpy(raw.cipher, crypt_family(s->cipher), sizeof(raw.cipher));
    g_snprintf(raw.mode, sizeof(raw.mode), "%s-%s%s%s", crypt_mode_names[s->mode], crypt_iv_names[s->iv],
               s->iv == CRYPT_ESSIV ? ":" : "", s->iv == CRYPT_ESSIV ? crypt_hash_names[s->iv_hash] : "");
    g_strlcpy(raw.hash, crypt_hash_names[l->hash], sizeof(raw.hash));
    memcpy(raw.digest, l->digest, LUKS_DIGEST);
    memcpy(raw.salt, l->salt, LUKS_SALT);
    memcpy(raw.uuid, l->uuid, sizeof(raw.uuid));
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const LuksSlot *from = &l->slots[i];

        raw.slots[i] = (RawSlot){ .active = to_be32(from->active ? ACTIVE : INACTIVE),
                                  .iterations = to_be32(from->iterations), .stripes = to_be32(from->stripes),
                                  .sector = to_be32((uint32_t)(from->off / CRYPT_SECTOR)) };
        memcpy(raw.slots[i].salt, from->salt, LUKS_SALT);
    }
    int ret = blk_pwrite(file, base, &raw, sizeof(raw));
    return ret < 0 ? ret : blk_pflush(file);
}

/* --- the anti-forensic splitter (section 2.4) --- */

/* Replaces @block by hashes of its parts and their numbers. */
static void diffuse(CryptHash h, uint8_t *block, size_t len)
{
    size_t digest = crypt_hash_size(h);
    uint8_t out[CRYPT_DIGEST_MAX];

    for (uint32_t i = 0; i * digest < len; i++) {
        Be32 number = to_be32(i);
        size_t part = MIN(digest, len - i * digest);

        crypt_hash(h, &number, sizeof(number), block + i * digest, part, out);
        memcpy(block + i * digest, out, part);
    }
    explicit_bzero(out, sizeof(out));
}

/* All stripes but the last, mixed into @out. */
static void mix(CryptHash h, const uint8_t *stripes, size_t key, uint8_t *out)
{
    memset(out, 0, key);
    for (unsigned i = 0; i < STRIPES - 1; i++) {
        for (size_t b = 0; b < key; b++) {
            out[b] ^= stripes[i * key + b];
        }
        diffuse(h, out, key);
    }
}

/* With all but the last stripe random, makes that one; or (@merge) @key of them all. */
static void split_or_merge(CryptHash h, uint8_t *stripes, size_t len, uint8_t *key, bool merge)
{
    uint8_t *last = stripes + (STRIPES - 1) * len;
    uint8_t mixed[CRYPT_KEY_MAX];

    mix(h, stripes, len, mixed);
    for (size_t b = 0; b < len; b++) {
        if (merge) {
            key[b] = last[b] ^ mixed[b];
        } else {
            last[b] = key[b] ^ mixed[b];
        }
    }
    explicit_bzero(mixed, sizeof(mixed));
}

/* --- slots --- */

/* The cipher of a slot's key material. */
static Crypt *slot_cipher(const Luks *l, const LuksSlot *s, const char *password, size_t len, Error **errp)
{
    uint8_t key[CRYPT_KEY_MAX];

    crypt_pbkdf2(l->hash, password, len, s->salt, LUKS_SALT, s->iterations, key, l->key_bytes);
    Crypt *c = crypt_new(&l->spec, key, errp);
    explicit_bzero(key, sizeof(key));
    return c;
}

static void digest_of(const Luks *l, const uint8_t *key, uint8_t out[LUKS_DIGEST])
{
    crypt_pbkdf2(l->hash, key, l->key_bytes, l->salt, LUKS_SALT, l->iterations, out, LUKS_DIGEST);
}

/* 1: slot @i gives @key; 0: the password is not its own; else -errno. */
static int slot_open(BlkNode *file, uint64_t base, const Luks *l, unsigned i, const char *password,
                     size_t len, uint8_t *key)
{
    const LuksSlot *s = &l->slots[i];
    uint64_t bytes = material_bytes(l);
    g_autofree uint8_t *material = s->active ? g_try_malloc(bytes) : NULL;
    uint8_t digest[LUKS_DIGEST];

    if (!s->active) {
        return 0;
    }
    int ret = material ? blk_pread(file, base + s->off, material, bytes) : -ENOMEM;
    if (ret < 0) {
        return ret;
    }
    Crypt *c = slot_cipher(l, s, password, len, NULL);
    if (!c) {
        return -EINVAL;
    }
    crypt_sectors(c, false, 0, material, bytes);
    crypt_free(c);
    split_or_merge(l->hash, material, l->key_bytes, key, true);
    explicit_bzero(material, bytes);
    digest_of(l, key, digest);
    return memcmp(digest, l->digest, LUKS_DIGEST) == 0;
}

static void slot_unread(unsigned i, int ret, Error **errp)
{
    error_set_errno(errp, -ret, "Unable to read the key material of keyslot %u", i);
}

/* The first slot that @password opens, or -1.  One that cannot be read keeps no other from being found. */
static int slot_find(BlkNode *file, uint64_t base, const Luks *l, const char *password, size_t len,
                     uint8_t *key, Error **errp)
{
    unsigned unread = 0;
    int failed = 0;

    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        int ret = slot_open(file, base, l, i, password, len, key);

        if (ret > 0) {
            return (int)i;
        }
        if (ret < 0 && !failed) {
            unread = i;
            failed = ret;
        }
    }
    if (failed) {              /* it may be the one */
        slot_unread(unread, failed, errp);
    } else {
        error_set(errp, "Invalid password, cannot unlock any keyslot");
    }
    return -1;
}

/* The master key by secret @id. */
static bool key_find(BlkNode *file, uint64_t base, const Luks *l, const char *id, uint8_t *key, Error **errp)
{
    size_t len;
    char *password = crypt_load(errp) ? secret_get(id, &len, errp) : NULL;

    if (!password) {
        return false;
    }
    int slot = slot_find(file, base, l, password, len, key, errp);
    secret_wipe(password, len);
    return slot >= 0;
}

Crypt *luks_open(BlkNode *file, uint64_t base, const Luks *l, const char *secret, Error **errp)
{
    uint8_t key[CRYPT_KEY_MAX];
    Crypt *c = key_find(file, base, l, secret, key, errp) ? crypt_new(&l->spec, key, errp) : NULL;

    explicit_bzero(key, sizeof(key));
    return c;
}

/* --- new slots --- */

static int64_t cpu_time_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Iterations that take @ms milliseconds on this machine, for @bytes of key. */
static bool iterations_for(const Luks *l, uint64_t ms, size_t bytes, uint32_t *out, Error **errp)
{
    uint8_t key[CRYPT_KEY_MAX];
    uint64_t count = 4096, per_slot = WORK_MAX / LUKS_SLOTS / 2;
    int64_t took = 0;

    if (ms == 0) {
        return error_set(errp, "Parameter 'iter-time' must be at least 1");
    }
    while (took < 20 * 1000000) {
        int64_t start = cpu_time_ns();

        count *= 2;
        crypt_pbkdf2(l->hash, "password", 8, "saltsaltsaltsalt", 16, (uint32_t)count, key, bytes);
        took = cpu_time_ns() - start;
    }
    double want = (double)count * (double)ms * 1e6 / (double)took;
    double most = (double)(per_slot / DIV_ROUND_UP(bytes, crypt_hash_size(l->hash)));
    if (want > most) {
        return error_set(errp, "Parameter 'iter-time': %" PRIu64 " ms would be %.0f iterations, more than "
                         "%.0f", ms, want, most);
    }
    *out = MAX((uint32_t)want, ITERATIONS_MIN);
    return true;
}

/* Makes slot @i open with @password; the header names it afterwards. */
static bool slot_set(BlkNode *file, uint64_t base, Luks *l, unsigned i, const char *password, size_t len,
                     uint64_t ms, uint8_t *key, Error **errp)
{
    LuksSlot new = l->slots[i];
    uint64_t bytes = material_bytes(l);
    g_autofree uint8_t *material = g_malloc0(bytes);

    new.active = true;
    if (!iterations_for(l, ms, l->key_bytes, &new.iterations, errp) ||
        !crypt_random(new.salt, LUKS_SALT, errp) ||
        !crypt_random(material, (size_t)l->key_bytes * (STRIPES - 1), errp)) {
        return false;
    }
    split_or_merge(l->hash, material, l->key_bytes, key, false);
    Crypt *c = slot_cipher(l, &new, password, len, errp);
    if (!c) {
        explicit_bzero(material, bytes);
        return false;
    }
    crypt_sectors(c, true, 0, material, bytes);
    crypt_free(c);
    LuksSlot old = l->slots[i];
    l->slots[i] = new;
    int ret = blk_pwrite(file, base + new.off, material, bytes);
    ret = ret < 0 ? ret : blk_pflush(file);
    ret = ret < 0 ? ret : header_write(file, base, l);
    if (ret < 0) {
        l->slots[i] = old;
        return error_set_errno(errp, -ret, "Unable to write keyslot %u", i);
    }
    return true;
}

static bool slot_erase(BlkNode *file, uint64_t base, Luks *l, unsigned i, Error **errp)
{
    uint64_t bytes = material_bytes(l);
    g_autofree uint8_t *noise = g_malloc(bytes);
    LuksSlot *s = &l->slots[i], old = *s;

    s->active = false;
    s->iterations = 0;
    memset(s->salt, 0, LUKS_SALT);
    int ret = header_write(file, base, l);
    if (ret < 0) {
        *s = old;
    }
    for (unsigned round = 0; ret == 0 && round < 3; round++) {
        if (!crypt_random(noise, bytes, errp)) {
            return false;
        }
        ret = blk_pwrite(file, base + s->off, noise, bytes);
        ret = ret < 0 ? ret : blk_pflush(file);
    }
    return ret == 0 || error_set_errno(errp, -ret, "Unable to erase keyslot %u", i);
}

/* --- a new header --- */

static bool take_name(const char *option, const char *const *names, const char *value, int dflt, int *out,
                      Error **errp)
{
    *out = value ? crypt_find(names, value) : dflt;
    return *out >= 0 || error_set(errp, "Parameter '%s' does not accept value '%s'", option, value);
}

static bool spec_of(const BlkLuksCreate *o, Luks *l, Error **errp)
{
    int cipher, mode, iv, iv_hash, hash;

    if (!take_name("cipher-alg", crypt_cipher_names, o->cipher_alg, CRYPT_AES_256, &cipher, errp) ||
        !take_name("cipher-mode", crypt_mode_names, o->cipher_mode, CRYPT_XTS, &mode, errp) ||
        !take_name("ivgen-alg", crypt_iv_names, o->ivgen_alg, CRYPT_PLAIN64, &iv, errp) ||
        !take_name("ivgen-hash-alg", crypt_hash_names, o->ivgen_hash_alg, CRYPT_SHA256, &iv_hash, errp) ||
        !take_name("hash-alg", crypt_hash_names, o->hash_alg, CRYPT_SHA256, &hash, errp)) {
        return false;
    }
    if (o->ivgen_hash_alg && iv != CRYPT_ESSIV) {
        return error_set(errp, "Parameter 'ivgen-hash-alg' needs 'ivgen-alg=essiv'");
    }
    *l = (Luks){ .spec = { (CryptCipher)cipher, (CryptMode)mode, (CryptIv)iv, (CryptHash)iv_hash },
                 .hash = (CryptHash)hash };
    l->key_bytes = (uint32_t)crypt_key_size(&l->spec);
    uint64_t step = ALIGN_UP(material_bytes(l), ALIGN);
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        l->slots[i].stripes = STRIPES;
        l->slots[i].off = ALIGN + i * step;
    }
    l->payload = ALIGN + LUKS_SLOTS * step;
    return crypt_possible(&l->spec, errp);
}

bool blk_luks_room(const BlkLuksCreate *o, uint64_t *room, Error **errp)
{
    Luks l = { 0 };
    bool ok = spec_of(o, &l, errp);

    *room = l.payload;
    return ok && (o->key_secret || error_set(errp, "Parameter 'key-secret' is required for cipher"));
}

/* A random one (RFC 4122, section 4.4), without opening any file. */
static bool uuid_new(char out[40], Error **errp)
{
    uint8_t b[16];
    bool ok = crypt_random(b, sizeof(b), errp);

    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    for (unsigned i = 0, at = 0; ok && i < sizeof(b); i++) {
        const char *dash = i >= 4 && i <= 10 && i % 2 == 0 ? "-" : "";

        at += (unsigned)g_snprintf(out + at, 40 - at, "%s%02x", dash, b[i]);
    }
    return ok;
}

bool luks_format(BlkNode *file, uint64_t base, const BlkLuksCreate *o, Error **errp)
{
    uint64_t ms = o->has_iter_time ? o->iter_time : ITER_TIME;
    uint8_t key[CRYPT_KEY_MAX];
    size_t len;
    Luks l;

    if (!spec_of(o, &l, errp) || !crypt_load(errp)) {
        return false;
    }
    char *password = secret_get(o->key_secret, &len, errp);
    if (!password) {
        return false;
    }
    bool ok = uuid_new(l.uuid, errp) && crypt_random(key, sizeof(key), errp) &&
              crypt_random(l.salt, LUKS_SALT, errp) &&
              iterations_for(&l, ms, LUKS_DIGEST, &l.iterations, errp);
    if (ok) {
        l.iterations = MAX(l.iterations / 8, ITERATIONS_MIN);
        digest_of(&l, key, l.digest);
        ok = slot_set(file, base, &l, 0, password, len, ms, key, errp);
    }
    explicit_bzero(key, sizeof(key));
    secret_wipe(password, len);
    return ok;
}

/* --- amending --- */

static bool activate(BlkNode *file, uint64_t base, Luks *l, const char *secret, const BlkLuksAmend *a,
                     bool force, Error **errp)
{
    uint8_t key[CRYPT_KEY_MAX];
    unsigned slot = 0;
    size_t len;

    if (!a->new_secret) {
        return error_set(errp, "'new-secret' is required to activate a keyslot");
    }
    if (a->old_secret) {
        return error_set(errp, "'old-secret' must not be given when activating keyslots");
    }
    while (!a->has_keyslot && slot < LUKS_SLOTS && l->slots[slot].active) {
        slot++;
    }
    slot = a->has_keyslot ? (unsigned)a->keyslot : slot;
    if (slot == LUKS_SLOTS) {
        return error_set(errp, "Can't add a keyslot - all keyslots are in use");
    }
    if (l->slots[slot].active && !force) {
        return error_set(errp, "Refusing to overwrite active keyslot %u - please erase it first", slot);
    }
    bool ok = key_find(file, base, l, secret, key, errp);
    char *password = ok ? secret_get(a->new_secret, &len, errp) : NULL;
    ok = password && slot_set(file, base, l, slot, password, len, a->has_iter_time ? a->iter_time : ITER_TIME,
                              key, errp);
    secret_wipe(password, password ? len : 0);
    explicit_bzero(key, sizeof(key));
    return ok;
}

/* The slots to be erased, one bit each; 0: none, and an error. */
static unsigned slots_meant(BlkNode *file, uint64_t base, const Luks *l, const BlkLuksAmend *a, Error **errp)
{
    unsigned meant = a->has_keyslot ? 1u << a->keyslot : (1u << LUKS_SLOTS) - 1;
    uint8_t key[CRYPT_KEY_MAX];
    size_t len;

    if (a->has_keyslot && !l->slots[a->keyslot].active) {
        error_set(errp, "Given keyslot %u is already erased (inactive)", (unsigned)a->keyslot);
        return 0;
    }
    if (!a->old_secret) {
        return meant;
    }
    char *password = crypt_load(errp) ? secret_get(a->old_secret, &len, errp) : NULL;
    if (!password) {
        return 0;
    }
    int ret = 0;
    for (unsigned i = 0; ret >= 0 && i < LUKS_SLOTS; i++) {
        ret = meant >> i & 1 ? slot_open(file, base, l, i, password, len, key) : 0;
        meant &= ret > 0 ? UINT_MAX : ~(1u << i);
        if (ret < 0) {         /* it may be one that would stay, and is not to */
            slot_unread(i, ret, errp);
        }
    }
    explicit_bzero(key, sizeof(key));
    secret_wipe(password, len);
    if (ret < 0) {
        return 0;
    }
    if (!meant && a->has_keyslot) {
        error_set(errp, "Given keyslot %u doesn't contain the given old password for erase operation",
                  (unsigned)a->keyslot);
    } else if (!meant) {
        error_set(errp, "No keyslots match given (old) password for erase operation");
    }
    return meant;
}

static bool deactivate(BlkNode *file, uint64_t base, Luks *l, const BlkLuksAmend *a, bool force, Error **errp)
{
    unsigned active = 0;

    if (a->new_secret) {
        return error_set(errp, "'new-secret' must not be given when erasing keyslots");
    }
    if (a->has_iter_time) {
        return error_set(errp, "'iter-time' must not be given when erasing keyslots");
    }
    if (!a->has_keyslot && !a->old_secret) {
        return error_set(errp, "To erase keyslot(s), either explicit keyslot index or the password currently "
                         "contained in them must be given");
    }
    unsigned meant = slots_meant(file, base, l, a, errp);
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        active |= (unsigned)l->slots[i].active << i;
    }
    if (meant && meant == active && !force) {
        return a->has_keyslot
            ? error_set(errp, "Attempt to erase the only active keyslot %u which will erase all the data in "
                        "the image irreversibly - refusing operation", (unsigned)a->keyslot)
            : error_set(errp, "All the active keyslots match the (old) password that was given and erasing "
                        "them will erase all the data in the image irreversibly - refusing operation");
    }
    bool ok = meant != 0;
    for (unsigned i = 0; ok && i < LUKS_SLOTS; i++) {
        ok = !(meant >> i & 1) || slot_erase(file, base, l, i, errp);
    }
    return ok;
}

bool luks_amend(BlkNode *file, uint64_t base, Luks *l, const char *secret, const BlkLuksAmend *a, bool force,
                Error **errp)
{
    secret = a->secret ? a->secret : secret;
    if (!a->state) {
        return error_set(errp, "Parameter 'state' is missing");
    }
    if (a->has_keyslot && a->keyslot >= LUKS_SLOTS) {
        return error_set(errp, "Invalid keyslot %" PRIu64 " specified, must be between 0 and %u", a->keyslot,
                         LUKS_SLOTS - 1);
    }
    if (!strcmp(a->state, "active")) {
        return activate(file, base, l, secret, a, force, errp);
    }
    return !strcmp(a->state, "inactive")
        ? deactivate(file, base, l, a, force, errp)
        : error_set(errp, "Parameter 'state' does not accept value '%s'", a->state);
}

void luks_info(const Luks *l, BlkLuksInfo *out)
{
    *out = (BlkLuksInfo){
        .cipher_alg = crypt_cipher_names[l->spec.cipher], .cipher_mode = crypt_mode_names[l->spec.mode],
        .ivgen_alg = crypt_iv_names[l->spec.iv], .hash_alg = crypt_hash_names[l->hash],
        .ivgen_hash_alg = l->spec.iv == CRYPT_ESSIV ? crypt_hash_names[l->spec.iv_hash] : NULL,
        .uuid = l->uuid, .payload_offset = l->payload, .iterations = l->iterations,
    };
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        out->slots[i].active = l->slots[i].active;
        out->slots[i].iterations = l->slots[i].iterations;
        out->slots[i].stripes = l->slots[i].stripes;
        out->slots[i].key_offset = l->slots[i].off;
    }
}
