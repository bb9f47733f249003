/* config-acpi.c: -acpitable: tables that are added to the machine's own (ACPI 6.4, 5.2.6).
 *
 * 1. Length and checksum are never taken from the user: the table builder sets them. */
#include "system/config-int.h"

#include <string.h>
#include "util/bytes.h"

enum { HEADER = 36, TABLES_MAX = 64, SIZE_MAX_TABLE = 1 << 20 };

/* Appends the files of @list, parted by colons. */
static bool read_files(GByteArray *t, const char *list, Error **errp)
{
    g_auto(GStrv) names = g_strsplit(list, ":", -1);

    for (unsigned i = 0; names[i] != NULL; i++) {
        g_autofree char *data = NULL;
        g_autoptr(GError) e = NULL;
        size_t n;

        if (!g_file_get_contents(names[i], &data, &n, &e)) {
            return error_set(errp, "can't open file %s: %s", names[i],
                             strrchr(e->message, ':') != NULL ? strrchr(e->message, ':') + 2 : e->message);
        }
        if (n > SIZE_MAX_TABLE - t->len) {
            return error_set(errp, "file %s makes the table larger than 1 MiB", names[i]);
        }
        g_byte_array_append(t, (const uint8_t *)data, n);
    }
    return true;
}

/* A text field of @size bytes; short ones are filled up with zeroes, long ones cut. */
static void set_text(GByteArray *t, unsigned at, unsigned size, const char *text)
{
    if (text != NULL) {
        memset(t->data + at, 0, size);
        memcpy(t->data + at, text, MIN(strlen(text), size));
    }
}

static void set_header(GByteArray *t, const AcpiTableConfig *c)
{
    set_text(t, 0, 4, c->sig);
    if (c->has_rev) {
        t->data[8] = c->rev;
    }
    set_text(t, 10, 6, c->oem_id);
    set_text(t, 16, 8, c->oem_table_id);
    if (c->has_oem_rev) {
        st32(t->data + 24, c->oem_rev);
    }
    set_text(t, 28, 4, c->asl_compiler_id);
    if (c->has_asl_compiler_rev) {
        st32(t->data + 32, c->asl_compiler_rev);
    }
}

static bool read_table(GByteArray *t, const AcpiTableConfig *c, Error **errp)
{
    static const uint8_t header[HEADER] = "RHEA\0\0\0\0\1\0" "RHEA  RHEAPC  \1\0\0\0" "RHEA\1\0\0";

    if ((c->data != NULL) == (c->file != NULL)) {
        return error_set(errp, "'-acpitable' requires one of 'data' or 'file'");
    }
    if (c->data != NULL) {
        g_byte_array_append(t, header, HEADER);
        if (c->sig == NULL) {
            warn_report("-acpitable: without sig= the table is called RHEA");
        }
    }
    if (!read_files(t, c->data != NULL ? c->data : c->file, errp)) {
        return false;
    }
    if (t->len < HEADER) {
        return error_set(errp, "ACPI table claiming to have header is too short, available: %u, expected: %d",
                         t->len, HEADER);
    }
    set_header(t, c);
    return true;
}

bool config_read_acpi(Config *c, const CmdLine *cmd, Error **errp)
{
    unsigned n = cmdline_count(cmd, OPT_ACPITABLE);

    if (n > TABLES_MAX) {
        return error_set(errp, "-acpitable: %u tables are more than %d", n, TABLES_MAX);
    }
    c->board.acpi_tables = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
    for (unsigned i = 0; i < n; i++) {
        const char *text = cmdline_nth(cmd, OPT_ACPITABLE, i);
        GByteArray *t = g_byte_array_new();
        g_autoptr(AcpiTableConfig) a = NULL;

        g_ptr_array_add(c->board.acpi_tables, t);
        if (!qapi_opt_acpitable(text, &a, errp) || (a != NULL && !read_table(t, a, errp))) {
            return error_context(errp, "-acpitable %s", text);
        }
    }
    return true;
}
