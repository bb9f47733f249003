/* reference.c: a program for the build: prints the reference pages that are made from tables. */
#include <stdio.h>
#include <string.h>
#include "monitor/hmp.h"
#include "system/cmdline.h"

int main(int argc, char **argv)
{
    g_autoptr(GString) page = g_string_new(NULL);

    if (argc == 2 && strcmp(argv[1], "monitor") == 0) {
        hmp_reference(page);
    } else if (argc == 2 && strcmp(argv[1], "options") == 0) {
        cmdline_reference(page);
    } else {
        fprintf(stderr, "usage: %s monitor|options\n", argv[0]);
        return 1;
    }
    fputs(page->str, stdout);
    return 0;
}
