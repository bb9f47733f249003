/* report.c: what the tools tell people: sizes, progress, errors.
 *
 * 1. Progress is printed by the thread that works when it changed by a tenth of a percent, or when SIGUSR1
 *    asked for it; the handler only sets a flag. */
#include <signal.h>
#include "img/img.h"

static volatile sig_atomic_t asked;
static bool shown;
static double last;

static void on_signal(int number)
{
    asked = 1;
}

void progress_begin(bool show)
{
    struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

    shown = show;
    last = -1;
    sigaction(SIGUSR1, &sa, NULL);
    progress_set(0, 1);
}

void progress_set(uint64_t done, uint64_t total)
{
    double now = total ? 100.0 * (double)done / (double)total : 100;

    if (shown && (now - last >= 0.1 || (now >= 100 && last < 100))) {
        last = now;
        printf("    (%3.2f/100%%)\r", now);
        fflush(stdout);
    }
    if (asked) {
        asked = 0;
        fprintf(stderr, "    (%3.2f/100%%)\n", now);
    }
}

void progress_end(void)
{
    if (shown) {
        printf("\n");
        fflush(stdout);
        shown = false;
    }
}

char *size_text(uint64_t bytes)
{
    static const char *const units[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
    unsigned i = 0;
    double v = (double)bytes;

    for (; v >= 1000 && i + 1 < G_N_ELEMENTS(units); i++) {
        v /= 1024;
    }
    return g_strdup_printf("%0.3g %sB", v, units[i]);
}

int fail(int status, Error *take_err)
{
    progress_end();
    error_report(take_err);
    return status;
}
