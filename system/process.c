/* process.c: the program as a process of its host, see process.h.
 *
 * 1. A daemon is the grandchild, in a session without a terminal; it keeps standard error until it is ready,
 *    so a late error is told where it was started.
 * 2. The pid file is locked for the life of the process and removed through a descriptor of its folder, which
 *    neither a change of folder nor of root spoils. */
#include "system/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "chardev/char.h"

static int parent_fd = -1;     /* the parent waits for a byte, the exit status */
static bool daemonized;

static struct {
    int fd, folder;
    char *name;
} pidfile = { -1, -1, NULL };

/* --- -daemonize --- */

static bool terminal_is_wanted(const CmdLine *cmd)
{
    return cmdline_has(cmd, OPT_NOGRAPHIC) && !cmdline_has(cmd, OPT_NODEFAULTS) &&
           !(cmdline_has(cmd, OPT_SERIAL) && cmdline_has(cmd, OPT_PARALLEL) &&
             cmdline_has(cmd, OPT_MONITOR));
}

static void G_GNUC_NORETURN wait_for_child(int fd, pid_t child)
{
    uint8_t status;
    ssize_t n;
    int how;

    do {
        n = read(fd, &status, 1);
    } while (n < 0 && errno == EINTR);
    while (waitpid(child, &how, 0) < 0 && errno == EINTR) {
    }
    if (n == 1) {
        _exit(status);
    }
    warn_report("-daemonize: the process in the background died before it was ready");
    _exit(1);
}

/* The first child leads a new session and ends; the second one can never get a terminal. */
static bool daemonize(Error **errp)
{
    pid_t child;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0) {
        return error_set_errno(errp, errno, "-daemonize: cannot create a pipe");
    }
    child = fork();
    if (child < 0) {
        return error_set_errno(errp, errno, "-daemonize: cannot create a process");
    }
    if (child > 0) {
        close(ends[1]);
        wait_for_child(ends[0], child);
    }
    setsid();
    child = fork();
    if (child < 0) {
        return error_set_errno(errp, errno, "-daemonize: cannot create a process");
    }
    if (child > 0) {
        _exit(0);
    }
    close(ends[0]);
    parent_fd = ends[1];
    daemonized = true;
    umask(027);
    return true;
}

bool process_begin(const CmdLine *cmd, Error **errp)
{
    if (!cmdline_has(cmd, OPT_DAEMONIZE)) {
        return true;
    }
    if (terminal_is_wanted(cmd)) {
        return error_set(errp, "-nographic cannot be used with -daemonize");
    }
    chardev_refuse_stdio("-daemonize");
    return daemonize(errp);
}

int process_end(int status)
{
    if (parent_fd >= 0) {
        uint8_t byte = status;
        if (write(parent_fd, &byte, 1) != 1) {
            /* the parent was killed, and nobody else wants to know */
        }
        close(parent_fd);
        parent_fd = -1;
    }
    return status;
}

static bool leave_terminal(Error **errp)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0 || chdir("/") < 0) {
        return error_set_errno(errp, errno, "-daemonize: not possible to %s",
                               null < 0 ? "open '/dev/null'" : "chdir to /");
    }
    process_end(0);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        dup2(null, fd);
    }
    close(null);
    return true;
}

bool process_ready(Error **errp)
{
    return !daemonized || leave_terminal(errp);
}

/* --- -pidfile --- */

static void remove_pidfile(void)
{
    struct stat ours, there;

    if (fstat(pidfile.fd, &ours) == 0 && fstatat(pidfile.folder, pidfile.name, &there, 0) == 0 &&
        ours.st_dev == there.st_dev && ours.st_ino == there.st_ino) {
        unlinkat(pidfile.folder, pidfile.name, 0);
    }
}

/* Opens and locks the file that has the name; whoever held it before may have removed it meanwhile. */
static int open_locked(const char *path, const char **what)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    for (;;) {
        struct stat held, there;
        int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

        *what = "";
        if (fd < 0 || fstat(fd, &held) < 0) {
            return -1;
        }
        *what = ": cannot lock it";
        if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
            return -1;
        }
        if (stat(path, &there) == 0 && there.st_dev == held.st_dev && there.st_ino == held.st_ino) {
            return fd;
        }
        close(fd);
    }
}

bool process_hold_pidfile(const CmdLine *cmd, Error **errp)
{
    const char *path = cmdline_last(cmd, OPT_PIDFILE), *what;
    g_autofree char *folder = path != NULL ? g_path_get_dirname(path) : NULL;

    if (path == NULL) {
        return true;
    }
    pidfile.fd = open_locked(path, &what);
    if (pidfile.fd < 0) {
        return error_set_errno(errp, errno, "-pidfile: cannot create PID file '%s'%s", path, what);
    }
    pidfile.folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    pidfile.name = g_path_get_basename(path);
    atexit(remove_pidfile);
    if (pidfile.folder < 0 || ftruncate(pidfile.fd, 0) < 0 || dprintf(pidfile.fd, "%d\n", getpid()) < 0) {
        return error_set_errno(errp, errno, "-pidfile: cannot write PID file '%s'", path);
    }
    return true;
}

char *process_name_of(unsigned pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%u/comm", pid);
    char *name = NULL;

    if (pid == 0 || !g_file_get_contents(path, &name, NULL, NULL)) {
        return NULL;
    }
    return g_strchomp(name);
}
