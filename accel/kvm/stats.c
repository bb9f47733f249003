/* stats.c: the kernel's binary statistics of the VM and of vCPUs (Documentation/virt/kvm/api.rst, 4.133).
 *
 * 1. A vCPU's descriptor is asked for between two of its instructions, once: its other ioctls wait for
 *    KVM_RUN to end.  Reading disturbs nobody.
 * 2. The last statistic comes first, as management tools know it. */
#include <string.h>
#include <unistd.h>
#include "accel/kvm/kvm.h"
#include "accel/kvm/kvm-int.h"

#define NAMES_MAX 256u             /* bytes of a name, and descriptors, that make sense */
#define DESCS_MAX 4096u

typedef struct Wanted {
    const StrList *names;
    StatsSchemaValueList *schema;
    StatsList *values;
} Wanted;

static bool read_at(int fd, void *buf, size_t n, uint64_t at)
{
    return pread(fd, buf, n, (off_t)at) == (ssize_t)n;
}

static bool is_wanted(const StrList *names, const char *name)
{
    for (size_t i = 0; names != NULL && i < names->n; i++) {
        if (strcmp(names->at[i], name) == 0) {
            return true;
        }
    }
    return names == NULL;
}

static void add_schema(StatsSchemaValueList *list, const struct kvm_stats_desc *d)
{
    static const StatsUnit units[] = { STATS_UNIT_BYTES, STATS_UNIT_SECONDS, STATS_UNIT_CYCLES,
                                       STATS_UNIT_BOOLEAN };
    unsigned unit = (d->flags & KVM_STATS_UNIT_MASK) >> KVM_STATS_UNIT_SHIFT;
    StatsSchemaValue *v = qapi_new_stats_schema_value();

    v->name = g_strdup(d->name);
    v->type = (d->flags & KVM_STATS_TYPE_MASK) >> KVM_STATS_TYPE_SHIFT;
    v->has_unit = unit > 0;
    v->unit = unit > 0 ? units[unit - 1] : 0;
    v->exponent = d->exponent;
    v->has_base = d->exponent != 0;
    v->base = (d->flags & KVM_STATS_BASE_MASK) == KVM_STATS_BASE_POW10 ? 10 : 2;
    v->has_bucket_size = v->type == STATS_TYPE_LINEAR_HISTOGRAM;
    v->bucket_size = d->bucket_size;
    qapi_append(list, v);
}

static bool add_value(StatsList *list, const struct kvm_stats_desc *d, int fd, uint64_t data)
{
    unsigned type = d->flags & KVM_STATS_TYPE_MASK;
    g_autofree uint64_t *n = g_new(uint64_t, d->size);

    if (!read_at(fd, n, d->size * sizeof(*n), data + d->offset)) {
        return false;
    }
    Stats *s = qapi_new_stats();

    s->name = g_strdup(d->name);
    if (type == KVM_STATS_TYPE_LINEAR_HIST || type == KVM_STATS_TYPE_LOG_HIST) {
        s->value = json_array();
        for (unsigned i = 0; i < d->size; i++) {
            json_array_append_new(s->value, json_integer((json_int_t)n[i]));
        }
    } else if ((d->flags & KVM_STATS_UNIT_MASK) == KVM_STATS_UNIT_BOOLEAN) {
        s->value = json_boolean(n[0] != 0);
    } else {
        s->value = json_integer((json_int_t)n[0]);
    }
    qapi_append(list, s);
    return true;
}

/* A kind that this program does not know is left out. */
static bool is_known(const struct kvm_stats_desc *d)
{
    return (d->flags & KVM_STATS_TYPE_MASK) <= KVM_STATS_TYPE_MAX &&
           (d->flags & KVM_STATS_UNIT_MASK) <= KVM_STATS_UNIT_MAX &&
           (d->flags & KVM_STATS_BASE_MASK) <= KVM_STATS_BASE_MAX && d->size > 0;
}

static bool read_stats(int fd, const Wanted *w, Error **errp)
{
    struct kvm_stats_header head;

    if (!read_at(fd, &head, sizeof(head), 0) || head.name_size == 0 || head.name_size > NAMES_MAX ||
        head.num_desc > DESCS_MAX) {
        return error_set(errp, "KVM stats: cannot read the header");
    }
    size_t stride = sizeof(struct kvm_stats_desc) + head.name_size;
    g_autofree uint8_t *descs = g_malloc(stride * head.num_desc);

    if (!read_at(fd, descs, stride * head.num_desc, head.desc_offset)) {
        return error_set(errp, "KVM stats: cannot read the descriptors");
    }
    for (unsigned i = head.num_desc; i > 0; i--) {
        struct kvm_stats_desc *d = (void *)(descs + stride * (i - 1));

        d->name[head.name_size - 1] = '\0';
        if (!is_known(d) || !is_wanted(w->names, d->name)) {
            continue;
        }
        if (w->schema != NULL) {
            add_schema(w->schema, d);
        }
        if (w->values != NULL && !add_value(w->values, d, fd, head.data_offset)) {
            return error_set(errp, "KVM stats: cannot read '%s'", d->name);
        }
    }
    return true;
}

static int get_fd(int fd)
{
    int got = ioctl(fd, KVM_GET_STATS_FD, NULL);

    return got < 0 ? -errno : got;
}

static void get_vcpu_fd(KvmVcpu *v, void *arg)
{
    v->stats_fd = get_fd(v->fd);
}

bool kvm_stats(int cpu, const StrList *names, StatsSchemaValueList *schema, StatsList *values, Error **errp)
{
    const Wanted w = { .names = names, .schema = schema, .values = values };
    KvmVcpu *v = cpu >= 0 ? kvm_vcpu_get((unsigned)cpu) : NULL;
    int *fd = v != NULL ? &v->stats_fd : &kvm_vm.stats_fd;

    if (cpu >= 0 && v == NULL) {
        return error_set(errp, "KVM stats: there is no vCPU %d", cpu);
    }
    if (*fd <= 0 && v != NULL) {
        kvm_vcpu_call(v, get_vcpu_fd, NULL);
    } else if (*fd <= 0) {
        *fd = get_fd(kvm_vm.fd);
    }
    if (*fd == -ENOTTY) {
        return true;                       /* Linux before 5.14 */
    }
    if (*fd < 0) {
        return error_set_errno(errp, -*fd, "KVM stats: the kernel does not tell them");
    }
    return read_stats(*fd, &w, errp);
}

void kvm_stats_close(int *fd)
{
    if (*fd > 0) {
        close(*fd);
    }
    *fd = 0;
}
