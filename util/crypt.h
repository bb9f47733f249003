/* crypt.h: ciphers of disk sectors, hashes and key derivation, by libnettle, which is opened when first
 * needed.
 *
 * 1. A Crypt does not change once it is made: any number of threads use it at the same time.
 * 2. Names are those of the options cipher-alg, cipher-mode, ivgen-alg and hash-alg. */
#ifndef UTIL_CRYPT_H
#define UTIL_CRYPT_H

#include <stddef.h>
#include <stdint.h>
#include "util/context.h"
#include "util/error.h"

#define CRYPT_SECTOR 512u      /* what has an initial vector of its own */
#define CRYPT_KEY_MAX 64u      /* bytes of the longest key, that of XTS with 256 bits */
#define CRYPT_DIGEST_MAX 64u

typedef enum CryptHash {
    CRYPT_MD5, CRYPT_SHA1, CRYPT_SHA224, CRYPT_SHA256, CRYPT_SHA384, CRYPT_SHA512, CRYPT_RIPEMD160,
    CRYPT_HASHES,
} CryptHash;

typedef enum CryptCipher {
    CRYPT_AES_128, CRYPT_AES_192, CRYPT_AES_256, CRYPT_CAST5_128, CRYPT_SERPENT_128, CRYPT_SERPENT_192,
    CRYPT_SERPENT_256, CRYPT_TWOFISH_128, CRYPT_TWOFISH_192, CRYPT_TWOFISH_256,
    CRYPT_CIPHERS,
} CryptCipher;

typedef enum CryptMode { CRYPT_ECB, CRYPT_CBC, CRYPT_XTS, CRYPT_CTR, CRYPT_MODES } CryptMode;
typedef enum CryptIv { CRYPT_PLAIN, CRYPT_PLAIN64, CRYPT_ESSIV, CRYPT_IVS } CryptIv;

/* How sectors are encrypted. */
typedef struct CryptSpec {
    CryptCipher cipher;
    CryptMode mode;
    CryptIv iv;
    CryptHash iv_hash;         /* ESSIV: of the key */
} CryptSpec;

typedef struct Crypt Crypt;

extern const char *const crypt_hash_names[CRYPT_HASHES + 1];       /* NULL-terminated */
extern const char *const crypt_cipher_names[CRYPT_CIPHERS + 1];
extern const char *const crypt_mode_names[CRYPT_MODES + 1];
extern const char *const crypt_iv_names[CRYPT_IVS + 1];

/* The place of @name in @names, or -1. */
CTX_ANY int crypt_find(const char *const *names, const char *name);
/* "aes" for the three of AES, as LUKS writes it. */
CTX_ANY const char *crypt_family(CryptCipher c);

/* Opens the library; what follows needs that it has been. */
CTX_CONTROL bool crypt_load(Error **errp);

CTX_ANY size_t crypt_hash_size(CryptHash h);
/* The digest of @a and then @b (NULL: nothing). */
CTX_ANY void crypt_hash(CryptHash h, const void *a, size_t a_len, const void *b, size_t b_len, uint8_t *out);
/* PBKDF2 (RFC 8018) with HMAC of @h; takes as long as @iterations, at least 1, say. */
CTX_ANY void crypt_pbkdf2(CryptHash h, const void *password, size_t password_len, const void *salt,
                          size_t salt_len, uint32_t iterations, uint8_t *out, size_t out_len);

/* Bytes of a key: twice the cipher's for XTS. */
CTX_ANY size_t crypt_key_size(const CryptSpec *s);
/* Is the combination one that works? */
CTX_ANY bool crypt_possible(const CryptSpec *s, Error **errp);
/* With a key of crypt_key_size(); NULL: the combination does not work. */
CTX_ANY Crypt *crypt_new(const CryptSpec *s, const uint8_t *key, Error **errp);
CTX_ANY void crypt_free(Crypt *c);
/* @len bytes, whole sectors, at @buf, of which the first has number @sector; in place. */
CTX_ANY void crypt_sectors(const Crypt *c, bool encrypt, uint64_t sector, void *buf, size_t len);
/* AES-256-CBC without sectors: @len bytes, of whole blocks of 16; @key has 32 bytes. */
CTX_ANY void crypt_decrypt_cbc(const uint8_t *key, const uint8_t *iv, uint8_t *buf, size_t len);

/* Bytes nobody can guess. */
CTX_ANY bool crypt_random(void *out, size_t len, Error **errp);

#endif
