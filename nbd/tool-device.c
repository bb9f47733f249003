/* tool-device.c: rhea-nbd's --connect and --disconnect: exports as block devices of this kernel, see tool.h.
 *
 * 1. The kernel is a client as any other: it gets one end of a socket pair, over which its export was chosen
 *    without structured replies, which it does not know.
 * 2. A thread sits in NBD_DO_IT until the device is disconnected, or the connection ends. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/nbd.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "block/nbd-link.h"
#include "nbd/tool.h"
#include "util/clock.h"
#include "util/thread.h"

#define NEGOTIATE_NS (10 * NS_PER_SEC)
#define BLOCK 512

static int device_fd = -1;             /* one in a process */
static pthread_t device_thread;

static void serve_device(void *arg)
{
    ioctl(device_fd, NBD_DO_IT);
    ioctl(device_fd, NBD_CLEAR_QUE);
    ioctl(device_fd, NBD_CLEAR_SOCK);
}

/* Tells the kernel what is behind its end of @l. */
static bool set_up(const NbdLink *l, const char *path, Error **errp)
{
    fcntl(l->fd, F_SETFL, fcntl(l->fd, F_GETFL) & ~O_NONBLOCK);
    if (ioctl(device_fd, NBD_SET_SOCK, (unsigned long)l->fd) < 0) {
        return error_set_errno(errp, errno, "Failed to set NBD socket of %s", path);
    }
    if (ioctl(device_fd, NBD_SET_BLKSIZE, (unsigned long)BLOCK) < 0 ||
        ioctl(device_fd, NBD_SET_SIZE_BLOCKS, (unsigned long)(l->size / BLOCK)) < 0 ||
        ioctl(device_fd, NBD_SET_FLAGS, (unsigned long)l->flags) < 0) {
        error_set_errno(errp, errno, "Failed to set up %s", path);
        ioctl(device_fd, NBD_CLEAR_SOCK);
        return false;
    }
    return true;
}

bool tool_connect(NbdServer *s, const char *name, const char *path, Error **errp)
{
    NbdTarget t = { .name = (char *)(uintptr_t)name, .plain = true };
    NbdLink l;
    int ends[2];

    device_fd = open(path, O_RDWR | O_CLOEXEC);
    if (device_fd < 0) {
        return error_set_errno(errp, errno, "Failed to open %s", path);
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
        return error_set_errno(errp, errno, "Failed to make a socket pair");
    }
    nbd_server_adopt(s, ends[0]);
    if (!nbd_link_adopt(&l, ends[1], &t, clock_now(CLOCK_HOST) + NEGOTIATE_NS, errp)) {
        return false;
    }
    bool ok = set_up(&l, path, errp);
    close(l.fd);               /* the kernel has a reference of its own, if it took it */
    return ok && thread_start(&device_thread, THREAD_WORKER, "nbd-device", true, serve_device, NULL, errp);
}

void tool_connect_end(void)
{
    if (device_fd >= 0) {
        ioctl(device_fd, NBD_DISCONNECT);
        thread_join(device_thread);
        close(device_fd);
        device_fd = -1;
    }
}

bool tool_disconnect(const char *path, Error **errp)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        return error_set_errno(errp, errno, "Cannot open %s", path);
    }
    ioctl(fd, NBD_CLEAR_QUE);
    ioctl(fd, NBD_DISCONNECT);
    ioctl(fd, NBD_CLEAR_SOCK);
    printf("%s disconnected\n", path);
    close(fd);
    return true;
}
