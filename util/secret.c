/* secret.c: the secret objects, see secret.h. */
#include "util/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "util/crypt.h"
#include "util/lock.h"
#include "util/thread.h"

#define BASE64 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n"
#define KEY_SIZE 32
#define BLOCK 16
#define FILE_MAX (1u << 20)    /* bytes of a file, with a NUL */

typedef struct Secret Secret;
struct Secret {
    char *id;
    uint8_t *bytes;            /* @len of them, and a NUL */
    size_t len;
    Secret *next;
};

/* Ids are one name space of the process. */
static Lock secrets_lock = LOCK_INIT(RANK_LEAF, "secrets");
static Secret *secrets GUARDED_BY(secrets_lock);

void secret_wipe(char *secret, size_t len)
{
    if (secret) {
        explicit_bzero(secret, len);
        g_free(secret);
    }
}

/* Makes @out, with a NUL behind it, of @text in base64. */
static bool decode(const char *text, uint8_t **out, size_t *len, Error **errp)
{
    gsize got = 0;
    uint8_t *bytes = g_base64_decode(text, &got);
    bool ok = text[strspn(text, BASE64)] == '\0' && (got > 0 || *text == '\0');

    if (ok) {
        *out = g_malloc0(got + 1);
        memcpy(*out, bytes, got);
        *len = got;
    }
    secret_wipe((char *)bytes, got);
    return ok || error_set(errp, "Base64 data contains invalid characters");
}

static bool decrypt_with(const char *key, size_t key_len, const char *iv_text, Secret *s, Error **errp)
{
    g_autofree uint8_t *iv = NULL;
    size_t iv_len = 0;

    if (key_len != KEY_SIZE) {
        return error_set(errp, "Key should be %u bytes in length", KEY_SIZE);
    }
    if (!iv_text) {
        return error_set(errp, "IV is required to decrypt secret");
    }
    if (!decode(iv_text, &iv, &iv_len, errp)) {
        return false;
    }
    if (iv_len != BLOCK) {
        return error_set(errp, "IV should be %u bytes in length not %zu", BLOCK, iv_len);
    }
    if (s->len % BLOCK || s->len == 0) {
        return error_set(errp, "Length %zu must be a multiple of block size %u", s->len, BLOCK);
    }
    if (!crypt_load(errp)) {
        return false;
    }
    crypt_decrypt_cbc((const uint8_t *)key, iv, s->bytes, s->len);
    unsigned padding = s->bytes[s->len - 1];
    if (padding == 0 || padding > BLOCK) {
        return error_set(errp, "Incorrect number of padding bytes (%u) found on decrypted data", padding);
    }
    s->len -= padding;
    s->bytes[s->len] = 0;
    return true;
}

static bool decrypt(const SecretOptions *o, Secret *s, Error **errp)
{
    size_t len = 0;
    char *key = secret_get(o->keyid, &len, errp);
    bool ok = key && decrypt_with(key, len, o->iv, s, errp);

    secret_wipe(key, len);
    return ok;
}

/* All that @file has, and a NUL; also of a pipe. */
static bool read_file(const char *file, char **text, size_t *len, Error **errp)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    size_t got = 0;
    ssize_t n = fd < 0 ? -1 : 1;
    char *buf = g_malloc0(FILE_MAX);
    int err = errno;

    while (n > 0 && got < FILE_MAX) {
        n = read(fd, buf + got, FILE_MAX - got);
        err = errno;
        got += (size_t)MAX(n, 0);
        n = n < 0 && err == EINTR ? 1 : n;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (n == 0) {
        *text = g_malloc(got + 1);
        memcpy(*text, buf, got + 1);
        *len = got;
    }
    secret_wipe(buf, FILE_MAX);
    return n == 0 || (n < 0 ? error_set_errno(errp, err, "Unable to read %s", file)
                            : error_set(errp, "Unable to read %s: it has %u bytes or more", file, FILE_MAX));
}

static bool read_in(const SecretOptions *o, Secret *s, Error **errp)
{
    g_autofree char *text = NULL;
    size_t len = 0;

    if ((o->data == NULL) == (o->file == NULL)) {
        return error_set(errp, o->data ? "'file' and 'data' are mutually exclusive"
                                       : "Either 'file' or 'data' must be provided");
    }
    if (o->file && !read_file(o->file, &text, &len, errp)) {
        return false;
    }
    if (o->data) {
        text = g_strdup(o->data);
        len = strlen(text);
    }
    if (!o->base64) {
        s->bytes = (uint8_t *)g_steal_pointer(&text);
        s->len = len;
    } else {
        bool ok = decode(text, &s->bytes, &s->len, errp);

        explicit_bzero(text, len);
        if (!ok) {
            return false;
        }
    }
    return !o->keyid || decrypt(o, s, errp);
}

static void secret_free(Secret *s)
{
    secret_wipe((char *)s->bytes, s->len);
    g_free(s->id);
    g_free(s);
}

bool secret_add(const char *id, const SecretOptions *o, Error **errp)
{
    Secret *s = g_new0(Secret, 1);

    assert_control();
    s->id = g_strdup(id);
    if (!read_in(o, s, errp)) {
        secret_free(s);
        return false;
    }
    lock_take(&secrets_lock);
    s->next = secrets;
    secrets = s;
    lock_drop(&secrets_lock);
    return true;
}

void secret_remove(const char *id)
{
    assert_control();
    lock_take(&secrets_lock);
    Secret **at = &secrets;
    while (*at && strcmp((*at)->id, id) != 0) {
        at = &(*at)->next;
    }
    Secret *s = *at;
    if (s) {
        *at = s->next;
    }
    lock_drop(&secrets_lock);
    if (s) {
        secret_free(s);
    }
}

char *secret_get(const char *id, size_t *len, Error **errp)
{
    char *copy = NULL;

    lock_take(&secrets_lock);
    for (const Secret *s = secrets; s && !copy; s = s->next) {
        if (!strcmp(s->id, id)) {
            *len = s->len;
            copy = g_malloc(s->len + 1);
            memcpy(copy, s->bytes, s->len + 1);
        }
    }
    lock_drop(&secrets_lock);
    if (!copy) {
        error_set(errp, "No secret with id '%s'", id);
    }
    return copy;
}
