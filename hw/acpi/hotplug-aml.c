/* hotplug-aml.c: processors and memory slots as AML.  Sections are those of ACPI 6.4; the registers are
 * those of cpuhp.c and memhp.c.
 *
 * 1. One mutex a container: a selector and what is read by it belong together.
 * 2. Integers are 32 bits wide (the DSDT's revision is 1): 64-bit ones are handled in halves. */
#include "hw/acpi/hotplug-aml.h"

#include "util/bytes.h"

enum { NOTIFY_CHECK = 1, NOTIFY_EJECT = 3 };

/* Acquire (lock), @body, Release (lock), Return (value; NULL: nothing). */
static Aml *locked(const char *lock, Aml *take_body, Aml *take_value)
{
    Aml *all = aml_terms(aml_acquire(lock), take_body, aml_release(lock), NULL);

    if (take_value != NULL) {
        aml_add(all, aml_return(take_value));
    }
    return all;
}

static Aml *set(const char *field, Aml *take_value)
{
    return aml_store(take_value, aml_path(field));
}

static Aml *is(unsigned local, const char *field)
{
    return aml_store(aml_path(field), aml_local(local));
}

/* Method (name, 2): tells device @prefix<Arg0> of event Arg1. */
static Aml *notifier(const char *name, const char *prefix, unsigned count)
{
    Aml *all = aml_list();

    for (unsigned i = 0; i < count; i++) {
        g_autofree char *device = g_strdup_printf("%s%0*X", prefix, (int)(4 - strlen(prefix)), i);
        aml_add(all, aml_if(aml_equal(aml_arg(0), aml_int(i)), aml_notify(device, aml_arg(1))));
    }
    return aml_method(name, 2, false, all);
}

/* If (flag) { notify (Arg: local 1, @event), flag = 1 (taken note of), more } */
static Aml *on_flag(const char *flag, const char *notify, unsigned event, Aml *take_more)
{
    return aml_if(aml_path(flag), aml_terms(
        aml_call(notify, aml_terms(aml_local(1), aml_int(event), NULL)),
        set(flag, aml_int(1)), take_more, NULL));
}

/* Method @name of one device: what @method says of its number. */
static Aml *ask(const char *name, const char *method, unsigned number)
{
    return aml_method(name, 0, false, aml_return(aml_call(method, aml_int(number))));
}

/* _OST (6.3.5) of one device: @method with its number, the event and the status. */
static Aml *ost(const char *method, unsigned number)
{
    return aml_method("_OST", 3, false, aml_call(method, aml_terms(aml_int(number), aml_arg(0), aml_arg(1),
                                                                   NULL)));
}

/* --- processors --- */

static Aml *cpu_registers(const AcpiBoard *b)
{
    return aml_terms(
        aml_region("CREG", AML_SYSTEM_IO, b->cpuhp_io, 12),
        aml_field("CREG", 3, aml_terms(aml_field_unit("CSEL", 32), aml_field_unit(NULL, 32),
                                       aml_field_unit("CDAT", 32), NULL)),
        aml_field("CREG", 1, aml_terms(
            aml_field_unit(NULL, 32), aml_field_unit("CHER", 1), aml_field_unit("CNEW", 1),
            aml_field_unit("COLD", 1), aml_field_unit("COUT", 1), aml_field_unit(NULL, 4),
            aml_field_unit("CCMD", 8), NULL)),
        aml_mutex("CLCK"), NULL);
}

/* The next CPU with an event, until there is none. */
static Aml *cpu_scan(void)
{
    Aml *turn = aml_terms(
        aml_store(aml_int(0), aml_local(0)), set("CCMD", aml_int(0)), is(1, "CDAT"),
        on_flag("CNEW", "CNOT", NOTIFY_CHECK, aml_store(aml_int(1), aml_local(0))),
        on_flag("COLD", "CNOT", NOTIFY_EJECT, aml_store(aml_int(1), aml_local(0))), NULL);

    return aml_method("CSCN", 0, true, locked("CLCK", aml_terms(
        set("CSEL", aml_int(0)), aml_store(aml_int(1), aml_local(0)),
        aml_while(aml_local(0), turn), NULL), NULL));
}

static Aml *cpu_methods(unsigned count)
{
    return aml_terms(
        /* The first write leaves the legacy interface, the second selects. */
        aml_method("_INI", 0, false, aml_terms(set("CSEL", aml_int(0)), set("CSEL", aml_int(0)), NULL)),
        notifier("CNOT", "C", count), cpu_scan(),
        aml_method("CSTA", 1, true, locked("CLCK", aml_terms(
            set("CSEL", aml_arg(0)), aml_store(aml_int(0), aml_local(0)),
            aml_if(aml_path("CHER"), aml_store(aml_int(0xf), aml_local(0))), NULL), aml_local(0))),
        aml_method("CEJ0", 1, true, locked("CLCK", aml_terms(
            set("CSEL", aml_arg(0)), set("COUT", aml_int(1)), NULL), NULL)),
        aml_method("COST", 3, true, locked("CLCK", aml_terms(
            set("CSEL", aml_arg(0)), set("CCMD", aml_int(1)), set("CDAT", aml_arg(1)),
            set("CCMD", aml_int(2)), set("CDAT", aml_arg(2)), NULL), NULL)), NULL);
}

static Aml *cpu_device(const Machine *m, const AcpiBoard *b, unsigned i)
{
    g_autofree char *name = g_strdup_printf("C%03X", i);
    GByteArray *madt = g_byte_array_new();
    Aml *body = aml_list();

    if (b->cpuhp_io != 0) {
        acpi_madt_cpu(madt, m, b, i, true);
        aml_add(body, aml_name("_MAT", aml_buffer(madt->data, madt->len)));
        aml_add(body, ask("_STA", "CSTA", i));
        aml_add(body, ost("COST", i));
        if (i > 0) {
            aml_add(body, aml_method("_EJ0", 1, false, aml_call("CEJ0", aml_int(i))));
        }
    }
    if (m->cfg.cpu_node != NULL) {
        aml_add(body, aml_name("_PXM", aml_int(m->cfg.cpu_node[i])));
    }
    g_byte_array_unref(madt);
    return aml_processor_device(name, i, body);
}

void acpi_add_cpus(Aml *sb, const Machine *m, const AcpiBoard *b)
{
    Aml *body = aml_terms(aml_name("_HID", aml_str("ACPI0010")), aml_name("_CID", aml_eisaid("PNP0A05")),
                          NULL);
    unsigned count = m->cfg.smp.max_cpus;

    if (b->cpuhp_io != 0) {
        aml_add(body, cpu_registers(b));
        aml_add(body, cpu_methods(count));
    } else {
        count = m->cfg.smp.cpus;
    }
    for (unsigned i = 0; i < count; i++) {
        aml_add(body, cpu_device(m, b, i));
    }
    aml_add(sb, aml_device("CPUS", body));
}

/* --- memory --- */

static Aml *dimm_registers(const AcpiBoard *b)
{
    return aml_terms(
        aml_region("DREG", AML_SYSTEM_IO, b->memhp_io, 24),
        aml_field("DREG", 3, aml_terms(aml_field_unit("DADL", 32), aml_field_unit("DADH", 32),
                                       aml_field_unit("DSZL", 32), aml_field_unit("DSZH", 32),
                                       aml_field_unit("DNOD", 32), NULL)),
        aml_field("DREG", 3, aml_terms(aml_field_unit("DSEL", 32), aml_field_unit("DOSE", 32),
                                       aml_field_unit("DOSS", 32), NULL)),
        aml_field("DREG", 1, aml_terms(
            aml_field_unit(NULL, 160), aml_field_unit("DHER", 1), aml_field_unit("DNEW", 1),
            aml_field_unit("DOLD", 1), aml_field_unit("DOUT", 1), NULL)),
        aml_mutex("DLCK"), NULL);
}

static Aml *dimm_scan(unsigned slots)
{
    Aml *turn = aml_terms(
        set("DSEL", aml_local(1)), on_flag("DNEW", "DNOT", NOTIFY_CHECK, aml_list()),
        on_flag("DOLD", "DNOT", NOTIFY_EJECT, aml_list()),
        aml_store(aml_plus(aml_local(1), aml_int(1)), aml_local(1)), NULL);

    return aml_method("DSCN", 0, true, locked("DLCK", aml_terms(
        aml_store(aml_int(0), aml_local(1)),
        aml_while(aml_less(aml_local(1), aml_int(slots)), turn), NULL), NULL));
}

/* _CRS: where the memory is, as a QWord descriptor (6.4.3.5.1) and an end tag.  The descriptor is put
 * together here: its fields are written in halves, which a resource template would not like. */
static Aml *dimm_resources(void)
{
    static const struct { const char *name; unsigned at; } fields[] = {
        { "HEAD", 0 }, { "FLAG", 4 }, { "MINL", 14 }, { "MINH", 18 }, { "MAXL", 22 }, { "MAXH", 26 },
        { "LENL", 38 }, { "TAIL", 44 }, { "LENH", 42 },
    };
    enum { HEAD = 0x8a | 43 << 8, FLAGS = 0x0c | 0x03 << 8, TAIL = 0x79 << 16, SIZE = 48 };
    static const uint8_t empty[SIZE];
    Aml *body = aml_name("DBUF", aml_buffer(empty, SIZE));

    for (unsigned i = 0; i < ARRAY_LEN(fields); i++) {
        aml_add(body, aml_create_dword_field(aml_path("DBUF"), fields[i].at, fields[i].name));
    }
    aml_add(body, aml_terms(set("HEAD", aml_int(HEAD)), set("FLAG", aml_int(FLAGS)),
                            set("TAIL", aml_int(TAIL)), NULL));
    aml_add(body, locked("DLCK", aml_terms(
        set("DSEL", aml_arg(0)), set("MINL", aml_path("DADL")), set("MINH", aml_path("DADH")),
        set("LENL", aml_path("DSZL")), set("LENH", aml_path("DSZH")), NULL), NULL));
    aml_add(body, aml_terms(
        set("MAXL", aml_plus(aml_path("MINL"), aml_path("LENL"))),
        set("MAXH", aml_plus(aml_path("MINH"), aml_path("LENH"))),
        aml_if(aml_less(aml_path("MAXL"), aml_path("MINL")),
               set("MAXH", aml_plus(aml_path("MAXH"), aml_int(1)))),
        aml_if(aml_less(aml_path("MAXL"), aml_int(1)),
               set("MAXH", aml_minus(aml_path("MAXH"), aml_int(1)))),
        set("MAXL", aml_minus(aml_path("MAXL"), aml_int(1))), aml_return(aml_path("DBUF")), NULL));
    return aml_method("DCRS", 1, true, body);
}

static Aml *dimm_methods(unsigned slots)
{
    return aml_terms(
        notifier("DNOT", "MP", slots), dimm_scan(slots), dimm_resources(),
        aml_method("DSTA", 1, true, locked("DLCK", aml_terms(
            set("DSEL", aml_arg(0)), aml_store(aml_int(0), aml_local(0)),
            aml_if(aml_path("DHER"), aml_store(aml_int(0xf), aml_local(0))), NULL), aml_local(0))),
        aml_method("DPXM", 1, true, locked("DLCK", aml_terms(
            set("DSEL", aml_arg(0)), is(0, "DNOD"), NULL), aml_local(0))),
        aml_method("DEJ0", 1, true, locked("DLCK", aml_terms(
            set("DSEL", aml_arg(0)), set("DOUT", aml_int(1)), NULL), NULL)),
        aml_method("DOST", 3, true, locked("DLCK", aml_terms(
            set("DSEL", aml_arg(0)), set("DOSE", aml_arg(1)), set("DOSS", aml_arg(2)), NULL), NULL)), NULL);
}

void acpi_add_memory(Aml *sb, const Machine *m, const AcpiBoard *b)
{
    Aml *body = aml_terms(aml_name("_HID", aml_eisaid("PNP0A06")),
                          aml_name("_UID", aml_str("Memory hot-plug")), NULL);

    if (b->memory_slots == 0) {
        g_byte_array_unref(body);
        return;
    }
    aml_add(body, dimm_registers(b));
    aml_add(body, dimm_methods(b->memory_slots));
    for (unsigned i = 0; i < b->memory_slots; i++) {
        g_autofree char *name = g_strdup_printf("MP%02X", i);
        aml_add(body, aml_device(name, aml_terms(
            aml_name("_HID", aml_eisaid("PNP0C80")), aml_name("_UID", aml_int(i)),
            ask("_STA", "DSTA", i), ask("_CRS", "DCRS", i), ask("_PXM", "DPXM", i),
            ost("DOST", i),
            aml_method("_EJ0", 1, false, aml_call("DEJ0", aml_int(i))), NULL)));
    }
    aml_add(sb, aml_device("MEMS", body));
}
