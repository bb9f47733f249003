/* kvm.h: the accelerator on /dev/kvm, for system/ to choose, and its processor models, for QMP. */
#ifndef ACCEL_KVM_KVM_H
#define ACCEL_KVM_KVM_H

#include <jansson.h>
#include "core/accel.h"
#include "qapi/types.h"

extern const AccelOps kvm_accel;

/* Makes the types known whose properties -global changes, and programs ask for, also without a board. */
CTX_CONTROL void kvm_chips_register(void);

/* --- models (cpu-query.c) --- */

/* The models that -cpu takes and the names of features ("-cpu help"); owned by the caller. Asks no host. */
CTX_CONTROL char *kvm_cpu_help(void);

/* A name that -cpu takes. */
typedef struct KvmCpuName {
    char name[32];
    char alias_of[32];         /* the versioned name; "": none */
    const char *description;   /* model id; what base, host and max are */
    const char *note;          /* of a version, or NULL */
    bool moves;                /* an alias that other machine types may point elsewhere */
} KvmCpuName;

/* Every name, the last in the alphabet first, as query-cpu-definitions has them; a GArray of KvmCpuName,
 * owned by the caller. */
CTX_CONTROL GArray *kvm_cpu_names(void);
/* What the host lacks for model @name, as a new array of names; NULL: no host is known (qtest). */
CTX_CONTROL json_t *kvm_cpu_unavailable(const char *name);
/* The properties of model @name with @props (may be NULL) set: @full: all; else those that make up the
 * model, relative to base. New object, or NULL with the error set. */
CTX_CONTROL json_t *kvm_cpu_expand(const char *name, json_t *props, bool full, Error **errp);

/* --- statistics (stats.c) --- */

/* What the kernel counts of vCPU @cpu or (-1) of the VM, which is open: what it is, and its values, are
 * appended to @schema and @values (either may be NULL).  @names (may be NULL): only these.  An
 * old kernel counts nothing. */
CTX_CONTROL bool kvm_stats(int cpu, const StrList *names, StatsSchemaValueList *schema, StatsList *values,
                           Error **errp);

/* --- processor objects --- */

/* Is @type a type of processor object, "MODEL-x86_64-cpu"?  @model (may be NULL) gets the model, owned by
 * the caller. */
CTX_CONTROL bool kvm_cpu_type(const char *type, char **model);
typedef struct KvmCpuPropDesc {
    const char *name, *type, *description;     /* description may be NULL */
    json_t *def;                               /* borrowed; NULL: the model's */
} KvmCpuPropDesc;

/* Calls fn for each property of objects of the model but their place; host and max have two more. */
CTX_CONTROL void kvm_cpu_each_prop(const char *model, void (*fn)(const KvmCpuPropDesc *p, void *arg),
                                   void *arg);

#endif
