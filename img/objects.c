/* objects.c: the tools' --object, see objects.h. */
#include "img/objects.h"

#include <string.h>
#include "qapi/authz.h"
#include "qapi/json.h"
#include "util/secret.h"

typedef struct ToolObject ToolObject;
struct ToolObject {
    ObjectConfig *config;
    TlsCreds *tls;
    ToolObject *next;
};

/* They live as long as the program. */
static ToolObject *objects;

static ToolObject *find(const char *id)
{
    ToolObject *o = objects;

    while (o && strcmp(o->config->id, id) != 0) {
        o = o->next;
    }
    return o;
}

static bool create_secret(const ObjectConfig *c, Error **errp)
{
    const SecretConfig *s = &c->u.secret;
    const SecretOptions o = { .data = s->data, .file = s->file, .base64 = s->format == SECRET_FORMAT_BASE64,
                              .keyid = s->keyid, .iv = s->iv };

    return secret_add(c->id, &o, errp);
}

static bool create(ToolObject *o, Error **errp)
{
    const ObjectConfig *c = o->config;
    const TlsCredsX509 *x = &c->u.tls_creds_x509;
    const TlsCredsPsk *psk = &c->u.tls_creds_psk;
    char *password = NULL;
    size_t password_len = 0;
    TlsCredsOptions t = { 0 };

    switch (c->qom_type) {
    case OBJECT_CONFIG_QOM_TYPE_AUTHZ_SIMPLE:
    case OBJECT_CONFIG_QOM_TYPE_AUTHZ_LIST:
        qapi_authz_add(c);
        return true;
    case OBJECT_CONFIG_QOM_TYPE_SECRET:
        return create_secret(c, errp);
    case OBJECT_CONFIG_QOM_TYPE_TLS_CREDS_X509:
        if (x->passwordid && !(password = secret_get(x->passwordid, &password_len, errp))) {
            return false;
        }
        t = (TlsCredsOptions){ .kind = TLS_X509, .server = x->endpoint == TLS_ENDPOINT_SERVER, .dir = x->dir,
                               .verify_peer = x->verify_peer, .priority = x->priority, .password = password };
        break;
    case OBJECT_CONFIG_QOM_TYPE_TLS_CREDS_PSK:
        t = (TlsCredsOptions){ .kind = TLS_PSK, .server = psk->endpoint == TLS_ENDPOINT_SERVER,
                               .dir = psk->dir,
                               .username = psk->username, .priority = psk->priority };
        break;
    case OBJECT_CONFIG_QOM_TYPE_TLS_CREDS_ANON:
        t = (TlsCredsOptions){ .kind = TLS_ANON, .priority = c->u.tls_creds_anon.priority,
                               .server = c->u.tls_creds_anon.endpoint == TLS_ENDPOINT_SERVER };
        break;
    default:
        return error_set(errp, "Invalid parameter '%s'", object_config_qom_type_name(c->qom_type));
    }
    o->tls = tls_creds_new(&t, errp);
    secret_wipe(password, password_len);
    return o->tls != NULL;
}

bool tool_object_add(const char *text, Error **errp)
{
    ObjectConfig *c = NULL;

    if (!qapi_opt_object(text, &c, errp)) {
        return false;
    }
    if (!c) {
        return error_set(errp, "--object help: see object-add in the reference of QMP");
    }
    if (find(c->id)) {
        error_set(errp, "attempt to add duplicate property '%s' to object (type 'container')", c->id);
        qapi_free_object_config(c);
        return false;
    }
    ToolObject *o = g_new0(ToolObject, 1);
    o->config = c;
    o->next = objects;
    objects = o;
    return create(o, errp);
}

TlsCreds *tool_object_tls(const char *id, bool server, Error **errp)
{
    const ToolObject *o = find(id);

    if (!o || !o->tls) {
        error_set(errp, "No TLS credentials with id '%s'", id);
    } else if (tls_creds_for_server(o->tls) != server) {
        error_set(errp, "Expecting TLS credentials with a %s endpoint", server ? "server" : "client");
    } else {
        return o->tls;
    }
    error_context(errp, "Failed to get TLS creds");
    return NULL;
}
