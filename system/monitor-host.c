/* monitor-host.c: what human commands ask of the program that no QMP command does. */
#include "system/monitor-host.h"

#include "core/machine.h"
#include "monitor/hmp.h"
#include "system/config.h"
#include "system/drives.h"
#include "system/gdbstub.h"
#include "system/objects.h"
#include "system/qmp-input.h"
#include "system/streams.h"

static bool boot_set(const char *order, Error **errp)
{
    Machine *m = machine();

    if (m->type->empty) {
        return error_set(errp, "no function defined to set boot device list for this architecture");
    }
    if (!config_check_boot_order(order, errp)) {
        return false;
    }
    m->cfg.boot_once = NULL;
    m->cfg.boot_order = g_strdup(order);
    return true;
}

static const HmpHost host = {
    .mouse_set = input_mouse_set,
    .gdbserver = gdbstub_listen,
    .boot_set = boot_set,
    .drive_add = drives_hot_add,
    .drive_del = drives_hot_del,
    .commit = drives_commit,
    .object_help = objects_help,
    .chardev_help = streams_chardev_help,
};

void monitor_host_init(void)
{
    hmp_set_host(&host);
    gdbstub_set_monitor(streams_run_human);
}
