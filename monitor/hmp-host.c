/* hmp-host.c: commands that no QMP command stands for: the program itself does them (HmpHost). */
#include <string.h>
#include "monitor/hmp-int.h"

/* Prints what was wrong, as these commands do, without "Error: ". */
static void complain(Hmp *h, Error *take_err)
{
    hmp_printf(h, "%s\n", error_text(take_err));
    error_free(take_err);
}

HMP_RUN(hmp_mouse_set)
{
    const HmpHost *host = hmp_host(h);
    Error *err = NULL;

    if (host != NULL && !host->mouse_set(hmp_int(a, "index", 0), &err)) {
        complain(h, err);
    }
}

HMP_RUN(hmp_gdbserver)
{
    const HmpHost *host = hmp_host(h);
    const char *device = hmp_str(a, "device");
    Error *err = NULL;

    device = device != NULL ? device : "tcp::1234";
    if (host == NULL) {
        return;
    }
    if (!host->gdbserver(device, &err)) {
        complain(h, err);
        hmp_printf(h, "Could not open gdbserver on device '%s'\n", device);
    } else if (strcmp(device, "none") == 0) {
        hmp_printf(h, "Disabled gdbserver\n");
    } else {
        hmp_printf(h, "Waiting for gdb connection on device '%s'\n", device);
    }
}

HMP_RUN(hmp_boot_set)
{
    const HmpHost *host = hmp_host(h);
    const char *order = hmp_str(a, "bootdevice");
    Error *err = NULL;

    if (host == NULL) {
        return;
    }
    if (!host->boot_set(order, &err)) {
        complain(h, err);
    } else {
        hmp_printf(h, "boot device list now set to %s\n", order);
    }
}

/* The PCI address, which was once a SCSI controller's, says nothing any more. */
HMP_RUN(hmp_drive_add)
{
    const HmpHost *host = hmp_host(h);
    const char *opts = hmp_str(a, "opts");
    Error *err = NULL;

    if (hmp_flag(a, "node")) {
        hmp_option(h, QAPI_OPT_BLOCKDEV, QAPI_T_BLOCKDEV_CONFIG, opts, "blockdev-add");
    } else if (host != NULL && !host->drive_add(opts, &err)) {
        complain(h, err);
    } else if (host != NULL) {
        hmp_printf(h, "OK\n");
    }
}

/* A command about a drive that ends later. */
static void drive_later(Hmp *h, bool (*run)(const char *id, QmpPending *pending, Error **errp),
                        const char *id)
{
    Error *err = NULL;
    HmpRun *line;
    QmpPending *pending = hmp_later(h, &line, true);

    if (!run(id, pending, &err)) {
        qmp_pending_done(pending, err);
    }
    hmp_later_started(h, line);
}

HMP_RUN(hmp_drive_del)
{
    const HmpHost *host = hmp_host(h);

    if (host != NULL) {
        drive_later(h, host->drive_del, hmp_str(a, "id"));
    }
}

HMP_RUN(hmp_commit)
{
    const HmpHost *host = hmp_host(h);

    if (host != NULL) {
        drive_later(h, host->commit, hmp_str(a, "device"));
    }
}
