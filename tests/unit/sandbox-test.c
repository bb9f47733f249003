/* sandbox-test.c: what each kind of thread may do and may not, each tried in a process of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "system/sandbox.h"
#include "util/thread.h"

/* What reports and the leak check need is allowed in a build for sanitizers. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED false
#endif

#define OK 40                  /* exit status of an act that came back */

/* An act returns what to exit with. */
typedef int (*Act)(void);

typedef struct End {
    int status;                /* as waitpid() tells */
    char said[512];            /* on standard error */
} End;

static void run_act(void *arg)
{
    Act act = *(Act *)arg;

    _exit(act());
}

/* In a child: the sandbox as @option says, closed, and @act on a thread of that role. */
static void be_the_child(const char *option, ThreadRole role, Act act)
{
    char *argv[] = { (char *)"rhea", (char *)"-sandbox", (char *)option, NULL };
    CmdLine cmd = { 0 };
    Error *e = NULL;
    pthread_t t;

    thread_become_control();
    if (!cmdline_parse(&cmd, option != NULL ? 3 : 1, argv, &e) || !sandbox_begin(&cmd, &e) ||
        !sandbox_close(&e)) {
        error_report(e);
        _exit(1);
    }
    if (role == THREAD_CONTROL) {
        _exit(act());
    }
    if (!thread_start(&t, role, "tried", true, run_act, &act, &e)) {
        error_report(e);
        _exit(2);
    }
    thread_join(t);
    _exit(3);
}

static End try(const char *option, ThreadRole role, Act act)
{
    End end = { 0 };
    size_t n = 0;
    ssize_t got;
    int ends[2];
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        be_the_child(option, role, act);
    }
    close(ends[1]);
    while ((got = read(ends[0], end.said + n, sizeof(end.said) - 1 - n)) > 0) {
        n += got;
    }
    close(ends[0]);
    assert_int_equal(waitpid(child, &end.status, 0), child);
    return end;
}

static void allowed(const char *option, ThreadRole role, Act act)
{
    End e = try(option, role, act);

    if (!WIFEXITED(e.status) || WEXITSTATUS(e.status) != OK) {
        fail_msg("status %#x, said: %s", e.status, e.said);
    }
}

static void refused(const char *option, ThreadRole role, Act act, const char *says)
{
    End e = SANITIZED ? (End){ .status = SIGSYS } : try(option, role, act);

    if (SANITIZED) {
        return;
    }
    if (!WIFSIGNALED(e.status) || WTERMSIG(e.status) != SIGSYS || strstr(e.said, says) == NULL) {
        fail_msg("status %#x, said: %s, not: %s", e.status, e.said, says);
    }
}

/* --- acts --- */

static int open_a_file(void)
{
    return open("/dev/null", O_RDWR) >= 0 ? OK : 10;
}

static int make_a_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0) >= 0 ? OK : 10;
}

static int make_a_process(void)
{
    pid_t child = fork();

    if (child == 0) {
        _exit(0);
    }
    return child > 0 ? OK : 10;
}

static int execute(void)
{
    execl("/bin/true", "true", NULL);
    return 10;
}

static int become_somebody(void)
{
    syscall(SYS_setuid, 0);                    /* an error for most, but let through */
    return OK;
}

static int set_affinity(void)
{
    unsigned long mask = 1;

    return syscall(SYS_sched_setaffinity, 0, sizeof(mask), &mask) == 0 ? OK : 10;
}

static int make_code(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p != MAP_FAILED ? OK : errno == EACCES ? 11 : 10;
}

static int allocate(void)
{
    void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    memset(p, 1, 1 << 20);
    return munmap(p, 1 << 20) == 0 ? OK : 10;
}

static int make_a_doorbell(void)
{
    return eventfd(0, EFD_CLOEXEC) >= 0 ? OK : 10;
}

static void end_at_once(void *unused)
{
}

static int start_a_pool_thread(void)
{
    pthread_t t;

    if (!thread_start(&t, THREAD_POOL, "p", true, end_at_once, NULL, NULL)) {
        return 10;
    }
    thread_join(t);
    return OK;
}

static pthread_barrier_t all_there;

static void allocate_together(void *unused)
{
    g_free(g_malloc(1));
    pthread_barrier_wait(&all_there);
}

/* So many at a time that the C library counts processors, to know how many heaps are worth it. */
static int start_many_pool_threads(void)
{
    pthread_t t[24];

    pthread_barrier_init(&all_there, NULL, G_N_ELEMENTS(t));
    for (unsigned i = 0; i < G_N_ELEMENTS(t); i++) {
        if (!thread_start(&t[i], THREAD_POOL, "p", true, allocate_together, NULL, NULL)) {
            return 10;
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(t); i++) {
        thread_join(t[i]);
    }
    return OK;
}

static int trace_somebody(void)
{
    return syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0) == 0 ? OK : 10;
}

static int has_no_new_privileges(void)
{
    char text[4096] = { 0 };
    int fd = open("/proc/self/status", O_RDONLY);

    return read(fd, text, sizeof(text) - 1) > 0 && strstr(text, "\nNoNewPrivs:\t1\n") != NULL ? OK : 10;
}

/* Calls of the 32-bit ABI have other numbers: 20 is getpid there, writev here. */
static int call_as_32_bit(void)
{
    long ret = 20;

    __asm__ volatile("int $0x80" : "+a"(ret) : : "memory");
    return ret > 0 ? OK : 10;
}

static int write_system_file(void)
{
    return open("/proc/self/oom_score_adj", O_WRONLY) < 0 && errno == EACCES ? OK : 10;
}

static int make_a_folder(void)
{
    return syscall(SYS_mkdir, "/tmp/rhea-sandbox-test", 0700) == 0 ? OK : 10;
}

static int use_temporary_file(void)
{
    static const char path[] = "/tmp/rhea-sandbox-test-file";
    int fd = open(path, O_RDWR | O_CREAT, 0600);

    return fd >= 0 && unlink(path) == 0 ? OK : 10;
}

/* --- tests --- */

static void only_control_opens(void **state)
{
    allowed("on", THREAD_CONTROL, open_a_file);
    allowed("on", THREAD_CONTROL, make_a_socket);
    refused("on", THREAD_VCPU, open_a_file, "sandbox: thread 'tried' (vcpu) may not call openat with ");
    refused("on", THREAD_LOOP, open_a_file, "(loop) may not call openat");
    refused("on", THREAD_WORKER, open_a_file, "(worker) may not call openat");
    refused("on", THREAD_POOL, open_a_file, "(pool) may not call openat");
    refused("on", THREAD_VCPU, make_a_socket, "(vcpu) may not call socket");
    refused("on", THREAD_POOL, make_a_doorbell, "(pool) may not call eventfd2");
}

static void everybody_works(void **state)
{
    static const ThreadRole all[] = { THREAD_CONTROL, THREAD_VCPU, THREAD_LOOP, THREAD_WORKER, THREAD_POOL };

    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        allowed("on", all[i], allocate);
        allowed("on", all[i], start_a_pool_thread);
        allowed("on", all[i], start_many_pool_threads);
    }
    allowed("on", THREAD_CONTROL, has_no_new_privileges);
    allowed("on", THREAD_VCPU, make_a_doorbell);
}

static void nobody_leaves(void **state)
{
    static const ThreadRole all[] = { THREAD_CONTROL, THREAD_VCPU, THREAD_LOOP, THREAD_WORKER, THREAD_POOL };

    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        refused("on", all[i], make_a_process, "may not call clone");
        refused("on", all[i], execute, "may not call execve");
        refused("on", all[i], become_somebody, "may not call setuid");
        refused("on", all[i], set_affinity, "may not call sched_setaffinity");
        refused("on", all[i], trace_somebody, "may not call process_vm_readv");
        if (all[i] != THREAD_CONTROL) {
            refused("on", all[i], make_code, "may not call mmap");
        } else if (!SANITIZED) {
            /* Libraries that load others go on without. */
            assert_int_equal(WEXITSTATUS(try("on", all[i], make_code).status), 11);
        }
        refused("on", all[i], call_as_32_bit, "");
    }
}

static void options_allow(void **state)
{
    refused(NULL, THREAD_VCPU, open_a_file, "openat");             /* on is the default */
    allowed("on,spawn=allow", THREAD_CONTROL, make_a_process);
    refused("on,spawn=deny", THREAD_CONTROL, make_a_process, "clone");
    refused("on,spawn=allow", THREAD_VCPU, make_a_process, "clone");
    allowed("on,elevateprivileges=allow", THREAD_CONTROL, become_somebody);
    refused("on,elevateprivileges=children", THREAD_CONTROL, become_somebody, "setuid");
    refused("on,elevateprivileges=deny", THREAD_CONTROL, become_somebody, "setuid");
    allowed("on,resourcecontrol=allow", THREAD_CONTROL, set_affinity);
    refused("on,resourcecontrol=deny,obsolete=allow", THREAD_CONTROL, set_affinity, "sched_setaffinity");
}

static void off_is_off(void **state)
{
    allowed("off", THREAD_VCPU, open_a_file);
    allowed("off", THREAD_CONTROL, make_a_process);
    assert_int_equal(WEXITSTATUS(try("off", THREAD_CONTROL, has_no_new_privileges).status), 10);
}

static void files_are_locked(void **state)
{
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 1) {
        skip();
    }
    allowed("on", THREAD_CONTROL, write_system_file);
    allowed("on", THREAD_CONTROL, use_temporary_file);
    refused("on", THREAD_CONTROL, make_a_folder, "mkdir");
}

static void mistakes(void **state)
{
    End e = try("maybe", THREAD_CONTROL, open_a_file);

    assert_int_equal(WEXITSTATUS(e.status), 1);
    assert_non_null(strstr(e.said, "-sandbox maybe: Parameter 'enable' expects"));
    e = try("on,spawn=children", THREAD_CONTROL, open_a_file);
    assert_non_null(strstr(e.said, "Parameter 'spawn' does not accept value 'children'"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_control_opens), cmocka_unit_test(everybody_works),
        cmocka_unit_test(nobody_leaves), cmocka_unit_test(options_allow), cmocka_unit_test(off_is_off),
        cmocka_unit_test(files_are_locked), cmocka_unit_test(mistakes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
