/* cmdline.c: hostile command lines: argv from bytes, words end at newlines; options are sorted, read and
 * checked, as far as nothing is opened.
 *
 * A slash becomes an underscore, so that no file of the host is named.  What -help and the like print goes
 * nowhere.  Configurations live as long as a process, so leaks are not looked for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "hw/board/pc-types.h"
#include "hw/catalogue.h"
#include "qapi/tables.h"
#include "system/config-file.h"
#include "system/config.h"
#include "tests/fuzz/seeded.h"
#include "util/thread.h"

#define WORDS_MAX 64u

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    thread_become_control();
    catalogue_register();
    pc_types_register();
    if (freopen("/dev/null", "w", stdout) == NULL) {
        abort();
    }
    return 0;
}

void fuzz_end(void)
{
}

/* What the schema says of an option's text, for those that config.c leaves to others. */
static void read_texts(const CmdLine *cmd)
{
    for (unsigned o = 0; o < OPT_COUNT; o++) {
        int opt = qapi_option_find(cmdline_option_name(o));

        for (unsigned i = 0; opt >= 0 && i < cmdline_count(cmd, o); i++) {
            void *value = NULL;

            if (qapi_option_read(opt, cmdline_nth(cmd, o, i), &value, NULL) && value != NULL) {
                qapi_free(qapi_options[opt].arg, value);
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) words = g_strsplit(g_strdelimit(text, "/", '_'), "\n", WORDS_MAX);
    g_autofree char **argv = g_new0(char *, WORDS_MAX + 2);
    CmdLine cmd = { 0 };
    Config config = { 0 };
    bool help = false, ok;
    Error *e = NULL;
    int argc = 1;

    argv[0] = (char *)"rhea";
    for (unsigned i = 0; words[i] != NULL; i++) {
        argv[argc++] = words[i];
    }
    ok = cmdline_parse(&cmd, argc, argv, &e) && config_edit(&cmd, &e);
    if (ok) {
        read_texts(&cmd);
        ok = config_read(&config, &cmd, &help, &e);
    }
    if (ok != (e == NULL)) {
        abort();                               /* a failure that says nothing, or half a success */
    }
    error_free(e);
    cmdline_free(&cmd);
    return 0;
}

GByteArray *fuzz_sample(unsigned i)
{
    static const char *const samples[] = {
        "-M\nq35,accel=kvm:tcg,usb=off\n-m\n1G,slots=2,maxmem=4G\n-smp\n4,sockets=2,maxcpus=8",
        "-machine\npc,acpi=off\n-cpu\nhost,+x2apic,-svm\n-numa\nnode,nodeid=0,cpus=0\n"
        "-numa\ndist,src=0,dst=0,val=10",
        "-smbios\ntype=1,manufacturer=a,uuid=11111111-2222-3333-4444-555555555555\n"
        "-smbios\ntype=17,speed=3\n-uuid\nx",
        "-boot\norder=cd,once=n,menu=on,splash-time=9\n"
        "-rtc\nbase=2020-01-01T00:00:00,clock=vm,driftfix=slew",
        "-name\nguest=a,process=b,debug-threads=on\n-action\nreboot=shutdown,panic=none\n"
        "-no-reboot\n-S",
        "-device\nedu,id=e,addr=3.0\n-set\ndevice.e.addr=4\n-global\nedu.addr=5\n"
        "-global\ndriver=edu,property=a,value=b",
        "-drive\nfile=a,,b,if=none,id=d\n-hda\nx\n-cdrom\ny\n"
        "-blockdev\n{\"driver\":\"null-co\",\"node-name\":\"n\"}",
        "-object\nmemory-backend-ram,id=m,size=1M\n-machine\nmemory-backend=m\n"
        "-overcommit\nmem-lock=on,cpu-pm=on",
        "-chardev\nsocket,id=c,path=x,server=on\n-mon\nc,mode=control\n-serial\nmon:stdio\n"
        "-qmp-pretty\nstdio",
        "-fw_cfg\nname=opt_x,string=a\n-acpitable\nsig=ABCD,data=x\n-kernel\nk\n-append\na b\n"
        "-initrd\ni",
        "-nographic\n-nodefaults\n-no-user-config\n-sandbox\non,spawn=deny\n-msg\ntimestamp=on\n"
        "-trace\nenable=x*",
        "-incoming\ndefer\n-vnc\n:1", "-help", "-machine\nhelp", "-version", "disk.img",
        "--enable-kvm\n--no-acpi",
        "-readconfig\nx.cfg\n-accel\nkvm,kernel-irqchip=split\n-add-fd\nfd=3,set=1\n-runas\nu\n"
        "-daemonize",
    };

    if (i >= G_N_ELEMENTS(samples)) {
        return NULL;
    }
    return g_byte_array_append(g_byte_array_new(), (const uint8_t *)samples[i], (guint)strlen(samples[i]));
}
