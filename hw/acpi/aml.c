/* aml.c: AML encoding, see aml.h.  Section numbers are those of ACPI 6.4. */
#include "hw/acpi/aml.h"

#include <stdarg.h>
#include <string.h>
#include "util/bytes.h"

enum {
    OP_NAME = 0x08, OP_BYTE = 0x0a, OP_WORD = 0x0b, OP_DWORD = 0x0c, OP_STRING = 0x0d, OP_QWORD = 0x0e,
    OP_SCOPE = 0x10, OP_BUFFER = 0x11, OP_PACKAGE = 0x12, OP_METHOD = 0x14, OP_DUAL_NAME = 0x2e,
    OP_MULTI_NAME = 0x2f, OP_EXT = 0x5b, OP_LOCAL0 = 0x60, OP_ARG0 = 0x68, OP_STORE = 0x70,
    OP_ADD = 0x72, OP_SUBTRACT = 0x74,
    OP_SHIFT_LEFT = 0x79, OP_AND = 0x7b, OP_OR = 0x7d, OP_NOTIFY = 0x86, OP_INDEX = 0x88,
    OP_CREATE_DWORD = 0x8a,
    OP_LNOT = 0x92, OP_LEQUAL = 0x93, OP_LLESS = 0x95,
    OP_IF = 0xa0, OP_ELSE = 0xa1, OP_WHILE = 0xa2, OP_RETURN = 0xa4,
    EXT_MUTEX = 0x01, EXT_ACQUIRE = 0x23, EXT_RELEASE = 0x27, EXT_REGION = 0x80, EXT_FIELD = 0x81,
    EXT_DEVICE = 0x82,
};

static void put(Aml *a, uint8_t byte)
{
    g_byte_array_append(a, &byte, 1);
}

static void put_n(Aml *a, uint64_t v, unsigned n)
{
    uint8_t raw[8];

    st_n(raw, n, v);
    g_byte_array_append(a, raw, n);
}

/* Most terms fit; those that grow pay for it. */
static Aml *term(void)
{
    return g_byte_array_sized_new(48);
}

static Aml *op(uint8_t code)
{
    Aml *a = term();

    put(a, code);
    return a;
}

static Aml *ext(uint8_t code)
{
    Aml *a = op(OP_EXT);

    put(a, code);
    return a;
}

Aml *aml_list(void)
{
    return term();
}

void aml_add(Aml *to, Aml *take_term)
{
    g_byte_array_append(to, take_term->data, take_term->len);
    g_byte_array_unref(take_term);
}

/* PkgLength (20.2.4) of a package whose contents are @body bytes; it counts itself. */
static void put_length(Aml *a, unsigned body)
{
    unsigned total;

    if (body + 1 < 0x40) {
        put(a, body + 1);
        return;
    }
    for (unsigned extra = 1; extra <= 3; extra++) {
        total = body + 1 + extra;
        if (total < 1u << (4 + 8 * extra)) {
            put(a, extra << 6 | (total & 0xf));
            put_n(a, total >> 4, extra);
            return;
        }
    }
    g_assert_not_reached();        /* 256 MiB of AML: a programming mistake of ours */
}

/* @head is the opcode; the packaged contents follow with their length. */
static Aml *packaged(Aml *head, Aml *take_body)
{
    put_length(head, take_body->len);
    aml_add(head, take_body);
    return head;
}

Aml *aml_terms(Aml *take_first, ...)
{
    Aml *all = aml_list();
    va_list ap;

    va_start(ap, take_first);
    for (Aml *t = take_first; t != NULL; t = va_arg(ap, Aml *)) {
        aml_add(all, t);
    }
    va_end(ap);
    return all;
}

/* Integer in the smallest encoding (20.2.3). */
Aml *aml_int(uint64_t v)
{
    static const uint8_t codes[] = { OP_BYTE, OP_WORD, OP_DWORD, OP_QWORD };
    unsigned log = v > UINT32_MAX ? 3 : v > UINT16_MAX ? 2 : v > UINT8_MAX ? 1 : 0;
    Aml *a;

    if (v <= 1) {
        return op(v);
    }
    a = op(codes[log]);
    put_n(a, v, 1u << log);
    return a;
}

Aml *aml_str(const char *s)
{
    Aml *a = op(OP_STRING);

    g_byte_array_append(a, (const uint8_t *)s, strlen(s) + 1);
    return a;
}

/* EISAID() of ASL (19.3.4): three letters of five bits, four hex digits, byte-swapped. */
Aml *aml_eisaid(const char *id)
{
    uint32_t v = (uint32_t)(id[0] - 0x40) << 26 | (uint32_t)(id[1] - 0x40) << 21 |
                 (uint32_t)(id[2] - 0x40) << 16 | (uint32_t)g_ascii_strtoull(id + 3, NULL, 16);
    Aml *a = op(OP_DWORD);

    put_n(a, GUINT32_SWAP_LE_BE(v), 4);
    return a;
}

Aml *aml_buffer(const void *bytes, unsigned n)
{
    Aml *body = aml_int(n);

    g_byte_array_append(body, bytes, n);
    return packaged(op(OP_BUFFER), body);
}

Aml *aml_package(unsigned count, Aml *take_elements)
{
    Aml *body = term();

    put(body, count);
    aml_add(body, take_elements);
    return packaged(op(OP_PACKAGE), body);
}

/* NameString (20.2.2). */
Aml *aml_path(const char *path)
{
    Aml *a = term();
    unsigned n = 1;

    for (; *path == '\\' || *path == '^'; path++) {
        put(a, *path);
    }
    if (*path == 0) {
        put(a, 0);
        return a;
    }
    for (const char *p = path; (p = strchr(p, '.')); p++) {
        n++;
    }
    if (n == 2) {
        put(a, OP_DUAL_NAME);
    } else if (n > 2) {
        put(a, OP_MULTI_NAME);
        put(a, n);
    }
    for (; n > 0; n--) {
        size_t len = strcspn(path, ".");
        char seg[5] = "____";

        memcpy(seg, path, MIN(len, 4));
        g_byte_array_append(a, (const uint8_t *)seg, 4);
        path += len + 1;
    }
    return a;
}

Aml *aml_local(unsigned n)
{
    return op(OP_LOCAL0 + n);
}

Aml *aml_arg(unsigned n)
{
    return op(OP_ARG0 + n);
}

Aml *aml_name(const char *path, Aml *take_value)
{
    Aml *a = op(OP_NAME);

    aml_add(a, aml_path(path));
    aml_add(a, take_value);
    return a;
}

static Aml *named_package(Aml *head, const char *path, Aml *take_body)
{
    Aml *body = aml_path(path);

    aml_add(body, take_body);
    return packaged(head, body);
}

Aml *aml_scope(const char *path, Aml *take_body)
{
    return named_package(op(OP_SCOPE), path, take_body);
}

Aml *aml_device(const char *path, Aml *take_body)
{
    return named_package(ext(EXT_DEVICE), path, take_body);
}

Aml *aml_method(const char *path, unsigned args, bool serialized, Aml *take_body)
{
    Aml *body = aml_path(path);

    put(body, args | (serialized ? 8 : 0));
    aml_add(body, take_body);
    return packaged(op(OP_METHOD), body);
}

Aml *aml_mutex(const char *path)
{
    Aml *a = ext(EXT_MUTEX);

    aml_add(a, aml_path(path));
    put(a, 0);
    return a;
}

Aml *aml_region(const char *path, AmlSpace space, uint64_t at, uint32_t len)
{
    Aml *a = ext(EXT_REGION);

    aml_add(a, aml_path(path));
    put(a, space);
    aml_add(a, aml_int(at));
    aml_add(a, aml_int(len));
    return a;
}

Aml *aml_field(const char *region, unsigned access, Aml *take_units)
{
    Aml *body = aml_path(region);

    put(body, access | 2 << 5);              /* NoLock, WriteAsZeros */
    aml_add(body, take_units);
    return packaged(ext(EXT_FIELD), body);
}

Aml *aml_field_unit(const char *name, unsigned bits)
{
    Aml *a = term();

    if (name != NULL) {
        aml_add(a, aml_path(name));
    } else {
        put(a, 0);
    }
    /* a bit count in PkgLength form, which here does not count itself */
    if (bits < 0x40) {
        put(a, bits);
    } else {
        put(a, 1 << 6 | (bits & 0xf));
        put(a, bits >> 4);
    }
    return a;
}

Aml *aml_processor_device(const char *path, unsigned uid, Aml *take_body)
{
    Aml *body = aml_name("_HID", aml_str("ACPI0007"));

    aml_add(body, aml_name("_UID", aml_int(uid)));
    aml_add(body, take_body);
    return aml_device(path, body);
}

static Aml *unary(uint8_t code, Aml *take_a)
{
    Aml *a = op(code);

    aml_add(a, take_a);
    return a;
}

static Aml *binary(uint8_t code, Aml *take_a, Aml *take_b)
{
    Aml *a = unary(code, take_a);

    aml_add(a, take_b);
    return a;
}

/* An operation whose result is used in place: its Target is the null name. */
static Aml *binary_to_null(uint8_t code, Aml *take_a, Aml *take_b)
{
    Aml *a = binary(code, take_a, take_b);

    put(a, 0);
    return a;
}

Aml *aml_return(Aml *take_value)
{
    return unary(OP_RETURN, take_value);
}

Aml *aml_store(Aml *take_value, Aml *take_target)
{
    return binary(OP_STORE, take_value, take_target);
}

Aml *aml_if(Aml *take_condition, Aml *take_body)
{
    aml_add(take_condition, take_body);
    return packaged(op(OP_IF), take_condition);
}

Aml *aml_else(Aml *take_body)
{
    return packaged(op(OP_ELSE), take_body);
}

Aml *aml_while(Aml *take_condition, Aml *take_body)
{
    aml_add(take_condition, take_body);
    return packaged(op(OP_WHILE), take_condition);
}

Aml *aml_and(Aml *take_a, Aml *take_b)
{
    return binary_to_null(OP_AND, take_a, take_b);
}

Aml *aml_or(Aml *take_a, Aml *take_b)
{
    return binary_to_null(OP_OR, take_a, take_b);
}

Aml *aml_shift_left(Aml *take_a, Aml *take_b)
{
    return binary_to_null(OP_SHIFT_LEFT, take_a, take_b);
}

Aml *aml_plus(Aml *take_a, Aml *take_b)
{
    return binary_to_null(OP_ADD, take_a, take_b);
}

Aml *aml_minus(Aml *take_a, Aml *take_b)
{
    return binary_to_null(OP_SUBTRACT, take_a, take_b);
}

Aml *aml_less(Aml *take_a, Aml *take_b)
{
    return binary(OP_LLESS, take_a, take_b);
}

Aml *aml_equal(Aml *take_a, Aml *take_b)
{
    return binary(OP_LEQUAL, take_a, take_b);
}

Aml *aml_index(Aml *take_of, unsigned at)
{
    return binary_to_null(OP_INDEX, take_of, aml_int(at));
}

Aml *aml_lnot(Aml *take_a)
{
    return unary(OP_LNOT, take_a);
}

Aml *aml_call(const char *method, Aml *take_args)
{
    Aml *a = aml_path(method);

    aml_add(a, take_args);
    return a;
}

Aml *aml_notify(const char *object, Aml *take_value)
{
    return binary(OP_NOTIFY, aml_path(object), take_value);
}

Aml *aml_acquire(const char *mutex)
{
    Aml *a = ext(EXT_ACQUIRE);

    aml_add(a, aml_path(mutex));
    put_n(a, 0xffff, 2);                     /* wait for ever */
    return a;
}

Aml *aml_release(const char *mutex)
{
    Aml *a = ext(EXT_RELEASE);

    aml_add(a, aml_path(mutex));
    return a;
}

Aml *aml_create_dword_field(Aml *take_buffer, unsigned at, const char *name)
{
    Aml *a = binary(OP_CREATE_DWORD, take_buffer, aml_int(at));

    aml_add(a, aml_path(name));
    return a;
}

Aml *aml_resources(Aml *take_descriptors)
{
    Aml *a;

    put(take_descriptors, 0x79);             /* end tag, checksum "treat as correct" */
    put(take_descriptors, 0);
    a = aml_buffer(take_descriptors->data, take_descriptors->len);
    g_byte_array_unref(take_descriptors);
    return a;
}

Aml *aml_res_io(uint16_t min, uint16_t max, uint8_t align, uint8_t len)
{
    Aml *a = op(0x47);                       /* 6.4.2.5 */

    put(a, 1);                               /* decodes 16 bits */
    put_n(a, min, 2);
    put_n(a, max, 2);
    put(a, align);
    put(a, len);
    return a;
}

Aml *aml_res_irq_noflags(unsigned irq)
{
    Aml *a = op(0x22);                       /* 6.4.2.1: edge, active high, exclusive */

    put_n(a, 1u << irq, 2);
    return a;
}

Aml *aml_res_dma(unsigned channel)
{
    Aml *a = op(0x2a);                       /* 6.4.2.2: compatibility, 8 bit */

    put(a, 1u << channel);
    put(a, 0);
    return a;
}

Aml *aml_res_interrupt(uint32_t gsi)
{
    Aml *a = op(0x89);                       /* 6.4.3.6 */

    put_n(a, 6, 2);
    put(a, 1 | 1 << 3);                      /* consumer, level, active high, shared */
    put(a, 1);
    put_n(a, gsi, 4);
    return a;
}

Aml *aml_res_fixed_memory(uint32_t at, uint32_t len, bool writable)
{
    Aml *a = op(0x86);                       /* 6.4.3.4 */

    put_n(a, 9, 2);
    put(a, writable);
    put_n(a, at, 4);
    put_n(a, len, 4);
    return a;
}

/* Address space descriptor (6.4.3.5) with numbers of @n bytes: min and max fixed, producer. */
static Aml *address_space(uint8_t tag, uint8_t type, uint8_t type_flags, uint64_t min, uint64_t max,
                          unsigned n)
{
    Aml *a = op(tag);

    put_n(a, 3 + 5 * n, 2);
    put(a, type);
    put(a, 0x0c);                            /* MinFixed, MaxFixed, positive decode, producer */
    put(a, type_flags);
    put_n(a, 0, n);                          /* granularity */
    put_n(a, min, n);
    put_n(a, max, n);
    put_n(a, 0, n);                          /* translation */
    put_n(a, max - min + 1, n);
    return a;
}

Aml *aml_res_bus(uint16_t min, uint16_t max)
{
    return address_space(0x88, 2, 0, min, max, 2);
}

Aml *aml_res_word_io(uint16_t min, uint16_t max)
{
    return address_space(0x88, 1, 3, min, max, 2);           /* entire range */
}

Aml *aml_res_dword_memory(bool cacheable, uint32_t min, uint32_t max)
{
    return address_space(0x87, 0, 1 | (cacheable ? 1 << 1 : 0), min, max, 4);
}

Aml *aml_res_qword_memory(bool cacheable, uint64_t min, uint64_t max)
{
    return address_space(0x8a, 0, 1 | (cacheable ? 1 << 1 : 0), min, max, 8);
}
