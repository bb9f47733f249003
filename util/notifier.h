/* notifier.h: an eventfd, the form in which doorbells and interrupts cross threads and the kernel. */
#ifndef UTIL_NOTIFIER_H
#define UTIL_NOTIFIER_H

#include <stdbool.h>
#include "util/context.h"
#include "util/error.h"

typedef struct Notifier {
    int fd;                    /* -1: closed */
} Notifier;

CTX_ANY bool notifier_open(Notifier *n, Error **errp);
CTX_ANY void notifier_close(Notifier *n);
CTX_ANY void notifier_signal(Notifier *n);
/* Takes what was signalled; true if there was something.  Never blocks. */
CTX_ANY bool notifier_take(Notifier *n);

#endif
