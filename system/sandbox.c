/* sandbox.c: seccomp filters for each kind of thread, and Landlock for control, see sandbox.h.
 *
 * 1. The filters are data, made of sandbox.policy at build time: no library, nothing to compute at start.
 * 2. A thread installs its filter before its function runs; control, which starts them, comes last.
 * 3. A call that is not allowed raises SIGSYS.  The handler writes one line and makes the call again, which
 *    ends the process, since a handler runs once.
 * 4. SECCOMP_FILTER_FLAG_SPEC_ALLOW: older kernels would otherwise slow every thread down against a side
 *    channel between sandboxes of one process, of which there are none. */
#include "system/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <termios.h>
#include <ucontext.h>
#include <unistd.h>
#include "qapi/types.h"
#include "system/process.h"
#include "util/bytes.h"
#include "util/epoch.h"
#include "util/thread.h"

/* What the C library gives clone() for a thread. */
#define THREAD_CLONE_FLAGS \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | \
     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

/* What makes a section part of a filter. */
typedef enum With { WITH_ROLE, WITH_OPTION, WITH_SANITIZER, WITH_USER } With;

typedef struct Section {
    const char *name;
    const struct sock_filter *code;
    uint16_t count;
    With with;
} Section;

typedef struct Role {
    const char *name;
    const uint8_t *sections;
    uint8_t count;
} Role;

enum { ROLE_VCPU, ROLE_LOOP, ROLE_WORKER, ROLE_POOL, ROLE_RECLAIM, ROLE_CONTROL, ROLE_HELPER, ROLE_NEW };

#include "system/sandbox-tables.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED false
#endif

#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (UINT64_C(1) << 14)        /* since ABI 3 */
#endif

#define FILTER_MAX 1024

static __thread uint8_t own_role = ROLE_NEW;   /* a thread that has only the filter of who started it */

static struct {
    bool on;
    bool allowed[SECTION_COUNT];
} box;

/* --- telling what was refused --- */

static char *put(char *at, const char *end, const char *text)
{
    while (*text != 0 && at < end) {
        *at++ = *text++;
    }
    return at;
}

static char *put_hex(char *at, const char *end, uint64_t v)
{
    char digits[20];
    unsigned n = sizeof(digits) - 1;

    digits[n] = 0;
    do {
        digits[--n] = "0123456789abcdef"[v & 15];
        v >>= 4;
    } while (v != 0);
    return put(put(at, end, "0x"), end, digits + n);
}

static unsigned role_of(ThreadRole r)
{
    switch (r) {
    case THREAD_CONTROL:
        return ROLE_CONTROL;
    case THREAD_LOOP:
        return ROLE_LOOP;
    case THREAD_VCPU:
        return ROLE_VCPU;
    case THREAD_WORKER:
        return ROLE_WORKER;
    default:
        return ROLE_POOL;
    }
}

/* Signal-safe: no stdio, no allocation. */
static void refused(int sig, siginfo_t *si, void *context)
{
    const greg_t *r = ((const ucontext_t *)context)->uc_mcontext.gregs;
    unsigned nr = si->si_syscall;
    char line[256], *at = line;
    const char *end = line + sizeof(line) - 1;

    at = put(at, end, program_invocation_short_name);
    at = put(at, end, ": sandbox: thread '");
    at = put(at, end, thread_name());
    at = put(at, end, "' (");
    at = put(at, end, own_role == ROLE_NEW ? "new" : roles[own_role].name);
    at = put(at, end, ") may not call ");
    if (nr < ARRAY_LEN(call_names) && call_names[nr] != NULL) {
        at = put(at, end, call_names[nr]);
    } else {
        at = put_hex(at, end, nr);
    }
    at = put(at, end, " with ");
    at = put_hex(at, end, r[REG_RDI]);
    at = put(at, end, ", ");
    at = put_hex(at, end, r[REG_RSI]);
    at = put(at, end, ", ");
    at = put_hex(at, end, r[REG_RDX]);
    *at++ = '\n';
    if (write(STDERR_FILENO, line, at - line) < 0) {
        /* nobody listens */
    }
    syscall(nr, r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]);
    _exit(128 + SIGSYS);
}

/* --- filters --- */

static unsigned add(struct sock_filter *f, unsigned n, const struct sock_filter *code, unsigned count)
{
    memcpy(f + n, code, count * sizeof(*code));
    return n + count;
}

static unsigned compose(const Role *r, struct sock_filter f[FILTER_MAX])
{
    static const struct sock_filter before[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    static const struct sock_filter after[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP) };
    unsigned n = add(f, 0, before, ARRAY_LEN(before));

    for (unsigned i = 0; i < r->count; i++) {
        const Section *s = &sections[r->sections[i]];
        n = add(f, n, s->code, s->count);
    }
    for (unsigned i = 0; i < SECTION_COUNT; i++) {
        With with = sections[i].with;
        if ((with == WITH_SANITIZER && SANITIZED) ||
            (with == WITH_USER && process_changes_user() && r != &roles[ROLE_HELPER]) ||
            (with == WITH_OPTION && box.allowed[i] && r == &roles[ROLE_CONTROL])) {
            n = add(f, n, sections[i].code, sections[i].count);
        }
    }
    return add(f, n, after, ARRAY_LEN(after));
}

static bool install(unsigned role)
{
    struct sock_filter f[FILTER_MAX];
    struct sock_fprog prog = { .len = compose(&roles[role], f), .filter = f };

    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &prog) == 0;
}

static bool narrow(unsigned role)
{
    own_role = role;
    return install(role);
}

/* Cannot fail where sandbox_begin() found the call to work, but for want of memory. */
static void narrow_thread(ThreadRole role)
{
    Error *err = NULL;

    if (!narrow(role_of(role))) {
        error_set_errno(&err, errno, "-sandbox: thread '%s'", thread_name());
        error_report(err);
        _exit(1);
    }
}

static void narrow_reclaim(EpochItem *unused)
{
    if (!narrow(ROLE_RECLAIM)) {
        _exit(1);
    }
}

/* --- Landlock --- */

/* Where control may not write, whoever it is. */
static bool is_systems(const char *name)
{
    static const char *const names[] = { "bin", "boot", "etc", "proc", "sbin", "sys", "usr" };

    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return g_str_has_prefix(name, "lib");
}

static void grant_fd(int ruleset, int fd, uint64_t rights)
{
    struct landlock_path_beneath_attr a = { .allowed_access = rights, .parent_fd = fd };

    syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &a, 0);
}

static void grant(int ruleset, const char *path, uint64_t rights)
{
    int fd = open(path, O_PATH | O_CLOEXEC);

    if (fd >= 0) {
        grant_fd(ruleset, fd, rights);
        close(fd);
    }
}

enum {
    FILE_READS = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
    FILE_WRITES = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                  LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK,
    FILE_NEVER = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_DIR |
                 LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                 LANDLOCK_ACCESS_FS_MAKE_SYM,
};

/* The folders and files of "/", but for the system's. */
static bool grant_writes(int ruleset, uint64_t writes, Error **errp)
{
    g_autoptr(GDir) root = g_dir_open("/", 0, NULL);
    const char *name;

    if (root == NULL) {
        return error_set(errp, "-sandbox: cannot read the root folder");
    }
    while ((name = g_dir_read_name(root)) != NULL) {
        if (!is_systems(name)) {
            g_autofree char *path = g_strconcat("/", name, NULL);
            struct stat st;
            bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
            grant(ruleset, path, folder ? FILE_READS | writes : LANDLOCK_ACCESS_FS_WRITE_FILE);
        }
    }
    return true;
}

/* Control reads files anywhere and writes them outside of the system's folders; nothing is executed, no
 * folder or device node made.  The names of disks that QMP will add later are not known, so more cannot be
 * taken. */
static bool lock_files(Error **errp)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    uint64_t writes = FILE_WRITES | (abi >= 3 ? LANDLOCK_ACCESS_FS_TRUNCATE : 0);
    struct landlock_ruleset_attr attr = { .handled_access_fs = FILE_READS | writes | FILE_NEVER };
    int ruleset;

    if (abi < 1) {
        return true;                           /* an older kernel, or one told not to */
    }
    ruleset = syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    if (ruleset < 0) {
        return error_set_errno(errp, errno, "-sandbox: Landlock");
    }
    grant(ruleset, "/", process_changes_root() ? FILE_READS | writes : FILE_READS);
    if (process_pidfile_folder() >= 0) {
        grant_fd(ruleset, process_pidfile_folder(), LANDLOCK_ACCESS_FS_REMOVE_FILE);
    }
    if (!grant_writes(ruleset, writes, errp)) {
        return false;
    }
    if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0) {
        return error_set_errno(errp, errno, "-sandbox: Landlock");
    }
    close(ruleset);
    return true;
}

/* --- -sandbox --- */

static bool read_option(const CmdLine *cmd, Error **errp)
{
    const char *text = cmdline_last(cmd, OPT_SANDBOX);
    g_autoptr(SandboxConfig) s = NULL;

    box.on = true;
    if (text == NULL) {
        return true;
    }
    if (!qapi_opt_sandbox(text, &s, errp)) {
        return error_context(errp, "-sandbox %s", text);
    }
    if (s == NULL) {
        return error_set(errp, "-sandbox %s: Parameter 'enable' expects 'on' or 'off'", text);
    }
    box.on = s->enable;
    box.allowed[SECTION_OBSOLETE] = s->has_obsolete && s->obsolete == ALLOW_DENY_ALLOW;
    box.allowed[SECTION_ELEVATEPRIVILEGES] =
        s->has_elevateprivileges && s->elevateprivileges == ALLOW_DENY_CHILDREN_ALLOW;
    box.allowed[SECTION_SPAWN] = s->has_spawn && s->spawn == ALLOW_DENY_ALLOW;
    box.allowed[SECTION_RESOURCECONTROL] = s->has_resourcecontrol && s->resourcecontrol == ALLOW_DENY_ALLOW;
    return true;
}

/* Frees enough of a heap that is not the first one for glibc to shrink it. */
static void *shrink_a_heap(void *arg)
{
    void *blocks[16];

    for (unsigned i = 0; i < ARRAY_LEN(blocks); i++) {
        blocks[i] = g_malloc(64 * KiB);
    }
    for (unsigned i = ARRAY_LEN(blocks); i-- > 0;) {
        g_free(blocks[i]);
    }
    return NULL;
}

/* glibc opens files, on whatever thread, and remembers what it read: when it first shrinks such a heap, and
 * for the number of processors, when threads want more arenas than eight.  That must be while files can be
 * opened. */
static void settle_heaps(void)
{
    pthread_t t;

    mallopt(M_ARENA_MAX, 8 * get_nprocs());    /* its own limit */
    if (pthread_create(&t, NULL, shrink_a_heap, NULL) == 0) {
        pthread_join(t, NULL);
    }
}

bool sandbox_begin(const CmdLine *cmd, Error **errp)
{
    struct sigaction act = { .sa_sigaction = refused, .sa_flags = SA_SIGINFO | SA_RESETHAND | SA_NODEFER };
    uint32_t action = SECCOMP_RET_TRAP;

    if (!read_option(cmd, errp)) {
        return false;
    }
    if (!box.on) {
        return true;
    }
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1l, 0l, 0l, 0l) < 0) {
        error_set_errno(errp, errno, "-sandbox on: the host's kernel cannot filter calls");
        return error_hint(errp, "-sandbox off runs the guest without protection");
    }
    settle_heaps();
    sigaction(SIGSYS, &act, NULL);
    thread_on_start(narrow_thread);
    return true;
}

bool sandbox_narrow_helper(void)
{
    return !box.on || install(ROLE_HELPER);    /* own_role is control's */
}

bool sandbox_is_on(void)
{
    return box.on;
}

bool sandbox_close(Error **errp)
{
    static EpochItem item;

    if (!box.on) {
        return true;
    }
    g_get_charset(NULL);                       /* reads a file, once; errno_text() needs it on any thread */
    epoch_defer(&item, narrow_reclaim);
    return lock_files(errp) &&
           (narrow(ROLE_CONTROL) || error_set_errno(errp, errno, "-sandbox: the control thread"));
}
