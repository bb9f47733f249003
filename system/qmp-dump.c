/* qmp-dump.c: the commands about dumps: arguments, files, run states; debug/dump.c does the work.
 *
 *   command --(stop, if it ran)--> stopped --> dump's thread --> ended --(cont, if it ran)--> reply
 *
 * 1. One at a time.  From the command to its end the machine cannot be started. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "core/machine.h"
#include "debug/dump.h"
#include "qapi/commands.h"
#include "qapi/events.h"
#include "system/runstate.h"
#include "util/fault.h"
#include "util/fdset.h"

#define BUSY "There is a dump in process, please wait."

static struct {
    bool busy;
    bool resume;               /* it ran before */
    DumpRequest req;
    QmpPending *pending;       /* NULL: the reply was sent (detach) */
    bool detach;
    Post quiesced;
} dump;

static DumpQueryResult result_now(void)
{
    static const DumpStatus names[] = {
        [DUMP_NONE] = DUMP_STATUS_NONE, [DUMP_ACTIVE] = DUMP_STATUS_ACTIVE,
        [DUMP_COMPLETED] = DUMP_STATUS_COMPLETED, [DUMP_FAILED] = DUMP_STATUS_FAILED,
    };
    DumpProgress p = dump_progress();

    return (DumpQueryResult){ .status = names[p.state], .completed = p.completed, .total = p.total };
}

static void reply(Error *take_err)
{
    QmpPending *pending = dump.pending;

    dump.pending = NULL;
    if (pending != NULL) {
        qmp_pending_done(pending, take_err);
    } else {
        error_free(take_err);
    }
}

static void go_on(void)
{
    dump.busy = false;
    runstate_hold(NULL);
    if (dump.resume && runstate() == RUN_STATE_SAVE_VM) {
        runstate_cont(NULL);
    }
}

static void ended(void *arg, const Error *err)
{
    DumpQueryResult r = result_now();
    Error *copy = NULL;

    qmp_event_dump_completed(&r, err != NULL ? error_text(err) : NULL);
    go_on();
    if (err != NULL) {
        error_set(&copy, "%s", error_text(err));
    }
    reply(copy);
}

static void stopped(void *arg)
{
    Error *err = NULL;

    if (dump_start(&dump.req, ended, NULL, &err)) {
        if (dump.detach) {
            reply(NULL);
        }
        return;
    }
    close(dump.req.fd);
    go_on();
    reply(err);
}

static void quiesced(Post *p)
{
    stopped(NULL);
}

/* --- arguments --- */

static bool check_range(bool has_begin, int64_t begin, bool has_length, int64_t length, Error **errp)
{
    if (has_begin && !has_length) {
        return error_set(errp, "Parameter 'length' is missing");
    }
    if (has_length && !has_begin) {
        return error_set(errp, "Parameter 'begin' is missing");
    }
    if (has_begin && begin < 0) {
        return error_set(errp, "Invalid parameter 'begin'");
    }
    if (has_length && (length <= 0 || length > INT64_MAX - begin)) {
        return error_set(errp, "Invalid parameter 'length'");
    }
    return true;
}

static bool choose_format(DumpGuestMemoryFormat format, bool restricted, Error **errp)
{
    static const DumpFormat formats[] = {
        [DUMP_GUEST_MEMORY_FORMAT_ELF] = DUMP_ELF, [DUMP_GUEST_MEMORY_FORMAT_KDUMP_ZLIB] = DUMP_ZLIB,
        [DUMP_GUEST_MEMORY_FORMAT_KDUMP_LZO] = DUMP_LZO,
        [DUMP_GUEST_MEMORY_FORMAT_KDUMP_SNAPPY] = DUMP_SNAPPY,
        [DUMP_GUEST_MEMORY_FORMAT_WIN_DMP] = DUMP_FORMATS,
    };

    dump.req.format = formats[format];
    if (dump.req.format != DUMP_ELF && restricted) {
        return error_set(errp, "%s format doesn't support paging or filter",
                         dump.req.format == DUMP_FORMATS ? "win-dmp" : "kdump-compressed");
    }
    return (dump.req.format != DUMP_FORMATS && dump_has_format(dump.req.format)) ||
           error_set(errp, "%s is not available now", dump_guest_memory_format_name(format));
}

static bool open_file(const char *protocol, Error **errp)
{
    const char *rest;

    if (g_str_has_prefix(protocol, "fd:")) {
        rest = protocol + 3;
        dump.req.fd = fd_name_take(rest);
        return dump.req.fd >= 0 || error_set(errp, "File descriptor named '%s' has not been found", rest);
    }
    if (!g_str_has_prefix(protocol, "file:")) {
        return error_set(errp, "Invalid parameter 'protocol'");
    }
    rest = protocol + 5;
    dump.req.fd = FAULT("dump-open") ? (errno = EMFILE, -1)
                                     : open(rest, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK,
                                            0400);
    return dump.req.fd >= 0 || error_set_errno(errp, errno, "Could not open '%s'", rest);
}

bool qmp_dump_guest_memory(bool paging, const char *protocol, bool has_detach, bool detach, bool has_begin,
                           int64_t begin, bool has_length, int64_t length, bool has_format,
                           DumpGuestMemoryFormat format, QmpPending *pending, Error **errp)
{
    if (dump.busy) {
        return error_set(errp, BUSY);
    }
    if (!check_range(has_begin, begin, has_length, length, errp) ||
        !choose_format(has_format ? format : DUMP_GUEST_MEMORY_FORMAT_ELF, paging || has_begin, errp) ||
        !open_file(protocol, errp)) {
        return false;
    }
    dump.req.paging = paging;
    dump.req.has_range = has_begin;
    dump.req.begin = begin;
    dump.req.length = length;
    dump.busy = true;
    dump.pending = pending;
    dump.detach = has_detach && detach;
    dump.resume = runstate_running();
    runstate_hold(BUSY);
    if (dump.resume) {
        runstate_stop(RUN_STATE_SAVE_VM, stopped, NULL);
    } else {
        dump.quiesced.run = quiesced;
        machine_quiesce(&dump.quiesced);
    }
    return true;
}

bool qmp_query_dump(DumpQueryResult **ret, Error **errp)
{
    *ret = qapi_new_dump_query_result();
    **ret = result_now();
    return true;
}

bool qmp_query_dump_guest_memory_capability(DumpGuestMemoryCapability **ret, Error **errp)
{
    static const struct {
        DumpFormat format;
        DumpGuestMemoryFormat name;
    } all[] = {
        { DUMP_ELF, DUMP_GUEST_MEMORY_FORMAT_ELF }, { DUMP_ZLIB, DUMP_GUEST_MEMORY_FORMAT_KDUMP_ZLIB },
        { DUMP_LZO, DUMP_GUEST_MEMORY_FORMAT_KDUMP_LZO },
        { DUMP_SNAPPY, DUMP_GUEST_MEMORY_FORMAT_KDUMP_SNAPPY },
    };

    *ret = qapi_new_dump_guest_memory_capability();
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        if (dump_has_format(all[i].format)) {
            qapi_append(&(*ret)->formats, all[i].name);
        }
    }
    return true;
}
