/* secret.c: the secret objects, see secret.h. */
#include "util/secret.h"

#include <string.h>
#include "util/crypt.h"
#include "util/lock.h"
#include "util/thread.h"

#define BASE64 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n"
#define KEY_SIZE 32
#define BLOCK 16

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
    g_autofree uint8_t *bytes = g_base64_decode(text, &got);

    if (text[strspn(text, BASE64)] != '\0' || (got == 0 && *text != '\0')) {
        return error_set(errp, "Base64 data contains invalid characters");
    }
    *out = g_malloc0(got + 1);
    memcpy(*out, bytes, got);
    *len = got;
    return true;
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

static bool read_in(const SecretOptions *o, Secret *s, Error **errp)
{
    g_autoptr(GError) err = NULL;
    g_autofree char *text = NULL;
    gsize len = 0;

    if ((o->data == NULL) == (o->file == NULL)) {
        return error_set(errp, o->data ? "'file' and 'data' are mutually exclusive"
                                       : "Either 'file' or 'data' must be provided");
    }
    if (o->file && !g_file_get_contents(o->file, &text, &len, &err)) {
        return error_set(errp, "Unable to read %s: %s", o->file, err->message);
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
