/* shim.c: stands between a virtual machine monitor and libc's ioctl() (LD_PRELOAD), to compare what two
 * programs tell KVM about the processor.
 *
 * 1. Where KVM_GET_SUPPORTED_CPUID, KVM_GET_SUPPORTED_HV_CPUID or a feature MSR is read, the answer comes
 *    from the files that SHIM_CPUID, SHIM_HV and SHIM_MSRS name (arrays of struct kvm_cpuid_entry2 and
 *    kvm_msr_entry), so that any host can be played.
 * 2. What KVM_SET_CPUID2, KVM_SET_MSRS and KVM_ENABLE_CAP of the first vCPU say is written to SHIM_LOG as
 *    lines of text; KVM takes no register SHIM_REFUSE; the process ends with status 0 at the first KVM_RUN,
 *    or with its own. */
#include <dlfcn.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

typedef int (*Ioctl)(int fd, unsigned long request, ...);

static unsigned read_file(const char *env, void *out, unsigned size, unsigned max)
{
    const char *path = getenv(env);
    FILE *f = path ? fopen(path, "rb") : NULL;
    size_t n = f ? fread(out, size, max, f) : 0;

    if (f) {
        fclose(f);
    }
    return n;
}

static int give_cpuid(const char *env, struct kvm_cpuid2 *c, int real)
{
    static struct kvm_cpuid_entry2 entries[512];
    unsigned n = read_file(env, entries, sizeof(entries[0]), 512);

    if (!n) {
        return real;
    }
    if (n > c->nent) {
        errno = E2BIG;
        return -1;
    }
    memcpy(c->entries, entries, n * sizeof(entries[0]));
    c->nent = n;
    return 0;
}

static FILE *log_file(void)
{
    static FILE *f;

    if (!f) {
        f = fopen(getenv("SHIM_LOG"), "w");
    }
    return f;
}

static int is_feature(unsigned index)
{
    return index == 0x8b || index == 0x10a || index == 0xcf || index == 0x345 ||
           (index >= 0x480 && index <= 0x493);
}

/* The features among @m's registers, read on the system's descriptor. */
static int give_msrs(struct kvm_msrs *m, int real)
{
    static struct kvm_msr_entry known[256];
    unsigned n = read_file("SHIM_MSRS", known, sizeof(known[0]), 256), found = 0;

    for (unsigned i = 0; n && i < m->nmsrs; i++) {
        for (unsigned k = 0; k < n; k++) {
            if (known[k].index == m->entries[i].index) {
                m->entries[i].data = known[k].data;
                found++;
            }
        }
    }
    return found == m->nmsrs ? (int)found : real;
}

static int list_features(struct kvm_msr_list *l, int real)
{
    static struct kvm_msr_entry known[256];
    unsigned n = read_file("SHIM_MSRS", known, sizeof(known[0]), 256);

    if (!n) {
        return real;
    }
    if (l->nmsrs < n) {
        l->nmsrs = n;
        errno = E2BIG;
        return -1;
    }
    l->nmsrs = n;
    for (unsigned i = 0; i < n; i++) {
        l->indices[i] = known[i].index;
    }
    return 0;
}

static void log_cpuid(const struct kvm_cpuid2 *c)
{
    static int times;

    if (times++) {
        return;
    }
    for (unsigned i = 0; i < c->nent; i++) {
        const struct kvm_cpuid_entry2 *e = &c->entries[i];

        fprintf(log_file(), "cpuid %x %x %u %x %x %x %x\n", e->function, e->index, e->flags, e->eax, e->ebx,
                e->ecx, e->edx);
    }
    fflush(log_file());
}

static int refuses(unsigned index)
{
    const char *refused = getenv("SHIM_REFUSE");

    return refused && strtoul(refused, NULL, 16) == index;
}

/* Takes feature registers out of the guest's list, as the real KVM may not know them. */
static int log_msrs(Ioctl real, int fd, struct kvm_msrs *m)
{
    struct kvm_msrs *rest = malloc(sizeof(*m) + m->nmsrs * sizeof(m->entries[0]));
    unsigned all = m->nmsrs;

    rest->nmsrs = 0;
    for (unsigned i = 0; i < all; i++) {
        if (refuses(m->entries[i].index)) {
            fprintf(log_file(), "refused %x\n", m->entries[i].index);
            all = i;
        } else if (is_feature(m->entries[i].index)) {
            fprintf(log_file(), "msr %x %llx\n", m->entries[i].index, m->entries[i].data);
        } else {
            rest->entries[rest->nmsrs++] = m->entries[i];
        }
    }
    fflush(log_file());
    int n = rest->nmsrs ? real(fd, KVM_SET_MSRS, rest) : 0;
    free(rest);
    return n < 0 ? n : (int)all;
}

/* Capabilities of a played host. */
static int played_cap(unsigned long cap)
{
    static const unsigned long caps[] = {
        KVM_CAP_GET_MSR_FEATURES, KVM_CAP_HYPERV, KVM_CAP_HYPERV_SYNIC, KVM_CAP_HYPERV_SYNIC2,
        KVM_CAP_HYPERV_VP_INDEX, KVM_CAP_HYPERV_TIME, KVM_CAP_HYPERV_CPUID, KVM_CAP_SYS_HYPERV_CPUID,
        KVM_CAP_HYPERV_VAPIC, KVM_CAP_HYPERV_SPIN, KVM_CAP_HYPERV_DIRECT_TLBFLUSH,
        KVM_CAP_HYPERV_ENLIGHTENED_VMCS, KVM_CAP_HYPERV_ENFORCE_CPUID, KVM_CAP_MCE,
    };

    for (unsigned i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
        if (caps[i] == cap) {
            return 1;
        }
    }
    return 0;
}

__attribute__((visibility("default"))) int ioctl(int fd, unsigned long request, ...)
{
    static Ioctl real;
    va_list ap;

    va_start(ap, request);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    if (!real) {
        real = (Ioctl)dlsym(RTLD_NEXT, "ioctl");
    }
    switch ((unsigned)request) {                /* programs pass it as int */
    case KVM_SET_CPUID2:
        log_cpuid(arg);
        return 0;
    case KVM_SET_MSRS:
        return log_msrs(real, fd, arg);
    case KVM_GET_SUPPORTED_CPUID:
        return give_cpuid("SHIM_CPUID", arg, getenv("SHIM_CPUID") ? 0 : real(fd, request, arg));
    case KVM_GET_SUPPORTED_HV_CPUID:
        return give_cpuid("SHIM_HV", arg, getenv("SHIM_HV") ? 0 : real(fd, request, arg));
    case KVM_GET_MSRS:
        return give_msrs(arg, getenv("SHIM_MSRS") ? -2 : real(fd, request, arg)) == -2
                   ? real(fd, request, arg) : (int)((struct kvm_msrs *)arg)->nmsrs;
    case KVM_GET_MSR_FEATURE_INDEX_LIST:
        return list_features(arg, getenv("SHIM_MSRS") ? 0 : real(fd, request, arg));
    case KVM_CHECK_EXTENSION:
        if (getenv("SHIM_CAPS") && played_cap((unsigned long)arg)) {
            return (unsigned long)arg == KVM_CAP_MCE ? 32 : 1;
        }
        return real(fd, request, arg);
    case KVM_ENABLE_CAP: {
        const struct kvm_enable_cap *cap = arg;

        if (getenv("SHIM_CAPS") && cap->cap >= 80) {
            fprintf(log_file(), "cap %u %llx\n", cap->cap, cap->args[0]);
            if (played_cap(cap->cap)) {
                return 0;
            }
        }
        return real(fd, request, arg);
    }
    case KVM_RUN:
        _exit(0);
    }
    return real(fd, request, arg);
}
