/* qmp-machine.c: QMP commands about the machine as a whole; devices are passed on. */
#include <string.h>
#include "chardev/char.h"
#include "core/accel.h"
#include "core/iothread.h"
#include "core/machine.h"
#include "qapi/commands.h"
#include "qapi/events.h"
#include "system/devices.h"
#include "system/qmp-machine.h"
#include "system/runstate.h"

bool qmp_query_status(StatusInfo **ret, Error **errp)
{
    *ret = qapi_new_status_info();
    (*ret)->running = runstate_running();
    (*ret)->status = runstate();
    return true;
}

static void stop_done(void *arg)
{
    qmp_pending_done(arg, NULL);
}

bool qmp_stop(QmpPending *pending, Error **errp)
{
    if (!runstate_running()) {
        qmp_pending_done(pending, NULL);
    } else {
        runstate_stop(RUN_STATE_PAUSED, stop_done, pending);
    }
    return true;
}

bool qmp_cont(Error **errp)
{
    return runstate_cont(errp);
}

bool qmp_set_action(const ActionConfig *args, Error **errp)
{
    run_policy_apply(runstate_policy(), args);
    return true;
}

bool qmp_watchdog_set_action(WatchdogAction action, Error **errp)
{
    runstate_policy()->watchdog = action;
    return true;
}

bool qmp_quit(Error **errp)
{
    runstate_quit(SHUTDOWN_CAUSE_HOST_QMP_QUIT, 0);
    return true;
}

bool qmp_system_reset(Error **errp)
{
    runstate_reset(SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET);
    return true;
}

bool qmp_system_powerdown(Error **errp)
{
    runstate_powerdown();
    return true;
}

bool qmp_system_wakeup(Error **errp)
{
    return runstate_wakeup(errp);
}

bool qmp_query_name(NameInfo **ret, Error **errp)
{
    *ret = qapi_new_name_info();
    (*ret)->name = machine() != NULL ? g_strdup(machine()->cfg.guest_name) : NULL;
    return true;
}

bool qmp_query_kvm(KvmInfo **ret, Error **errp)
{
    *ret = qapi_new_kvm_info();
    (*ret)->enabled = accel() != NULL && strcmp(accel()->name, "kvm") == 0;
    (*ret)->present = true;
    return true;
}

bool qmp_query_iothreads(IOThreadInfoList *ret, Error **errp)
{
    for (IoThread *t = iothread_first(); t != NULL; t = t->next) {
        IOThreadInfo *i = qapi_new_io_thread_info();
        i->id = g_strdup(t->id);
        i->thread_id = loop_thread_id(t->loop);
        i->poll_max_ns = t->poll_max_ns;
        i->poll_grow = t->poll_grow;
        i->poll_shrink = t->poll_shrink;
        i->aio_max_batch = t->aio_max_batch;
        qapi_append(ret, i);
    }
    return true;
}

bool qmp_device_add(const DeviceConfig *args, Error **errp)
{
    return devices_add(args, machine_was_reset(), errp) != NULL;
}

bool qmp_device_del(const char *id, Error **errp)
{
    return devices_del(id, errp);
}

static void add_chardev(const char *label, const char *filename, bool frontend_open, void *arg)
{
    ChardevInfo *c = qapi_new_chardev_info();

    c->label = g_strdup(label);
    c->filename = g_strdup(filename);
    c->frontend_open = frontend_open;
    qapi_append((ChardevInfoList *)arg, c);
}

bool qmp_query_chardev(ChardevInfoList *ret, Error **errp)
{
    chardev_each(add_chardev, ret);
    return true;
}

static bool find_ringbuf(const char *id, Chardev **c, Error **errp)
{
    *c = chardev_find(id);
    return *c != NULL || error_set(errp, "Device '%s' not found", id);
}

bool qmp_ringbuf_write(const char *device, const char *data, DataFormat format, Error **errp)
{
    g_autofree uint8_t *raw = NULL;
    size_t n = strlen(data);
    Chardev *c;

    if (!find_ringbuf(device, &c, errp)) {
        return false;
    }
    if (format == DATA_FORMAT_BASE64) {
        raw = g_base64_decode(data, &n);
    }
    return chardev_ringbuf_write(c, raw != NULL ? raw : (const uint8_t *)data, n, errp);
}

bool qmp_ringbuf_read(const char *device, int64_t size, DataFormat format, char **ret, Error **errp)
{
    g_autofree uint8_t *buf = g_malloc(size + 1);
    Chardev *c;
    ssize_t n;

    if (!find_ringbuf(device, &c, errp)) {
        return false;
    }
    n = chardev_ringbuf_read(c, buf, size, errp);
    if (n < 0) {
        return false;
    }
    *ret = format == DATA_FORMAT_BASE64 ? g_base64_encode(buf, n)
                                        : g_utf8_make_valid((char *)buf, n);
    return true;
}

/* --- events of devices --- */

static void device_deleted(const char *id, const char *path)
{
    qmp_event_device_deleted(id, path);
}

static void device_unplug_error(const char *id, const char *path)
{
    qmp_event_device_unplug_guest_error(id, path);
}

static void acpi_ost(const char *id, const char *slot_type, const char *slot, unsigned source,
                     unsigned status)
{
    AcpiOstInfo info = { .device = (char *)id, .slot = (char *)slot, .slot_type = (char *)slot_type,
                         .source = source, .status = status };

    qmp_event_acpi_device_ost(&info);
}

static void rtc_changed(int64_t offset_s)
{
    g_autofree char *path = NULL;

    for (Device *d = machine()->isa->first; d != NULL && path == NULL; d = d->bus_next) {
        path = strcmp(d->type->name, "mc146818rtc") == 0 ? device_path(d) : NULL;
    }
    qmp_event_rtc_change(offset_s, path != NULL ? path : "");
}

static void vserport(const char *id, bool open)
{
    qmp_event_vserport_change(id, open);
}

static void balloon_changed(uint64_t actual)
{
    qmp_event_balloon_change((int64_t)actual);
}

static void memory_size_changed(const Device *d, uint64_t size)
{
    g_autofree char *path = device_path(d);

    qmp_event_memory_device_size_change(d->parent == d->machine->peripheral ? d->id : NULL, size, path);
}

const MachineListener qmp_machine_listener = {
    .device_deleted = device_deleted, .device_unplug_error = device_unplug_error,
    .acpi_ost = acpi_ost, .rtc_changed = rtc_changed, .vserport = vserport,
    .balloon_changed = balloon_changed, .memory_size_changed = memory_size_changed,
};
