/* crypt.c: libnettle, see crypt.h.
 *
 * 1. The library is opened at run time: who has no encrypted disk does not load it.  Its ciphers and hashes
 *    are tables, so a name is all that is needed of each.
 * 2. Initial vectors are those of dm-crypt: the sector's number, little-endian, in the first 4 (plain) or 8
 *    (plain64) bytes; essiv: that, encrypted with the hash of the key. */
#include "util/crypt.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include "config.h"
#include "util/bytes.h"

const char *const crypt_hash_names[CRYPT_HASHES + 1] = {
    "md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160", NULL,
};
const char *const crypt_cipher_names[CRYPT_CIPHERS + 1] = {
    "aes-128", "aes-192", "aes-256", "cast5-128", "serpent-128", "serpent-192", "serpent-256", "twofish-128",
    "twofish-192", "twofish-256", NULL,
};
const char *const crypt_mode_names[CRYPT_MODES + 1] = { "ecb", "cbc", "xts", "ctr", NULL };
const char *const crypt_iv_names[CRYPT_IVS + 1] = { "plain", "plain64", "essiv", NULL };

static const struct { const char *family; unsigned key, block; } ciphers[CRYPT_CIPHERS] = {
    { "aes", 16, 16 }, { "aes", 24, 16 }, { "aes", 32, 16 }, { "cast5", 16, 8 }, { "serpent", 16, 16 },
    { "serpent", 24, 16 }, { "serpent", 32, 16 }, { "twofish", 16, 16 }, { "twofish", 24, 16 },
    { "twofish", 32, 16 },
};

static const unsigned digest_sizes[CRYPT_HASHES] = { 16, 20, 28, 32, 48, 64, 20 };

int crypt_find(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++) {
        if (!strcmp(names[i], name)) {
            return i;
        }
    }
    return -1;
}

const char *crypt_family(CryptCipher c)
{
    return ciphers[c].family;
}

size_t crypt_hash_size(CryptHash h)
{
    return digest_sizes[h];
}

size_t crypt_key_size(const CryptSpec *s)
{
    return ciphers[s->cipher].key * (s->mode == CRYPT_XTS ? 2 : 1);
}

bool crypt_random(void *out, size_t len, Error **errp)
{
    for (uint8_t *p = out; len;) {
        ssize_t got = getrandom(p, len, 0);

        if (got < 0 && errno != EINTR) {
            return error_set_errno(errp, errno, "No random bytes");
        }
        p += MAX(got, 0);
        len -= (size_t)MAX(got, 0);
    }
    return true;
}

/* The cipher of the same family whose key has the size of a digest of @s->iv_hash; -1: there is none. */
static int essiv_cipher(const CryptSpec *s)
{
    for (int i = 0; i < CRYPT_CIPHERS; i++) {
        if (!strcmp(ciphers[i].family, ciphers[s->cipher].family) && ciphers[i].block == 16 &&
            ciphers[i].key == digest_sizes[s->iv_hash]) {
            return i;
        }
    }
    return -1;
}

bool crypt_possible(const CryptSpec *s, Error **errp)
{
    const char *name = crypt_cipher_names[s->cipher];

    if (s->mode == CRYPT_XTS && ciphers[s->cipher].block != 16) {
        return error_set(errp, "Cipher %s cannot be used in mode xts: its blocks are not of 16 bytes", name);
    }
    if (s->iv == CRYPT_ESSIV && ciphers[s->cipher].block != 16) {
        return error_set(errp, "Cipher %s not supported with essiv", name);
    }
    return s->iv != CRYPT_ESSIV || essiv_cipher(s) >= 0 ||
           error_set(errp, "No cipher of the family of %s has keys of the %u bytes of a digest of %s", name,
                     digest_sizes[s->iv_hash], crypt_hash_names[s->iv_hash]);
}

#ifdef CONFIG_NETTLE
#include <nettle/cbc.h>
#include <nettle/ctr.h>
#include <nettle/hmac.h>
#include <nettle/nettle-meta.h>
#include <nettle/pbkdf2.h>
#include <nettle/xts.h>

static struct {
    const struct nettle_cipher *ciphers[CRYPT_CIPHERS];
    const struct nettle_hash *hashes[CRYPT_HASHES];
    __typeof__(&nettle_cbc_encrypt) cbc_encrypt;
    __typeof__(&nettle_cbc_decrypt) cbc_decrypt;
    __typeof__(&nettle_ctr_crypt) ctr_crypt;
    __typeof__(&nettle_xts_encrypt_message) xts_encrypt;
    __typeof__(&nettle_xts_decrypt_message) xts_decrypt;
    __typeof__(&nettle_hmac_set_key) hmac_set_key;
    __typeof__(&nettle_hmac_update) hmac_update;
    __typeof__(&nettle_hmac_digest) hmac_digest;
    __typeof__(&nettle_pbkdf2) pbkdf2;
} lib;

/* Key schedules, in the library's form. */
struct Crypt {
    CryptSpec spec;
    const struct nettle_cipher *cipher, *iv_cipher;
    void *encrypt, *decrypt;
    void *tweak;               /* XTS: the second key */
    void *iv;                  /* ESSIV */
};

bool crypt_load(Error **errp)
{
    static const struct { const char *name; size_t at; } all[] = {
#define ENTRY(symbol, field) { "nettle_" #symbol, offsetof(__typeof__(lib), field) },
        ENTRY(aes128, ciphers[CRYPT_AES_128]) ENTRY(aes192, ciphers[CRYPT_AES_192])
        ENTRY(aes256, ciphers[CRYPT_AES_256]) ENTRY(cast128, ciphers[CRYPT_CAST5_128])
        ENTRY(serpent128, ciphers[CRYPT_SERPENT_128]) ENTRY(serpent192, ciphers[CRYPT_SERPENT_192])
        ENTRY(serpent256, ciphers[CRYPT_SERPENT_256]) ENTRY(twofish128, ciphers[CRYPT_TWOFISH_128])
        ENTRY(twofish192, ciphers[CRYPT_TWOFISH_192]) ENTRY(twofish256, ciphers[CRYPT_TWOFISH_256])
        ENTRY(md5, hashes[CRYPT_MD5]) ENTRY(sha1, hashes[CRYPT_SHA1]) ENTRY(sha224, hashes[CRYPT_SHA224])
        ENTRY(sha256, hashes[CRYPT_SHA256]) ENTRY(sha384, hashes[CRYPT_SHA384])
        ENTRY(sha512, hashes[CRYPT_SHA512]) ENTRY(ripemd160, hashes[CRYPT_RIPEMD160])
        ENTRY(cbc_encrypt, cbc_encrypt) ENTRY(cbc_decrypt, cbc_decrypt) ENTRY(ctr_crypt, ctr_crypt)
        ENTRY(xts_encrypt_message, xts_encrypt) ENTRY(xts_decrypt_message, xts_decrypt)
        ENTRY(hmac_set_key, hmac_set_key) ENTRY(hmac_update, hmac_update) ENTRY(hmac_digest, hmac_digest)
        ENTRY(pbkdf2, pbkdf2)
#undef ENTRY
    };
    static bool loaded;

    if (loaded) {
        return true;
    }
    void *so = dlopen("libnettle.so.8", RTLD_NOW | RTLD_LOCAL);
    for (unsigned i = 0; so && i < ARRAY_LEN(all); i++) {
        void *f = dlsym(so, all[i].name);

        if (!f) {
            so = NULL;
        } else {
            memcpy((char *)&lib + all[i].at, &f, sizeof(f));
        }
    }
    loaded = so != NULL;
    return loaded || error_set(errp, "Cannot use encryption: %s", dlerror());
}

void crypt_hash(CryptHash h, const void *a, size_t a_len, const void *b, size_t b_len, uint8_t *out)
{
    const struct nettle_hash *hash = lib.hashes[h];
    g_autofree void *ctx = g_malloc(hash->context_size);

    hash->init(ctx);
    hash->update(ctx, a_len, a);
    if (b) {
        hash->update(ctx, b_len, b);
    }
    hash->digest(ctx, hash->digest_size, out);
    explicit_bzero(ctx, hash->context_size);
}

/* --- key derivation --- */

typedef struct Hmac {
    const struct nettle_hash *hash;
    uint8_t *outer, *inner, *state;
} Hmac;

static void mac_update(void *ctx, size_t len, const uint8_t *src)
{
    const Hmac *m = ctx;

    lib.hmac_update(m->state, m->hash, len, src);
}

static void mac_digest(void *ctx, size_t len, uint8_t *out)
{
    const Hmac *m = ctx;

    lib.hmac_digest(m->outer, m->inner, m->state, m->hash, len, out);
}

void crypt_pbkdf2(CryptHash h, const void *password, size_t password_len, const void *salt, size_t salt_len,
                  uint32_t iterations, uint8_t *out, size_t out_len)
{
    const struct nettle_hash *hash = lib.hashes[h];
    size_t step = ALIGN_UP(hash->context_size, 16);
    g_autofree uint8_t *contexts = g_malloc0(step * 3);
    Hmac m = { hash, contexts, contexts + step, contexts + 2 * step };

    lib.hmac_set_key(m.outer, m.inner, m.state, hash, password_len, password);
    lib.pbkdf2(&m, mac_update, mac_digest, hash->digest_size, iterations, salt_len, salt, out_len, out);
    explicit_bzero(contexts, step * 3);
}

/* --- sectors --- */

static void *schedule(const struct nettle_cipher *c, nettle_set_key_func *set, const uint8_t *key)
{
    void *ctx = g_malloc0(c->context_size);

    set(ctx, key);
    return ctx;
}

Crypt *crypt_new(const CryptSpec *s, const uint8_t *key, Error **errp)
{
    const struct nettle_cipher *cipher = lib.ciphers[s->cipher];

    if (!crypt_possible(s, errp)) {
        return NULL;
    }
    Crypt *c = g_new0(Crypt, 1);
    c->spec = *s;
    c->cipher = cipher;
    c->encrypt = schedule(cipher, cipher->set_encrypt_key, key);
    c->decrypt = schedule(cipher, cipher->set_decrypt_key, key);
    if (s->mode == CRYPT_XTS) {
        c->tweak = schedule(cipher, cipher->set_encrypt_key, key + ciphers[s->cipher].key);
    }
    if (s->iv == CRYPT_ESSIV) {
        uint8_t digest[CRYPT_DIGEST_MAX];

        crypt_hash(s->iv_hash, key, crypt_key_size(s), NULL, 0, digest);
        c->iv_cipher = lib.ciphers[essiv_cipher(s)];
        c->iv = schedule(c->iv_cipher, c->iv_cipher->set_encrypt_key, digest);
        explicit_bzero(digest, sizeof(digest));
    }
    return c;
}

static void schedule_free(const struct nettle_cipher *c, void *ctx)
{
    if (ctx) {
        explicit_bzero(ctx, c->context_size);
        g_free(ctx);
    }
}

void crypt_free(Crypt *c)
{
    if (!c) {
        return;
    }
    schedule_free(c->cipher, c->encrypt);
    schedule_free(c->cipher, c->decrypt);
    schedule_free(c->cipher, c->tweak);
    schedule_free(c->iv_cipher, c->iv);
    g_free(c);
}

static void vector(const Crypt *c, uint64_t sector, uint8_t iv[16])
{
    memset(iv, 0, 16);
    if (c->spec.iv == CRYPT_PLAIN) {
        st32(iv, (uint32_t)sector);
    } else {
        st64(iv, sector);
    }
    if (c->iv) {
        c->iv_cipher->encrypt(c->iv, 16, iv, iv);
    }
}

void crypt_sectors(const Crypt *c, bool encrypt, uint64_t sector, void *buf, size_t len)
{
    const struct nettle_cipher *n = c->cipher;
    uint8_t iv[16];

    for (uint8_t *p = buf; len; p += CRYPT_SECTOR, len -= CRYPT_SECTOR, sector++) {
        vector(c, sector, iv);
        switch (c->spec.mode) {
        case CRYPT_ECB:
            (encrypt ? n->encrypt : n->decrypt)(encrypt ? c->encrypt : c->decrypt, CRYPT_SECTOR, p, p);
            break;
        case CRYPT_CBC:
            if (encrypt) {
                lib.cbc_encrypt(c->encrypt, n->encrypt, n->block_size, iv, CRYPT_SECTOR, p, p);
            } else {
                lib.cbc_decrypt(c->decrypt, n->decrypt, n->block_size, iv, CRYPT_SECTOR, p, p);
            }
            break;
        case CRYPT_XTS:
            if (encrypt) {
                lib.xts_encrypt(c->encrypt, c->tweak, n->encrypt, iv, CRYPT_SECTOR, p, p);
            } else {
                lib.xts_decrypt(c->decrypt, c->tweak, n->decrypt, n->encrypt, iv, CRYPT_SECTOR, p, p);
            }
            break;
        default:
            lib.ctr_crypt(c->encrypt, n->encrypt, n->block_size, iv, CRYPT_SECTOR, p, p);
        }
    }
}

void crypt_decrypt_cbc(const uint8_t *key, const uint8_t *iv, uint8_t *buf, size_t len)
{
    const struct nettle_cipher *n = lib.ciphers[CRYPT_AES_256];
    void *ctx = schedule(n, n->set_decrypt_key, key);
    uint8_t at[16];

    memcpy(at, iv, sizeof(at));
    lib.cbc_decrypt(ctx, n->decrypt, n->block_size, at, len, buf, buf);
    schedule_free(n, ctx);
}

#else

bool crypt_load(Error **errp)
{
    return error_set(errp, "Encryption is not built in");
}

/* Nobody gets here without having loaded the library. */
void crypt_hash(CryptHash h, const void *a, size_t a_len, const void *b, size_t b_len, uint8_t *out)
{
}

void crypt_pbkdf2(CryptHash h, const void *password, size_t password_len, const void *salt, size_t salt_len,
                  uint32_t iterations, uint8_t *out, size_t out_len)
{
}

Crypt *crypt_new(const CryptSpec *s, const uint8_t *key, Error **errp)
{
    error_set(errp, "Encryption is not built in");
    return NULL;
}

void crypt_free(Crypt *c)
{
}

void crypt_sectors(const Crypt *c, bool encrypt, uint64_t sector, void *buf, size_t len)
{
}

void crypt_decrypt_cbc(const uint8_t *key, const uint8_t *iv, uint8_t *buf, size_t len)
{
}
#endif
