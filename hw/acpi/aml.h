/* aml.h: writes AML byte code (ACPI 6.4, chapter 20).
 *
 * A term is a GByteArray owned by the caller until it is passed on: every function consumes the terms it
 * takes and returns a new one, so whole definitions nest as one expression.  Lists of terms end in NULL. */
#ifndef HW_ACPI_AML_H
#define HW_ACPI_AML_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include "util/context.h"

typedef GByteArray Aml;

/* An empty list of terms, to be filled with aml_add(). */
CTX_ANY Aml *aml_list(void);
CTX_ANY void aml_add(Aml *to, Aml *take_term);
/* The terms after one another. */
CTX_ANY Aml *aml_terms(Aml *take_first, ...) G_GNUC_NULL_TERMINATED;

/* --- data --- */
CTX_ANY Aml *aml_int(uint64_t v);
CTX_ANY Aml *aml_str(const char *s);
/* EISA id such as "PNP0A08" as its compressed integer. */
CTX_ANY Aml *aml_eisaid(const char *id);
CTX_ANY Aml *aml_buffer(const void *bytes, unsigned n);
CTX_ANY Aml *aml_package(unsigned count, Aml *take_elements);
/* A name or path: segments of up to four letters, '\\' and '^' as in ASL. */
CTX_ANY Aml *aml_path(const char *path);
CTX_ANY Aml *aml_local(unsigned n);
CTX_ANY Aml *aml_arg(unsigned n);

/* --- named objects --- */
CTX_ANY Aml *aml_name(const char *path, Aml *take_value);
CTX_ANY Aml *aml_scope(const char *path, Aml *take_body);
CTX_ANY Aml *aml_device(const char *path, Aml *take_body);
CTX_ANY Aml *aml_method(const char *path, unsigned args, bool serialized, Aml *take_body);
CTX_ANY Aml *aml_mutex(const char *path);
typedef enum AmlSpace { AML_SYSTEM_MEMORY, AML_SYSTEM_IO, AML_PCI_CONFIG } AmlSpace;
CTX_ANY Aml *aml_region(const char *path, AmlSpace space, uint64_t at, uint32_t len);
/* A field of @region with access width @access (1 byte, 2 word, 3 dword) and units made by
 * aml_field_unit(). */
CTX_ANY Aml *aml_field(const char *region, unsigned access, Aml *take_units);
/* @name NULL: reserved bits. */
CTX_ANY Aml *aml_field_unit(const char *name, unsigned bits);
CTX_ANY Aml *aml_processor_device(const char *path, unsigned uid, Aml *take_body);

/* --- statements and expressions --- */
CTX_ANY Aml *aml_return(Aml *take_value);
CTX_ANY Aml *aml_store(Aml *take_value, Aml *take_target);
CTX_ANY Aml *aml_if(Aml *take_condition, Aml *take_body);
CTX_ANY Aml *aml_else(Aml *take_body);
CTX_ANY Aml *aml_while(Aml *take_condition, Aml *take_body);
CTX_ANY Aml *aml_and(Aml *take_a, Aml *take_b);
CTX_ANY Aml *aml_or(Aml *take_a, Aml *take_b);
CTX_ANY Aml *aml_shift_left(Aml *take_a, Aml *take_b);
CTX_ANY Aml *aml_plus(Aml *take_a, Aml *take_b);
CTX_ANY Aml *aml_minus(Aml *take_a, Aml *take_b);
CTX_ANY Aml *aml_equal(Aml *take_a, Aml *take_b);
CTX_ANY Aml *aml_less(Aml *take_a, Aml *take_b);
/* Element @at of a package, or byte of a buffer, to be stored to. */
CTX_ANY Aml *aml_index(Aml *take_of, unsigned at);
CTX_ANY Aml *aml_lnot(Aml *take_a);
CTX_ANY Aml *aml_call(const char *method, Aml *take_args);
CTX_ANY Aml *aml_notify(const char *object, Aml *take_value);
CTX_ANY Aml *aml_acquire(const char *mutex);
CTX_ANY Aml *aml_release(const char *mutex);
CTX_ANY Aml *aml_create_dword_field(Aml *take_buffer, unsigned at, const char *name);

/* --- resource descriptors (6.4) --- */
CTX_ANY Aml *aml_resources(Aml *take_descriptors);
CTX_ANY Aml *aml_res_io(uint16_t min, uint16_t max, uint8_t align, uint8_t len);
CTX_ANY Aml *aml_res_irq_noflags(unsigned irq);
CTX_ANY Aml *aml_res_dma(unsigned channel);
/* Extended interrupt descriptor: level, active high, shared. */
CTX_ANY Aml *aml_res_interrupt(uint32_t gsi);
CTX_ANY Aml *aml_res_fixed_memory(uint32_t at, uint32_t len, bool writable);
CTX_ANY Aml *aml_res_bus(uint16_t min, uint16_t max);
CTX_ANY Aml *aml_res_word_io(uint16_t min, uint16_t max);
CTX_ANY Aml *aml_res_dword_memory(bool cacheable, uint32_t min, uint32_t max);
CTX_ANY Aml *aml_res_qword_memory(bool cacheable, uint64_t min, uint64_t max);

#endif
