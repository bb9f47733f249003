/* process.c: the program as a process of its host, see process.h.
 *
 * 1. A daemon is the grandchild, in a session without a terminal; it keeps standard error until it is ready,
 *    so a late error is told where it was started.
 * 2. The pid file is locked for the life of the process and removed through a descriptor of its folder, which
 *    neither a change of folder nor of root spoils.
 * 3. Root folder and user change last, when all that the command line names is open. */
#include "system/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "chardev/char.h"
#include "qapi/types.h"
#include "system/sandbox.h"

#define HELPER_STACK (64 * 1024)

static int parent_fd = -1;     /* the parent waits for a byte, the exit status */
static bool daemonized;
static int null_fd = -1;       /* a daemon's new terminal */

static struct {
    int fd, folder;
    char *name;
} pidfile = { -1, -1, NULL };

static struct {
    char *root;                /* -chroot, or NULL */
    char *user;                /* as given to -runas, or NULL */
    bool by_number;
    uid_t uid;
    gid_t gid;
    bool async_teardown;
} run_with;

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

static bool open_null(Error **errp)
{
    if (null_fd < 0) {
        null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    }
    return null_fd >= 0 || error_set_errno(errp, errno, "-daemonize: cannot open /dev/null");
}

bool process_detach(Error **errp)
{
    if (!daemonized || !open_null(errp)) {
        return !daemonized;
    }
    process_ready();
    return true;
}

void process_ready(void)
{
    if (daemonized && null_fd >= 0) {
        process_end(0);
        for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
            dup2(null_fd, fd);
        }
        close(null_fd);
        null_fd = -1;
    }
}

/* --- -run-with, -runas, -chroot, -async-teardown --- */

static bool find_user(Error **errp)
{
    const struct passwd *p = getpwnam(run_with.user);
    unsigned uid, gid;
    int end = 0;

    if (p != NULL) {
        run_with.uid = p->pw_uid;
        run_with.gid = p->pw_gid;
        return true;
    }
    if (sscanf(run_with.user, "%u:%u%n", &uid, &gid, &end) == 2 && run_with.user[end] == 0 &&
        g_ascii_isdigit(run_with.user[0]) && uid < UINT32_MAX && gid < UINT32_MAX) {
        run_with.uid = uid;
        run_with.gid = gid;
        run_with.by_number = true;
        return true;
    }
    return error_set(errp, "-runas: User \"%s\" doesn't exist (and is not <uid>:<gid>)", run_with.user);
}

bool process_plan(const CmdLine *cmd, Error **errp)
{
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_RUN_WITH); i++) {
        g_autoptr(RunWithConfig) c = NULL;
        const char *text = cmdline_nth(cmd, OPT_RUN_WITH, i);

        if (!qapi_opt_run_with(text, &c, errp)) {
            return error_context(errp, "-run-with %s", text);
        }
        if (c != NULL) {
            run_with.root = c->chroot != NULL ? g_strdup(c->chroot) : run_with.root;
            run_with.user = c->user != NULL ? g_strdup(c->user) : run_with.user;
            run_with.async_teardown = c->async_teardown;
        }
    }
    if (cmdline_has(cmd, OPT_CHROOT)) {
        run_with.root = g_strdup(cmdline_last(cmd, OPT_CHROOT));
    }
    if (cmdline_has(cmd, OPT_RUNAS)) {
        run_with.user = g_strdup(cmdline_last(cmd, OPT_RUNAS));
    }
    run_with.async_teardown |= cmdline_has(cmd, OPT_ASYNC_TEARDOWN);
    return run_with.user == NULL || find_user(errp);
}

bool process_changes_root(void)
{
    return run_with.root != NULL;
}

bool process_changes_user(void)
{
    return run_with.user != NULL;
}

typedef struct Helper {
    pid_t process;
    char name[16];
} Helper;

/* Shares the process's memory and outlives it: then freeing guest RAM is this one's work, and who waits for
 * the process need not wait for that.  It shares thread-local storage too: no malloc(). */
static int helper(void *arg)
{
    const Helper *h = arg;
    sigset_t set;
    int sig;

    prctl(PR_SET_NAME, h->name);
    close_range(0, ~0u, 0);
    prctl(PR_SET_PDEATHSIG, SIGHUP);
    if (!sandbox_narrow_helper()) {
        return 1;
    }
    sigfillset(&set);
    sigdelset(&set, SIGKILL);
    while (getppid() == h->process) {
        sigwait(&set, &sig);
    }
    return 0;
}

static bool start_helper(Error **errp)
{
    static Helper h;
    char *stack = mmap(NULL, HELPER_STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    sigset_t all, old;
    pid_t pid;

    h.process = getpid();
    g_snprintf(h.name, sizeof(h.name), "cleanup/%d", h.process);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    pid = stack != MAP_FAILED ? clone(helper, stack + HELPER_STACK, CLONE_VM, &h) : -1;
    sigprocmask(SIG_SETMASK, &old, NULL);
    return pid > 0 || error_set_errno(errp, errno, "-run-with async-teardown=on: cannot create a process");
}

static bool change_root(Error **errp)
{
    return (chroot(run_with.root) == 0 && chdir("/") == 0) ||
           error_set_errno(errp, errno, "-chroot: cannot change the root folder to '%s'", run_with.root);
}

static bool change_user(Error **errp)
{
    int ret = run_with.by_number ? setgroups(1, &run_with.gid) : initgroups(run_with.user, run_with.gid);

    if (ret < 0 || setgid(run_with.gid) < 0 || setuid(run_with.uid) < 0) {
        return error_set_errno(errp, errno, "-runas: cannot become user '%s'", run_with.user);
    }
    return run_with.uid == 0 || setuid(0) < 0 || error_set(errp, "-runas: root can be had again");
}

bool process_settle(Error **errp)
{
    if (daemonized && (!open_null(errp) || chdir("/") < 0)) {
        return null_fd >= 0 && error_set_errno(errp, errno, "-daemonize: cannot change to /");
    }
    return (run_with.root == NULL || change_root(errp)) && (run_with.user == NULL || change_user(errp)) &&
           (!run_with.async_teardown || start_helper(errp));
}

bool process_lock_memory(Error **errp)
{
    return mlockall(MCL_CURRENT | MCL_FUTURE) == 0 ||
           error_set_errno(errp, errno, "-overcommit: mem-lock=on: locking memory failed");
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

int process_pidfile_folder(void)
{
    return pidfile.folder;
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
