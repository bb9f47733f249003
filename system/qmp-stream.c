/* qmp-stream.c: QMP commands that make and remove character devices. */
#include <string.h>
#include "chardev/char.h"
#include "qapi/commands.h"

static void add_name(const char *name, void *arg)
{
    ChardevBackendInfo *i = qapi_new_chardev_backend_info();

    i->name = g_strdup(name);
    qapi_append((ChardevBackendInfoList *)arg, i);
}

bool qmp_query_chardev_backends(ChardevBackendInfoList *ret, Error **errp)
{
    chardev_each_backend(add_name, ret);
    return true;
}

/* The two forms differ in how they nest; the texts stay @from's. */
static void socket_config(ChardevSocket *to, const ChardevAddSocket *from)
{
    const SocketAddressLegacy *a = from->addr;

    to->server = from->server;
    to->wait = from->server && from->wait;
    to->nodelay = from->nodelay;
    to->delay = true;
    to->tight = true;
    to->telnet = from->telnet;
    to->reconnect = from->reconnect;
    switch (a->type) {
    case SOCKET_ADDRESS_LEGACY_TYPE_INET:
        to->host = a->u.inet.data->host;
        to->port = a->u.inet.data->port;
        to->to = a->u.inet.data->to;
        to->ipv4 = a->u.inet.data->ipv4;
        to->ipv6 = a->u.inet.data->ipv6;
        break;
    case SOCKET_ADDRESS_LEGACY_TYPE_UNIX:
        to->path = a->u.unix_.data->path;
        to->abstract = a->u.unix_.data->abstract;
        to->tight = a->u.unix_.data->tight;
        break;
    default:
        to->fd = a->u.fd.data->str;
        break;
    }
}

static const ChardevCommon *backend_config(ChardevConfig *to, const ChardevBackend *b)
{
    switch (b->type) {
    case CHARDEV_BACKEND_TYPE_FILE:
        to->backend = CHARDEV_CONFIG_BACKEND_FILE;
        to->u.file = (ChardevFile){ .path = b->u.file.data->out, .append = b->u.file.data->append,
                                    .input_path = b->u.file.data->in };
        return (const ChardevCommon *)b->u.file.data;
    case CHARDEV_BACKEND_TYPE_SERIAL:
        to->backend = CHARDEV_CONFIG_BACKEND_SERIAL;
        to->u.serial.path = b->u.serial.data->device;
        return (const ChardevCommon *)b->u.serial.data;
    case CHARDEV_BACKEND_TYPE_PIPE:
        to->backend = CHARDEV_CONFIG_BACKEND_PIPE;
        to->u.pipe.path = b->u.pipe.data->device;
        return (const ChardevCommon *)b->u.pipe.data;
    case CHARDEV_BACKEND_TYPE_SOCKET:
        to->backend = CHARDEV_CONFIG_BACKEND_SOCKET;
        socket_config(&to->u.socket, b->u.socket.data);
        return (const ChardevCommon *)b->u.socket.data;
    case CHARDEV_BACKEND_TYPE_PTY:
        to->backend = CHARDEV_CONFIG_BACKEND_PTY;
        return b->u.pty.data;
    case CHARDEV_BACKEND_TYPE_STDIO:
        to->backend = CHARDEV_CONFIG_BACKEND_STDIO;
        to->u.stdio.signal = b->u.stdio.data->signal;
        return (const ChardevCommon *)b->u.stdio.data;
    case CHARDEV_BACKEND_TYPE_RINGBUF:
        to->backend = CHARDEV_CONFIG_BACKEND_RINGBUF;
        to->u.ringbuf.size = b->u.ringbuf.data->size;
        return (const ChardevCommon *)b->u.ringbuf.data;
    default:
        to->backend = CHARDEV_CONFIG_BACKEND_NULL;
        return b->u.null.data;
    }
}

typedef struct Filename {
    const char *id;
    char *text;
} Filename;

static void find_filename(const char *label, const char *filename, bool frontend_open, void *arg)
{
    Filename *f = arg;

    if (strcmp(label, f->id) == 0) {
        f->text = g_strdup(filename);
    }
}

/* @make: chardev-add's or chardev-change's part. */
static bool make_chardev(const char *id, const ChardevBackend *backend,
                         bool (*make)(const ChardevConfig *c, Error **errp), ChardevReturn **ret,
                         Error **errp)
{
    ChardevConfig c = { .id = (char *)id };
    const ChardevCommon *common = backend_config(&c, backend);
    Filename f = { .id = id };

    c.logfile = common->logfile;
    c.logappend = common->logappend;
    if (!make(&c, errp)) {
        return false;
    }
    *ret = qapi_new_chardev_return();
    if (backend->type == CHARDEV_BACKEND_TYPE_PTY) {
        chardev_each(find_filename, &f);
        (*ret)->pty = g_strdup(f.text + (g_str_has_prefix(f.text, "pty:") ? strlen("pty:") : 0));
        g_free(f.text);
    }
    return true;
}

static bool make_new(const ChardevConfig *c, Error **errp)
{
    return chardev_new(c, errp) != NULL;
}

bool qmp_chardev_add(const char *id, const ChardevBackend *backend, ChardevReturn **ret, Error **errp)
{
    return make_chardev(id, backend, make_new, ret, errp);
}

bool qmp_chardev_change(const char *id, const ChardevBackend *backend, ChardevReturn **ret,
                        Error **errp)
{
    return make_chardev(id, backend, chardev_change, ret, errp);
}

static bool is_there(const char *id, Error **errp)
{
    return chardev_find(id) != NULL || error_set(errp, "Chardev '%s' not found", id);
}

bool qmp_chardev_remove(const char *id, Error **errp)
{
    return is_there(id, errp) && chardev_remove(id, errp);
}

bool qmp_chardev_send_break(const char *id, Error **errp)
{
    return is_there(id, errp) && chardev_send_break(id, errp);
}
