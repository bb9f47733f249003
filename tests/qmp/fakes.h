/* fakes.h: handlers of the commands that the tests of the QMP machinery use; each includes it once.  The
 * others have generated stubs (qapi/stubs.c), which fail. */
#ifndef TESTS_QMP_FAKES_H
#define TESTS_QMP_FAKES_H

#include <string.h>
#include "monitor/qmp.h"
#include "qapi/commands.h"
#include "qapi/events.h"

typedef struct Fakes {
    RunState state;
    unsigned calls;                /* of any handler */
    QmpPending *stopping;          /* a stop that has not been answered */
    bool hold_stop;                /* leave stops unanswered */
    char *device_add;              /* what the last device_add was given, as JSON */
    QmpSession *end_on_quit;       /* quit frees this */
} Fakes;

static Fakes fakes = { .state = RUN_STATE_RUNNING };

static inline unsigned fakes_state(void *arg)
{
    return fakes.state;
}

static void fakes_reset(void)
{
    g_free(fakes.device_add);
    fakes = (Fakes){ .state = RUN_STATE_RUNNING };
}

bool qmp_query_status(StatusInfo **ret, Error **errp)
{
    fakes.calls++;
    *ret = qapi_new_status_info();
    (*ret)->status = fakes.state;
    (*ret)->running = fakes.state == RUN_STATE_RUNNING;
    return true;
}

bool qmp_stop(QmpPending *pending, Error **errp)
{
    fakes.calls++;
    if (fakes.state == RUN_STATE_SHUTDOWN) {
        return error_set(errp, "nothing runs");
    }
    if (fakes.state == RUN_STATE_RUNNING) {
        fakes.state = RUN_STATE_PAUSED;
        qmp_event_stop();
    }
    if (fakes.hold_stop) {
        fakes.stopping = pending;
    } else {
        qmp_pending_done(pending, NULL);
    }
    return true;
}

bool qmp_cont(Error **errp)
{
    fakes.calls++;
    if (fakes.state == RUN_STATE_INMIGRATE) {
        return error_set_class(errp, ERROR_MIGRATION_EXPECTED, "Migration is expected");
    }
    fakes.state = RUN_STATE_RUNNING;
    qmp_event_resume();
    return true;
}

bool qmp_quit(Error **errp)
{
    fakes.calls++;
    qmp_event_shutdown(false, SHUTDOWN_CAUSE_HOST_QMP_QUIT);
    qmp_session_free(fakes.end_on_quit);
    return true;
}

bool qmp_system_reset(Error **errp)
{
    fakes.calls++;
    qmp_event_reset(false, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET);
    return true;
}

bool qmp_system_powerdown(Error **errp)
{
    fakes.calls++;
    qmp_event_powerdown();
    return true;
}

bool qmp_system_wakeup(Error **errp)
{
    fakes.calls++;
    return fakes.state == RUN_STATE_SUSPENDED ||
        error_set(errp, "Unable to wake up: guest is not in suspended state");
}

bool qmp_query_name(NameInfo **ret, Error **errp)
{
    fakes.calls++;
    *ret = qapi_new_name_info();
    (*ret)->name = g_strdup("n\xc3\xa4me");
    return true;
}

bool qmp_query_kvm(KvmInfo **ret, Error **errp)
{
    fakes.calls++;
    *ret = qapi_new_kvm_info();
    (*ret)->present = true;
    return true;
}

bool qmp_query_cpus_fast(CpuInfoFastList *ret, Error **errp)
{
    fakes.calls++;
    for (unsigned i = 0; i < 2; i++) {
        CpuInfoFast *c = qapi_new_cpu_info_fast();

        c->cpu_index = i;
        c->thread_id = 1000 + i;
        c->qom_path = g_strdup_printf("/machine/unattached/device[%u]", i);
        c->target = g_strdup("x86_64");
        c->props = qapi_new_cpu_instance_properties();
        c->props->has_socket_id = c->props->has_core_id = c->props->has_thread_id = true;
        c->props->socket_id = i;
        qapi_append(ret, c);
    }
    return true;
}

bool qmp_query_iothreads(IOThreadInfoList *ret, Error **errp)
{
    fakes.calls++;
    return true;
}

bool qmp_query_chardev(ChardevInfoList *ret, Error **errp)
{
    ChardevInfo *c = qapi_new_chardev_info();

    fakes.calls++;
    c->label = g_strdup("charmonitor");
    c->filename = g_strdup("unix:/x,server=on");
    c->frontend_open = true;
    qapi_append(ret, c);
    return true;
}

bool qmp_device_add(const DeviceConfig *args, Error **errp)
{
    g_autoptr(GString) s = g_string_new(NULL);

    fakes.calls++;
    if (strcmp(args->driver, "nosuch") == 0) {
        return error_set(errp, "'%s' is not a valid device model name", args->driver);
    }
    qapi_write_device_config(args, s);
    g_free(fakes.device_add);
    fakes.device_add = g_strdup(s->str);
    return true;
}

bool qmp_device_del(const char *id, Error **errp)
{
    fakes.calls++;
    if (strcmp(id, "rng1") != 0) {
        return error_set_class(errp, ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", id);
    }
    qmp_event_device_deleted(id, "/machine/peripheral/rng1");
    return true;
}

bool qmp_object_add(const ObjectConfig *args, Error **errp)
{
    fakes.calls++;
    return strcmp(args->id, "taken") != 0 ||
        error_set(errp, "attempt to add duplicate property '%s' to object", args->id);
}

bool qmp_object_del(const char *id, Error **errp)
{
    fakes.calls++;
    return strcmp(id, "io1") == 0 || error_set(errp, "object '%s' not found", id);
}

bool qmp_ringbuf_write(const char *device, const char *data, DataFormat format, Error **errp)
{
    fakes.calls++;
    return strcmp(device, "r") == 0 || error_set(errp, "Device '%s' not found", device);
}

bool qmp_ringbuf_read(const char *device, int64_t size, DataFormat format, char **ret, Error **errp)
{
    fakes.calls++;
    *ret = g_strdup(format == DATA_FORMAT_BASE64 ? "eA==" : "x");
    return strcmp(device, "r") == 0 || error_set(errp, "Device '%s' not found", device);
}

#endif
