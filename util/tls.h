/* tls.h: TLS sessions over a descriptor that does not block, by GnuTLS, which is opened when first needed.
 *
 * 1. A session is used by one thread at a time; credentials are made and freed on the control thread and
 *    shared by sessions. */
#ifndef UTIL_TLS_H
#define UTIL_TLS_H

#include <sys/types.h>
#include "util/context.h"
#include "util/error.h"

typedef struct TlsCreds TlsCreds;
typedef struct TlsSession TlsSession;

typedef enum TlsKind { TLS_X509, TLS_PSK, TLS_ANON } TlsKind;

typedef struct TlsCredsOptions {
    TlsKind kind;
    bool server;
    const char *dir;           /* the folder with the files; may be NULL for ANON */
    bool verify_peer;          /* X509: a server wants the client's certificate; a client always verifies */
    const char *username;      /* PSK, client: NULL: "qemu" */
    const char *priority;      /* GnuTLS priority string; NULL: "NORMAL" */
    const char *password;      /* X509: of an encrypted key; NULL: it is not */
} TlsCredsOptions;

/* Opens the library and reads the files that QEMU's tls-creds-* objects are made of (ca-cert.pem, ca-crl.pem,
 * server-cert.pem, server-key.pem, client-cert.pem, client-key.pem, dh-params.pem; keys.psk). */
CTX_CONTROL TlsCreds *tls_creds_new(const TlsCredsOptions *o, Error **errp);
/* One reference more, or less; NULL is no one. */
CTX_ANY TlsCreds *tls_creds_ref(TlsCreds *c);
CTX_ANY void tls_creds_free(TlsCreds *c);
CTX_ANY bool tls_creds_for_server(const TlsCreds *c);
/* True if who has shaken hands has a name that an authority vouches for. */
CTX_ANY bool tls_creds_name_peer(const TlsCreds *c);

/* Opens the library, before a sandbox forbids it; one that is missing is named when it is needed. */
CTX_CONTROL void tls_load_library(void);

/* A session over @fd, which is borrowed, on the side the credentials are for.  @hostname (client, x509): whom
 * the certificate must name; NULL: anybody that the authority vouches for. */
CTX_ANY TlsSession *tls_session_new(TlsCreds *c, int fd, const char *hostname, Error **errp);
/* May be NULL; sends nothing. */
CTX_ANY void tls_session_free(TlsSession *s);
/* 0: done, the peer is who it has to be; -EAGAIN: wait for the descriptor; else an error. */
CTX_ANY int tls_handshake(TlsSession *s, Error **errp);
/* The distinguished name in the peer's certificate, after the handshake; owned by the caller; NULL: none. */
CTX_ANY char *tls_peer_name(const TlsSession *s);
/* After -EAGAIN: for room to write, rather than for bytes. */
CTX_ANY bool tls_wants_write(const TlsSession *s);
/* As recv(2) and send(2) but for -errno; after -EAGAIN the same bytes are to be sent again. */
CTX_ANY ssize_t tls_recv(TlsSession *s, void *buf, size_t n);
CTX_ANY ssize_t tls_send(TlsSession *s, const void *buf, size_t n);
/* Bytes that were taken from the descriptor and not by tls_recv() yet. */
CTX_ANY size_t tls_pending(const TlsSession *s);

#endif
