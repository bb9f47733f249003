/* qmp-fd.c: the commands about descriptors that clients hand over. */
#include <unistd.h>
#include "monitor/qmp.h"
#include "qapi/commands.h"
#include "util/fdset.h"

/* The descriptor that came with the command; -1: none, *errp is set. */
static int sent_fd(QmpSession *s, Error **errp)
{
    int fd = s != NULL ? qmp_session_take_fd(s) : -1;

    if (fd < 0) {
        error_set(errp, "No file descriptor supplied via SCM_RIGHTS");
    }
    return fd;
}

bool qmp_getfd(QmpSession *session, const char *fdname, Error **errp)
{
    int fd = sent_fd(session, errp);

    if (fd < 0) {
        return false;
    }
    if (g_ascii_isdigit(*fdname) || *fdname == '\0') {
        close(fd);
        return error_set(errp, "Parameter 'fdname' expects a name not starting with a digit");
    }
    fd_name_put(fdname, fd);
    return true;
}

bool qmp_closefd(const char *fdname, Error **errp)
{
    int fd = fd_name_take(fdname);

    if (fd < 0) {
        return error_set(errp, "File descriptor named '%s' not found", fdname);
    }
    close(fd);
    return true;
}

bool qmp_add_fd(QmpSession *session, bool has_fdset_id, int64_t fdset_id, const char *opaque,
                AddfdInfo **ret, Error **errp)
{
    int64_t set = has_fdset_id ? fdset_id : -1;
    int fd = sent_fd(session, errp);

    if (fd < 0 || !fdset_add(&set, fd, opaque, errp)) {
        return false;
    }
    *ret = qapi_new_addfd_info();
    (*ret)->fdset_id = set;
    (*ret)->fd = fd;
    return true;
}

bool qmp_remove_fd(int64_t fdset_id, bool has_fd, int64_t fd, Error **errp)
{
    return fdset_remove(fdset_id, has_fd ? fd : -1, errp);
}

static void add_info(int64_t set, int fd, const char *opaque, void *arg)
{
    FdsetInfoList *list = arg;
    FdsetInfo *i = list->n > 0 ? list->at[list->n - 1] : NULL;
    FdsetFdInfo *f = qapi_new_fdset_fd_info();

    if (i == NULL || i->fdset_id != set) {
        i = qapi_new_fdset_info();
        i->fdset_id = set;
        qapi_append(list, i);
    }
    f->fd = fd;
    f->opaque = g_strdup(opaque);
    qapi_append(&i->fds, f);
}

bool qmp_query_fdsets(FdsetInfoList *ret, Error **errp)
{
    fdset_each(add_info, ret);
    return true;
}
