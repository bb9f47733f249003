/* tls.c: GnuTLS, see tls.h.
 *
 * 1. The library is opened at run time: who uses no TLS does not load it. */
#include "util/tls.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "config.h"
#include "util/bytes.h"

#ifdef CONFIG_GNUTLS
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

/* F(name in gnutls.h without its prefix) */
#define FUNCTIONS(F) \
    F(init) F(deinit) F(handshake) F(record_send) F(record_recv) F(record_check_pending) \
    F(record_get_direction) \
    F(credentials_set) F(transport_set_int2) F(priority_init) F(priority_set) \
    F(priority_deinit) F(session_set_ptr) F(session_get_ptr) F(hex_decode2) \
    F(strerror) F(error_is_fatal) \
    F(certificate_allocate_credentials) F(certificate_free_credentials) \
    F(certificate_set_x509_trust_file) F(certificate_set_x509_crl_file) F(certificate_set_x509_key_file2) \
    F(certificate_set_known_dh_params) F(certificate_server_set_request) F(certificate_verify_peers3) \
    F(certificate_get_peers) F(x509_crt_init) F(x509_crt_deinit) F(x509_crt_import) F(x509_crt_get_dn2) \
    F(certificate_verification_status_print) F(server_name_set) \
    F(psk_allocate_server_credentials) F(psk_free_server_credentials) F(psk_set_server_credentials_function) \
    F(psk_set_server_known_dh_params) F(psk_allocate_client_credentials) F(psk_free_client_credentials) \
    F(psk_set_client_credentials) F(anon_allocate_server_credentials) F(anon_free_server_credentials) \
    F(anon_set_server_known_dh_params) F(anon_allocate_client_credentials) F(anon_free_client_credentials)

static struct {
#define FIELD(name) __typeof__(&gnutls_##name) name;
    FUNCTIONS(FIELD)
#undef FIELD
} lib;

struct TlsCreds {
    unsigned refs;             /* atomic */
    TlsKind kind;
    bool server, verify_peer;
    char *keys;                /* PSK, server: what that file says */
    gnutls_priority_t priority;
    union {
        gnutls_certificate_credentials_t x509;
        gnutls_psk_server_credentials_t psk_server;
        gnutls_psk_client_credentials_t psk_client;
        gnutls_anon_server_credentials_t anon_server;
        gnutls_anon_client_credentials_t anon_client;
        void *any;
    } u;
};

struct TlsSession {
    gnutls_session_t s;
    TlsCreds *creds;
    char *hostname;
};

static bool load(Error **errp)
{
    static const struct { const char *name; size_t at; } all[] = {
#define ENTRY(name) { "gnutls_" #name, offsetof(__typeof__(lib), name) },
        FUNCTIONS(ENTRY)
#undef ENTRY
    };
    static bool loaded;
    void *so;

    if (loaded) {
        return true;
    }
    so = dlopen("libgnutls.so.30", RTLD_NOW | RTLD_LOCAL);
    for (unsigned i = 0; so && i < ARRAY_LEN(all); i++) {
        void *f = dlsym(so, all[i].name);

        if (!f) {
            so = NULL;
        } else {
            memcpy((char *)&lib + all[i].at, &f, sizeof(f));
        }
    }
    loaded = so != NULL;
    return loaded || error_set(errp, "Cannot use TLS: %s", dlerror());
}

void tls_load_library(void)
{
    load(NULL);
}

/* --- credentials --- */

static bool is_there(const char *path)
{
    return access(path, R_OK) == 0;
}

static bool failed(int ret, const char *what, const char *path, Error **errp)
{
    return ret < 0 && !error_set(errp, "%s '%s': %s", what, path, lib.strerror(ret));
}

static bool open_x509(TlsCreds *c, const TlsCredsOptions *o, Error **errp)
{
    const char *side = o->server ? "server" : "client";
    g_autofree char *ca = g_build_filename(o->dir, "ca-cert.pem", NULL);
    g_autofree char *crl = g_build_filename(o->dir, "ca-crl.pem", NULL);
    g_autofree char *cert = g_strdup_printf("%s/%s-cert.pem", o->dir, side);
    g_autofree char *key = g_strdup_printf("%s/%s-key.pem", o->dir, side);

    lib.certificate_allocate_credentials(&c->u.x509);
    if (!is_there(ca)) {
        return error_set_errno(errp, errno, "Unable to access credentials %s", ca);
    }
    if (failed(lib.certificate_set_x509_trust_file(c->u.x509, ca, GNUTLS_X509_FMT_PEM),
               "Cannot load CA certificate", ca, errp)) {
        return false;
    }
    if (is_there(crl) && failed(lib.certificate_set_x509_crl_file(c->u.x509, crl, GNUTLS_X509_FMT_PEM),
                                "Cannot load CRL", crl, errp)) {
        return false;
    }
    if (o->server && (!is_there(cert) || !is_there(key))) {
        return error_set_errno(errp, errno, "Unable to access credentials %s", is_there(cert) ? key : cert);
    }
    if (is_there(cert) && is_there(key) &&
        failed(lib.certificate_set_x509_key_file2(c->u.x509, cert, key, GNUTLS_X509_FMT_PEM, o->password, 0),
               "Cannot load certificate & key", cert, errp)) {
        return false;
    }
    lib.certificate_set_known_dh_params(c->u.x509, GNUTLS_SEC_PARAM_MEDIUM);
    return true;
}

/* The key of the line "NAME:HEXKEY" in the text of a file of psktool(1); owned by the caller, or NULL. */
static char *find_psk(const char *text, const char *username)
{
    size_t name = strlen(username);

    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        size_t len = strcspn(line, "\n");

        if (len > name && line[name] == ':' && !memcmp(line, username, name)) {
            return g_strchomp(g_strndup(line + name + 1, len - name - 1));
        }
    }
    return NULL;
}

/* On a session's thread, which may open no file: so the keys are in memory. */
static int give_psk(gnutls_session_t s, const char *username, gnutls_datum_t *key)
{
    const TlsSession *session = lib.session_get_ptr(s);
    g_autofree char *hex = find_psk(session->creds->keys, username);
    gnutls_datum_t coded = { (unsigned char *)hex, hex ? (unsigned)strlen(hex) : 0 };

    int ret = hex && lib.hex_decode2(&coded, key) == 0 ? 0 : -1;

    if (hex) {
        explicit_bzero(hex, strlen(hex));
    }
    return ret;
}

static bool open_psk(TlsCreds *c, const TlsCredsOptions *o, Error **errp)
{
    g_autofree char *path = g_build_filename(o->dir, "keys.psk", NULL);
    const char *username = o->username ? o->username : "qemu";
    g_autoptr(GError) err = NULL;

    if (!is_there(path)) {
        return error_set_errno(errp, errno, "Unable to access credentials %s", path);
    }
    if (!g_file_get_contents(path, &c->keys, NULL, &err)) {
        return error_set(errp, "Cannot load PSK file: %s", err->message);
    }
    if (o->server) {
        lib.psk_allocate_server_credentials(&c->u.psk_server);
        lib.psk_set_server_known_dh_params(c->u.psk_server, GNUTLS_SEC_PARAM_MEDIUM);
        lib.psk_set_server_credentials_function(c->u.psk_server, give_psk);
        return true;
    }
    lib.psk_allocate_client_credentials(&c->u.psk_client);
    g_autofree char *hex = find_psk(c->keys, username);
    if (!hex) {
        return error_set(errp, "Username %s not found in '%s'", username, path);
    }
    gnutls_datum_t key = { (unsigned char *)hex, (unsigned)strlen(hex) };
    int ret = lib.psk_set_client_credentials(c->u.psk_client, username, &key, GNUTLS_PSK_KEY_HEX);
    explicit_bzero(hex, key.size);
    return !failed(ret, "Cannot use the key of", username, errp);
}

static bool open_anon(TlsCreds *c, const TlsCredsOptions *o)
{
    if (!o->server) {
        return lib.anon_allocate_client_credentials(&c->u.anon_client) == 0;
    }
    return lib.anon_allocate_server_credentials(&c->u.anon_server) == 0 &&
           lib.anon_set_server_known_dh_params(c->u.anon_server, GNUTLS_SEC_PARAM_MEDIUM) == 0;
}

TlsCreds *tls_creds_new(const TlsCredsOptions *o, Error **errp)
{
    if (!load(errp)) {
        return NULL;
    }
    if (o->kind != TLS_ANON && !o->dir) {
        error_set(errp, "Missing 'dir' property value");
        return NULL;
    }
    TlsCreds *c = g_new0(TlsCreds, 1);
    c->refs = 1;
    c->kind = o->kind;
    c->server = o->server;
    c->verify_peer = o->verify_peer;
    static const char *const more[] = { [TLS_X509] = "", [TLS_PSK] = ":+ECDHE-PSK:+DHE-PSK:+PSK",
                                        [TLS_ANON] = ":+ANON-ECDH:+ANON-DH:-VERS-TLS1.3" };
    g_autofree char *priority = g_strconcat(o->priority ? o->priority : "NORMAL", more[o->kind], NULL);
    int ret = lib.priority_init(&c->priority, priority, NULL);
    if (ret < 0) {
        error_set(errp, "Unable to set TLS session priority %s: %s", priority, lib.strerror(ret));
        c->priority = NULL;
        tls_creds_free(c);
        return NULL;
    }
    if (o->kind == TLS_X509 ? open_x509(c, o, errp)
        : o->kind == TLS_PSK ? open_psk(c, o, errp) : open_anon(c, o)) {
        return c;
    }
    tls_creds_free(c);
    return NULL;
}

TlsCreds *tls_creds_ref(TlsCreds *c)
{
    __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
    return c;
}

void tls_creds_free(TlsCreds *c)
{
    if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL)) {
        return;
    }
    if (c->u.any) {
        if (c->kind == TLS_X509) {
            lib.certificate_free_credentials(c->u.x509);
        } else if (c->kind == TLS_PSK && c->server) {
            lib.psk_free_server_credentials(c->u.psk_server);
        } else if (c->kind == TLS_PSK) {
            lib.psk_free_client_credentials(c->u.psk_client);
        } else if (c->server) {
            lib.anon_free_server_credentials(c->u.anon_server);
        } else {
            lib.anon_free_client_credentials(c->u.anon_client);
        }
    }
    if (c->priority) {
        lib.priority_deinit(c->priority);
    }
    if (c->keys) {
        explicit_bzero(c->keys, strlen(c->keys));
    }
    g_free(c->keys);
    g_free(c);
}

bool tls_creds_for_server(const TlsCreds *c)
{
    return c->server;
}

bool tls_creds_name_peer(const TlsCreds *c)
{
    return c->kind == TLS_X509 && (!c->server || c->verify_peer);
}

/* --- sessions --- */

TlsSession *tls_session_new(TlsCreds *c, int fd, const char *hostname, Error **errp)
{
    TlsSession *t = g_new0(TlsSession, 1);
    gnutls_credentials_type_t type = c->kind == TLS_X509 ? GNUTLS_CRD_CERTIFICATE
                                     : c->kind == TLS_PSK ? GNUTLS_CRD_PSK : GNUTLS_CRD_ANON;
    int ret = lib.init(&t->s, (c->server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK |
                       GNUTLS_NO_SIGNAL);

    t->creds = tls_creds_ref(c);
    t->hostname = g_strdup(hostname);
    if (ret == 0) {
        ret = lib.priority_set(t->s, c->priority);
    }
    if (ret == 0) {
        ret = lib.credentials_set(t->s, type, c->u.any);
    }
    if (ret < 0) {
        error_set(errp, "Cannot start TLS: %s", lib.strerror(ret));
        tls_session_free(t);
        return NULL;
    }
    if (c->server && c->kind == TLS_X509) {
        lib.certificate_server_set_request(t->s, c->verify_peer ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_IGNORE);
    }
    if (!c->server && hostname) {
        lib.server_name_set(t->s, GNUTLS_NAME_DNS, hostname, strlen(hostname));
    }
    lib.session_set_ptr(t->s, t);
    lib.transport_set_int2(t->s, fd, fd);
    return t;
}

void tls_session_free(TlsSession *s)
{
    if (s) {
        if (s->s) {
            lib.deinit(s->s);
        }
        tls_creds_free(s->creds);
        g_free(s->hostname);
        g_free(s);
    }
}

static int verify(TlsSession *s, Error **errp)
{
    const TlsCreds *c = s->creds;
    gnutls_datum_t text = { 0 };
    unsigned status = 0;

    if (!tls_creds_name_peer(c)) {
        return 0;
    }
    int ret = lib.certificate_verify_peers3(s->s, s->hostname, &status);
    if (ret < 0) {
        error_set(errp, "Verify failed: %s", lib.strerror(ret));
        return -EACCES;
    }
    if (status == 0) {
        return 0;
    }
    lib.certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
    error_set(errp, "Verify failed: %s", text.data ? (const char *)text.data : "no valid certificate");
    free(text.data);
    return -EACCES;
}

char *tls_peer_name(const TlsSession *s)
{
    unsigned n = 0;
    const gnutls_datum_t *all = tls_creds_name_peer(s->creds) ? lib.certificate_get_peers(s->s, &n) : NULL;
    gnutls_datum_t text = { 0 };
    gnutls_x509_crt_t crt;
    char *name = NULL;

    if (!all || n == 0 || lib.x509_crt_init(&crt) < 0) {
        return NULL;
    }
    if (lib.x509_crt_import(crt, &all[0], GNUTLS_X509_FMT_DER) >= 0 &&
        lib.x509_crt_get_dn2(crt, &text) >= 0) {
        name = g_strndup((const char *)text.data, text.size);
    }
    free(text.data);
    lib.x509_crt_deinit(crt);
    return name;
}

int tls_handshake(TlsSession *s, Error **errp)
{
    int ret;

    do {
        ret = lib.handshake(s->s);
    } while (ret < 0 && ret != GNUTLS_E_AGAIN && !lib.error_is_fatal(ret));
    if (ret == GNUTLS_E_AGAIN) {
        return -EAGAIN;
    }
    if (ret < 0) {
        error_set(errp, "TLS handshake failed: %s", lib.strerror(ret));
        return -EIO;
    }
    return verify(s, errp);
}

bool tls_wants_write(const TlsSession *s)
{
    return lib.record_get_direction(s->s) == 1;
}

static ssize_t result(ssize_t ret)
{
    return ret >= 0 ? ret : ret == GNUTLS_E_AGAIN || ret == GNUTLS_E_INTERRUPTED ? -EAGAIN
           : ret == GNUTLS_E_PREMATURE_TERMINATION ? 0 : -EIO;
}

ssize_t tls_recv(TlsSession *s, void *buf, size_t n)
{
    return result(lib.record_recv(s->s, buf, n));
}

ssize_t tls_send(TlsSession *s, const void *buf, size_t n)
{
    return result(lib.record_send(s->s, buf, n));
}

size_t tls_pending(const TlsSession *s)
{
    return lib.record_check_pending(s->s);
}

#else

TlsCreds *tls_creds_new(const TlsCredsOptions *o, Error **errp)
{
    error_set(errp, "TLS is not supported in this build");
    return NULL;
}

void tls_load_library(void)
{
}

/* There are no credentials, so nobody gets here. */
TlsCreds *tls_creds_ref(TlsCreds *c)
{
    return c;
}

void tls_creds_free(TlsCreds *c)
{
}

bool tls_creds_for_server(const TlsCreds *c)
{
    return false;
}

bool tls_creds_name_peer(const TlsCreds *c)
{
    return false;
}

char *tls_peer_name(const TlsSession *s)
{
    return NULL;
}

TlsSession *tls_session_new(TlsCreds *c, int fd, const char *hostname, Error **errp)
{
    error_set(errp, "TLS is not supported in this build");
    return NULL;
}

void tls_session_free(TlsSession *s)
{
}

int tls_handshake(TlsSession *s, Error **errp)
{
    return -ENOTSUP;
}

bool tls_wants_write(const TlsSession *s)
{
    return false;
}

ssize_t tls_recv(TlsSession *s, void *buf, size_t n)
{
    return -ENOTSUP;
}

ssize_t tls_send(TlsSession *s, const void *buf, size_t n)
{
    return -ENOTSUP;
}

size_t tls_pending(const TlsSession *s)
{
    return 0;
}

#endif
