/* error.h: errors for people.
 *
 * A function that can fail for a reason a person should read is
 *     bool f(..., Error **errp)
 * false means *errp was set (when errp is not NULL), true means it was not touched.  Errors for code
 * are 0 or a negative errno instead; a function never mixes the two.
 *
 * 1. An Error is a chain: the outer text is short and adds context, the cause says what went wrong.
 * 2. *errp is NULL on entry; whoever receives an error frees or passes it on, exactly once. */
#ifndef UTIL_ERROR_H
#define UTIL_ERROR_H

#include <glib.h>
#include <stdbool.h>

typedef struct Error Error;

/* The error classes QMP clients may act upon. */
typedef enum ErrorClass {
    ERROR_GENERIC,
    ERROR_COMMAND_NOT_FOUND,
    ERROR_DEVICE_NOT_ACTIVE,
    ERROR_DEVICE_NOT_FOUND,
    ERROR_KVM_MISSING_CAP,
    ERROR_MIGRATION_EXPECTED,
} ErrorClass;

/* Sets *@errp to a new error of class GENERIC.  Always returns false, so that a failing function can
 * end in "return error_set(errp, ...)".  @errp may be NULL: the text is dropped.  Any thread. */
bool error_set(Error **errp, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* The words for a positive errno, in English, whatever the locale: opens no file, any thread. */
const char *errno_text(int err);

/* As error_set(), with a class. */
bool error_set_class(Error **errp, ErrorClass cls, const char *fmt, ...) G_GNUC_PRINTF(3, 4);

/* As error_set(), with ": " and strerror(@err) appended; @err is a positive errno. */
bool error_set_errno(Error **errp, int err, const char *fmt, ...) G_GNUC_PRINTF(3, 4);

/* Wraps *@errp (which must be set, unless @errp is NULL) in an outer text.  Always returns false. */
bool error_context(Error **errp, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* Adds advice a person can act upon, printed on its own line after the message.  Returns false. */
bool error_hint(Error **errp, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* Adds the hint "did you mean 'x'?" when one of the NULL-terminated @names is close to @wrong. */
bool error_suggest(Error **errp, const char *wrong, const char *const *names);

/* Moves @take_err into *@errp (frees it when @errp is NULL).  Always returns false. */
bool error_move(Error **errp, Error *take_err);

/* The whole chain as one line, "outer: inner"; owned by @e. */
const char *error_text(const Error *e);

/* The advice, or NULL; owned by @e. */
const char *error_advice(const Error *e);

ErrorClass error_class(const Error *e);

/* The QMP spelling of @cls, such as "GenericError". */
const char *error_class_name(ErrorClass cls);

/* Prints "PROGRAM: text" and the advice to stderr, where PROGRAM is error_program() (argv[0]'s last
 * part by default).  Frees @take_err. */
void error_report(Error *take_err);

/* Prints "PROGRAM: warning: text" to stderr.  Any thread. */
void warn_report(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/* Prints "PROGRAM: text" to stderr, for information a person asked for.  Any thread. */
void info_report(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/* Names the program in reports; called once at start with argv[0].  Timestamps prefix each report
 * when @timestamps is set (-msg timestamp=on), and the guest's name unless it is NULL (guest-name=on). */
void error_set_program(const char *argv0);
void error_set_timestamps(bool timestamps);
void error_set_guest(const char *name);

void error_free(Error *e);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Error, error_free)

#endif
