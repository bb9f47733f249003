/* models.c: the named processor models: a row a version of a model.
 *
 * 1. A row is what a guest sees on every host that has its features; where the host lacks one, it is told
 *    and left out. The vendor holds only where the user asks for it: a guest sees the host's otherwise.
 * 2. SVM and VMX are off in every row, what they offer when turned on is in it. Paravirtual features and
 *    x2APIC come on top (cpu-resolve.c), as all models have them.
 * 3. Rows never change once released, as guests move between programs by name: a new version is a new row. */
#include "accel/kvm/models.h"

#include <glib.h>
#include <string.h>
#include "util/bytes.h"

const CpuCaches cpu_caches_legacy = {
    .leaf2_ecx = 0x4d, .leaf2_edx = 0x2c307d,
    .amd_l1d = 0x40020140, .amd_l1i = 0x40020140, .amd_l2 = 0x2008140, .amd_l3 = 0x808140,
    .cache = { { 0x121, 0x1c0003f, 0x3f, 1 },
               { 0x122, 0x1c0003f, 0x3f, 1 },
               { 0x143, 0x3c0003f, 0xfff, 1 },
               { 0x163, 0x3c0003f, 0x3fff, 6 } },
    .amd_cache = { { 0x121, 0x40003f, 0x1ff, 1 },
                   { 0x122, 0x40003f, 0x1ff, 1 },
                   { 0x43, 0x3c0003f, 0x1ff, 0 },
                   { 0x163, 0x3c0003f, 0x3fff, 6 } },
};

static const CpuCaches caches_epyc = {
    .leaf2_ecx = 0x4b, .leaf2_edx = 0x2cff80,
    .amd_l1d = 0x20080140, .amd_l1i = 0x40040140, .amd_l2 = 0x2006140, .amd_l3 = 0x408140,
    .cache = { { 0x121, 0x1c0003f, 0x3f, 1 },
               { 0x122, 0xc0003f, 0xff, 1 },
               { 0x43, 0x1c0003f, 0x3ff, 0 },
               { 0x163, 0x3c0003f, 0x1fff, 6 } },
    .amd_cache = { { 0x121, 0x1c0003f, 0x3f, 1 },
                   { 0x122, 0xc0003f, 0xff, 1 },
                   { 0x43, 0x1c0003f, 0x3ff, 0 },
                   { 0x163, 0x3c0003f, 0x1fff, 6 } },
};

static const CpuCaches caches_epyc_rome = {
    .leaf2_ecx = 0x4d, .leaf2_edx = 0x2c3080,
    .amd_l1d = 0x20080140, .amd_l1i = 0x20080140, .amd_l2 = 0x2006140, .amd_l3 = 0x808140,
    .cache = { { 0x121, 0x1c0003f, 0x3f, 1 },
               { 0x122, 0x1c0003f, 0x3f, 1 },
               { 0x43, 0x1c0003f, 0x3ff, 0 },
               { 0x163, 0x3c0003f, 0x3fff, 6 } },
    .amd_cache = { { 0x121, 0x1c0003f, 0x3f, 1 },
                   { 0x122, 0x1c0003f, 0x3f, 1 },
                   { 0x43, 0x1c0003f, 0x3ff, 0 },
                   { 0x163, 0x3c0003f, 0x3fff, 6 } },
};

static const CpuCaches caches_epyc_milan = {
    .leaf2_ecx = 0xff, .leaf2_edx = 0x2c3080,
    .amd_l1d = 0x20080140, .amd_l1i = 0x20080140, .amd_l2 = 0x2006140, .amd_l3 = 0x1008140,
    .cache = { { 0x121, 0x1c0003f, 0x3f, 1 },
               { 0x122, 0x1c0003f, 0x3f, 1 },
               { 0x43, 0x1c0003f, 0x3ff, 0 },
               { 0x163, 0x3c0003f, 0x7fff, 6 } },
    .amd_cache = { { 0x121, 0x1c0003f, 0x3f, 1 },
                   { 0x122, 0x1c0003f, 0x3f, 1 },
                   { 0x43, 0x1c0003f, 0x3ff, 0 },
                   { 0x163, 0x3c0003f, 0x7fff, 6 } },
};

const CpuModel cpu_models[] = {
    { .name = "486", .version = 1, .model_id = "",
      .vendor = VENDOR_INTEL, .family = 4, .model = 8, .stepping = 0, .level = 0x1, .xlevel = 0x0,
      .words = {
          [FW_1_EDX] = 0xb, [FW_1_ECX] = 0x80000000 } },
    { .name = "Broadwell", .version = 1, .model_id = "Intel Core Processor (Broadwell)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 61, .stepping = 2, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0x1c0fb9,
          [FW_80000001_EDX] = 0x28100800, [FW_80000001_ECX] = 0x121, [FW_D_1_EAX] = 0x1, [FW_6_EAX] = 0x4,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x37bff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060,
          [FW_VMX_EPT] = 0xf0106330041ull, [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Broadwell", .version = 2, .model_id = "Intel Core Processor (Broadwell, no TSX)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 61, .stepping = 2, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0x1c07a9,
          [FW_80000001_EDX] = 0x28100800, [FW_80000001_ECX] = 0x121, [FW_D_1_EAX] = 0x1, [FW_6_EAX] = 0x4,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x37bff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060,
          [FW_VMX_EPT] = 0xf0106330041ull, [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Broadwell", .version = 3, .model_id = "Intel Core Processor (Broadwell, IBRS)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 61, .stepping = 2, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0x1c0fb9,
          [FW_7_0_EDX] = 0x4000000, [FW_80000001_EDX] = 0x28100800, [FW_80000001_ECX] = 0x121,
          [FW_D_1_EAX] = 0x1, [FW_6_EAX] = 0x4, [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x37bff,
          [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Broadwell", .version = 4, .model_id = "Intel Core Processor (Broadwell, no TSX, IBRS)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 61, .stepping = 2, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0x1c07a9,
          [FW_7_0_EDX] = 0x4000000, [FW_80000001_EDX] = 0x28100800, [FW_80000001_ECX] = 0x121,
          [FW_D_1_EAX] = 0x1, [FW_6_EAX] = 0x4, [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x37bff,
          [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Cascadelake-Server", .version = 1, .model_id = "Intel Xeon Processor (Cascadelake)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 85, .stepping = 6, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xd19f0fb9, [FW_7_0_ECX] = 0x808,
          [FW_7_0_EDX] = 0x84000000, [FW_80000001_EDX] = 0x2c100800, [FW_80000001_ECX] = 0x121,
          [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4, [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x37bff,
          [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull } },
    { .name = "Cascadelake-Server", .version = 2, .model_id = "Intel Xeon Processor (Cascadelake)",
      .note = "[ARCH_CAPABILITIES]",
      .vendor = VENDOR_INTEL, .family = 6, .model = 85, .stepping = 6, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xd19f0fb9, [FW_7_0_ECX] = 0x808,
          [FW_7_0_EDX] = 0xa4000000, [FW_80000001_EDX] = 0x2c100800, [FW_80000001_ECX] = 0x121,
          [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4, [FW_ARCH_CAP] = 0x2b, [FW_VMX_PROC] = 0xfbf99e8c,
          [FW_VMX_PROC2] = 0x37bff, [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull } },
    { .name = "Cascadelake-Server", .version = 3, .model_id = "Intel Xeon Processor (Cascadelake)",
      .note = "[ARCH_CAPABILITIES, no TSX]",
      .vendor = VENDOR_INTEL, .family = 6, .model = 85, .stepping = 6, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xd19f07a9, [FW_7_0_ECX] = 0x808,
          [FW_7_0_EDX] = 0xa4000000, [FW_80000001_EDX] = 0x2c100800, [FW_80000001_ECX] = 0x121,
          [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4, [FW_ARCH_CAP] = 0x2b, [FW_VMX_PROC] = 0xfbf99e8c,
          [FW_VMX_PROC2] = 0x37bff, [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull } },
    { .name = "Cascadelake-Server", .version = 4, .model_id = "Intel Xeon Processor (Cascadelake)",
      .note = "[ARCH_CAPABILITIES, EPT switching, no TSX]",
      .vendor = VENDOR_INTEL, .family = 6, .model = 85, .stepping = 6, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xd19f07a9, [FW_7_0_ECX] = 0x808,
          [FW_7_0_EDX] = 0xa4000000, [FW_80000001_EDX] = 0x2c100800, [FW_80000001_ECX] = 0x121,
          [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4, [FW_ARCH_CAP] = 0x2b, [FW_VMX_PROC] = 0xfbf99e8c,
          [FW_VMX_PROC2] = 0x37bff, [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Cascadelake-Server", .version = 5, .model_id = "Intel Xeon Processor (Cascadelake)",
      .note = "[ARCH_CAPABILITIES, EPT switching, XSAVES, no TSX]",
      .vendor = VENDOR_INTEL, .family = 6, .model = 85, .stepping = 6, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xd19f07a9, [FW_7_0_ECX] = 0x808,
          [FW_7_0_EDX] = 0xa4000000, [FW_80000001_EDX] = 0x2c100800, [FW_80000001_ECX] = 0x121,
          [FW_D_1_EAX] = 0xf, [FW_6_EAX] = 0x4, [FW_ARCH_CAP] = 0x2b, [FW_VMX_PROC] = 0xfbf99e8c,
          [FW_VMX_PROC2] = 0x137bff, [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004,
          [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Conroe", .version = 1, .model_id = "Intel Celeron_4x0 (Conroe/Merom Class Core 2)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 15, .stepping = 3, .level = 0xa, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0x80000201, [FW_80000001_EDX] = 0x20100800,
          [FW_80000001_ECX] = 0x1, [FW_VMX_PROC] = 0xf3f81e8c, [FW_VMX_PROC2] = 0x1, [FW_VMX_PIN] = 0x29,
          [FW_VMX_EXIT] = 0x8000, [FW_VMX_ENTRY] = 0x200, [FW_VMX_MISC] = 0x40,
          [FW_VMX_BASIC] = 0x40000000000000ull } },
    { .name = "Cooperlake", .version = 1, .model_id = "Intel Xeon Processor (Cooperlake)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 85, .stepping = 10, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xd19f0fb9, [FW_7_0_ECX] = 0x808,
          [FW_7_0_EDX] = 0xac000000, [FW_7_1_EAX] = 0x20, [FW_80000001_EDX] = 0x2c100800,
          [FW_80000001_ECX] = 0x121, [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4, [FW_ARCH_CAP] = 0x16b,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x37bff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060,
          [FW_VMX_EPT] = 0xf0106330041ull, [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Cooperlake", .version = 2, .model_id = "Intel Xeon Processor (Cooperlake)",
      .note = "[XSAVES]",
      .vendor = VENDOR_INTEL, .family = 6, .model = 85, .stepping = 10, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xd19f0fb9, [FW_7_0_ECX] = 0x808,
          [FW_7_0_EDX] = 0xac000000, [FW_7_1_EAX] = 0x20, [FW_80000001_EDX] = 0x2c100800,
          [FW_80000001_ECX] = 0x121, [FW_D_1_EAX] = 0xf, [FW_6_EAX] = 0x4, [FW_ARCH_CAP] = 0x16b,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x137bff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060,
          [FW_VMX_EPT] = 0xf0106330041ull, [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Denverton", .version = 1, .model_id = "Intel Atom Processor (Denverton)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 95, .stepping = 1, .level = 0x15, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xc7f82203, [FW_7_0_EBX] = 0x20944281,
          [FW_7_0_EDX] = 0xa4000000, [FW_80000001_EDX] = 0x2c100800, [FW_80000001_ECX] = 0x101,
          [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4, [FW_ARCH_CAP] = 0x9, [FW_VMX_PROC] = 0xfbf99e8c,
          [FW_VMX_PROC2] = 0x36bff, [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Denverton", .version = 2, .model_id = "Intel Atom Processor (Denverton)",
      .note = "[no MPX, no MONITOR]",
      .vendor = VENDOR_INTEL, .family = 6, .model = 95, .stepping = 1, .level = 0x15, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xc7f82203, [FW_7_0_EBX] = 0x20940281,
          [FW_7_0_EDX] = 0xa4000000, [FW_80000001_EDX] = 0x2c100800, [FW_80000001_ECX] = 0x101,
          [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4, [FW_ARCH_CAP] = 0x9, [FW_VMX_PROC] = 0xfbf99e8c,
          [FW_VMX_PROC2] = 0x36bff, [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Denverton", .version = 3, .model_id = "Intel Atom Processor (Denverton)",
      .note = "[XSAVES, no MPX, no MONITOR]",
      .vendor = VENDOR_INTEL, .family = 6, .model = 95, .stepping = 1, .level = 0x15, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xc7f82203, [FW_7_0_EBX] = 0x20940281,
          [FW_7_0_EDX] = 0xa4000000, [FW_80000001_EDX] = 0x2c100800, [FW_80000001_ECX] = 0x101,
          [FW_D_1_EAX] = 0xf, [FW_6_EAX] = 0x4, [FW_ARCH_CAP] = 0x9, [FW_VMX_PROC] = 0xfbf99e8c,
          [FW_VMX_PROC2] = 0x136bff, [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004,
          [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Dhyana", .version = 1, .model_id = "Hygon Dhyana Processor",
      .vendor = VENDOR_HYGON, .family = 24, .model = 0, .stepping = 1, .level = 0xd, .xlevel = 0x8000001e,
      .caches = &caches_epyc,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf4d83201, [FW_7_0_EBX] = 0x9c01a9,
          [FW_80000001_EDX] = 0x2e500800, [FW_80000001_ECX] = 0x4003f1, [FW_80000008_EBX] = 0x1000,
          [FW_8000000A_EDX] = 0x9, [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4 } },
    { .name = "Dhyana", .version = 2, .model_id = "Hygon Dhyana Processor",
      .note = "[XSAVES]",
      .vendor = VENDOR_HYGON, .family = 24, .model = 0, .stepping = 1, .level = 0xd, .xlevel = 0x8000001e,
      .caches = &caches_epyc,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf4d83201, [FW_7_0_EBX] = 0x9c01a9,
          [FW_80000001_EDX] = 0x2e500800, [FW_80000001_ECX] = 0x4003f1, [FW_80000008_EBX] = 0x1000,
          [FW_8000000A_EDX] = 0x9, [FW_D_1_EAX] = 0xf, [FW_6_EAX] = 0x4 } },
    { .name = "EPYC", .version = 1, .model_id = "AMD EPYC Processor",
      .vendor = VENDOR_AMD, .family = 23, .model = 1, .stepping = 2, .level = 0xd, .xlevel = 0x8000001e,
      .caches = &caches_epyc,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf6d83203, [FW_7_0_EBX] = 0x209c01a9,
          [FW_80000001_EDX] = 0x2e500800, [FW_80000001_ECX] = 0x4003f1, [FW_8000000A_EDX] = 0x9,
          [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4 } },
    { .name = "EPYC", .version = 2, .model_id = "AMD EPYC Processor (with IBPB)",
      .vendor = VENDOR_AMD, .family = 23, .model = 1, .stepping = 2, .level = 0xd, .xlevel = 0x8000001e,
      .caches = &caches_epyc,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf6d83203, [FW_7_0_EBX] = 0x209c01a9,
          [FW_80000001_EDX] = 0x2e500800, [FW_80000001_ECX] = 0x4003f1, [FW_80000008_EBX] = 0x1000,
          [FW_8000000A_EDX] = 0x9, [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4 } },
    { .name = "EPYC", .version = 3, .model_id = "AMD EPYC Processor",
      .vendor = VENDOR_AMD, .family = 23, .model = 1, .stepping = 2, .level = 0xd, .xlevel = 0x8000001e,
      .caches = &caches_epyc,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf6d83203, [FW_7_0_EBX] = 0x209c01a9,
          [FW_80000001_EDX] = 0x2e500800, [FW_80000001_ECX] = 0xc003f1, [FW_80000008_EBX] = 0x1005,
          [FW_8000000A_EDX] = 0x9, [FW_D_1_EAX] = 0xf, [FW_6_EAX] = 0x4 } },
    { .name = "EPYC-Milan", .version = 1, .model_id = "AMD EPYC-Milan Processor",
      .vendor = VENDOR_AMD, .family = 25, .model = 1, .stepping = 1, .level = 0xd, .xlevel = 0x8000001e,
      .caches = &caches_epyc_milan,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf6da3203, [FW_7_0_EBX] = 0x219c07a9,
          [FW_7_0_ECX] = 0x40000c, [FW_7_0_EDX] = 0x10, [FW_80000001_EDX] = 0x2e500800,
          [FW_80000001_ECX] = 0xc003f1, [FW_80000008_EBX] = 0x100d205, [FW_8000000A_EDX] = 0x10000009,
          [FW_D_1_EAX] = 0xf, [FW_6_EAX] = 0x4 } },
    { .name = "EPYC-Rome", .version = 1, .model_id = "AMD EPYC-Rome Processor",
      .vendor = VENDOR_AMD, .family = 23, .model = 49, .stepping = 0, .level = 0xd, .xlevel = 0x8000001e,
      .caches = &caches_epyc_rome,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf6d83203, [FW_7_0_EBX] = 0x219c01a9,
          [FW_7_0_ECX] = 0x400004, [FW_80000001_EDX] = 0x2e500800, [FW_80000001_ECX] = 0xc003f1,
          [FW_80000008_EBX] = 0x9205, [FW_8000000A_EDX] = 0x9, [FW_D_1_EAX] = 0xf, [FW_6_EAX] = 0x4 } },
    { .name = "EPYC-Rome", .version = 2, .model_id = "AMD EPYC-Rome Processor",
      .vendor = VENDOR_AMD, .family = 23, .model = 49, .stepping = 0, .level = 0xd, .xlevel = 0x8000001e,
      .caches = &caches_epyc_rome,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf6d83203, [FW_7_0_EBX] = 0x219c01a9,
          [FW_7_0_ECX] = 0x400004, [FW_80000001_EDX] = 0x2e500800, [FW_80000001_ECX] = 0xc003f1,
          [FW_80000008_EBX] = 0x100d205, [FW_8000000A_EDX] = 0x9, [FW_D_1_EAX] = 0xf, [FW_6_EAX] = 0x4 } },
    { .name = "Haswell", .version = 1, .model_id = "Intel Core Processor (Haswell)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 60, .stepping = 4, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xfb9,
          [FW_80000001_EDX] = 0x28100800, [FW_80000001_ECX] = 0x21, [FW_D_1_EAX] = 0x1, [FW_6_EAX] = 0x4,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x7bff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060,
          [FW_VMX_EPT] = 0xf0106330041ull, [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Haswell", .version = 2, .model_id = "Intel Core Processor (Haswell, no TSX)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 60, .stepping = 1, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0x7a9,
          [FW_80000001_EDX] = 0x28100800, [FW_80000001_ECX] = 0x21, [FW_D_1_EAX] = 0x1, [FW_6_EAX] = 0x4,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x7bff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060,
          [FW_VMX_EPT] = 0xf0106330041ull, [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Haswell", .version = 3, .model_id = "Intel Core Processor (Haswell, IBRS)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 60, .stepping = 4, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xfb9, [FW_7_0_EDX] = 0x4000000,
          [FW_80000001_EDX] = 0x28100800, [FW_80000001_ECX] = 0x21, [FW_D_1_EAX] = 0x1, [FW_6_EAX] = 0x4,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x7bff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060,
          [FW_VMX_EPT] = 0xf0106330041ull, [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Haswell", .version = 4, .model_id = "Intel Core Processor (Haswell, no TSX, IBRS)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 60, .stepping = 1, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0x7a9, [FW_7_0_EDX] = 0x4000000,
          [FW_80000001_EDX] = 0x28100800, [FW_80000001_ECX] = 0x21, [FW_D_1_EAX] = 0x1, [FW_6_EAX] = 0x4,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x7bff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060,
          [FW_VMX_EPT] = 0xf0106330041ull, [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Icelake-Server", .version = 1, .model_id = "Intel Xeon Processor (Icelake)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 134, .stepping = 0, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xd19f0fb9,
          [FW_7_0_ECX] = 0x15f4e, [FW_7_0_EDX] = 0x84000000, [FW_80000001_EDX] = 0x2c100800,
          [FW_80000001_ECX] = 0x121, [FW_80000008_EBX] = 0x200, [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x7bff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060,
          [FW_VMX_EPT] = 0xf0106330041ull, [FW_VMX_BASIC] = 0xc0000000000000ull } },
    { .name = "Icelake-Server", .version = 2, .model_id = "Intel Xeon Processor (Icelake)",
      .note = "[no TSX]",
      .vendor = VENDOR_INTEL, .family = 6, .model = 134, .stepping = 0, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xd19f07a9,
          [FW_7_0_ECX] = 0x15f4e, [FW_7_0_EDX] = 0x84000000, [FW_80000001_EDX] = 0x2c100800,
          [FW_80000001_ECX] = 0x121, [FW_80000008_EBX] = 0x200, [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x7bff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060,
          [FW_VMX_EPT] = 0xf0106330041ull, [FW_VMX_BASIC] = 0xc0000000000000ull } },
    { .name = "Icelake-Server", .version = 3, .model_id = "Intel Xeon Processor (Icelake)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 134, .stepping = 0, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xd19f07a9,
          [FW_7_0_ECX] = 0x15f4e, [FW_7_0_EDX] = 0xa4000000, [FW_80000001_EDX] = 0x2c100800,
          [FW_80000001_ECX] = 0x121, [FW_80000008_EBX] = 0x200, [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4,
          [FW_ARCH_CAP] = 0x16b, [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x7bff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060,
          [FW_VMX_EPT] = 0xf0106330041ull, [FW_VMX_BASIC] = 0xc0000000000000ull } },
    { .name = "Icelake-Server", .version = 4, .model_id = "Intel Xeon Processor (Icelake)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 106, .stepping = 0, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xf1bf07a9,
          [FW_7_0_ECX] = 0x415f4e, [FW_7_0_EDX] = 0xa4000010, [FW_80000001_EDX] = 0x2c100800,
          [FW_80000001_ECX] = 0x121, [FW_80000008_EBX] = 0x200, [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4,
          [FW_ARCH_CAP] = 0x16b, [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x37bff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060,
          [FW_VMX_EPT] = 0xf0106330041ull, [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Icelake-Server", .version = 5, .model_id = "Intel Xeon Processor (Icelake)",
      .note = "[XSAVES]",
      .vendor = VENDOR_INTEL, .family = 6, .model = 106, .stepping = 0, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xf1bf07a9,
          [FW_7_0_ECX] = 0x415f4e, [FW_7_0_EDX] = 0xa4000010, [FW_80000001_EDX] = 0x2c100800,
          [FW_80000001_ECX] = 0x121, [FW_80000008_EBX] = 0x200, [FW_D_1_EAX] = 0xf, [FW_6_EAX] = 0x4,
          [FW_ARCH_CAP] = 0x16b, [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x137bff,
          [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Icelake-Server", .version = 6, .model_id = "Intel Xeon Processor (Icelake)",
      .note = "[5-level EPT]",
      .vendor = VENDOR_INTEL, .family = 6, .model = 106, .stepping = 0, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xf1bf07a9,
          [FW_7_0_ECX] = 0x415f4e, [FW_7_0_EDX] = 0xa4000010, [FW_80000001_EDX] = 0x2c100800,
          [FW_80000001_ECX] = 0x121, [FW_80000008_EBX] = 0x200, [FW_D_1_EAX] = 0xf, [FW_6_EAX] = 0x4,
          [FW_ARCH_CAP] = 0x16b, [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x137bff,
          [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf01063300c1ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "IvyBridge", .version = 1, .model_id = "Intel Xeon E3-12xx v2 (Ivy Bridge)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 58, .stepping = 9, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7b82203, [FW_7_0_EBX] = 0x281,
          [FW_80000001_EDX] = 0x28100800, [FW_80000001_ECX] = 0x1, [FW_D_1_EAX] = 0x1, [FW_6_EAX] = 0x4,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0xbff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x60,
          [FW_VMX_EPT] = 0xf0106130041ull, [FW_VMX_BASIC] = 0xc0000000000000ull } },
    { .name = "IvyBridge", .version = 2, .model_id = "Intel Xeon E3-12xx v2 (Ivy Bridge, IBRS)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 58, .stepping = 9, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7b82203, [FW_7_0_EBX] = 0x281, [FW_7_0_EDX] = 0x4000000,
          [FW_80000001_EDX] = 0x28100800, [FW_80000001_ECX] = 0x1, [FW_D_1_EAX] = 0x1, [FW_6_EAX] = 0x4,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0xbff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x60,
          [FW_VMX_EPT] = 0xf0106130041ull, [FW_VMX_BASIC] = 0xc0000000000000ull } },
    { .name = "KnightsMill", .version = 1, .model_id = "Intel Xeon Phi Processor (Knights Mill)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 133, .stepping = 0, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0xf8bfbff, [FW_1_ECX] = 0xf7f83203, [FW_7_0_EBX] = 0x1c0d03a9,
          [FW_7_0_ECX] = 0x4000, [FW_7_0_EDX] = 0xc, [FW_80000001_EDX] = 0x2c100800,
          [FW_80000001_ECX] = 0x121, [FW_D_1_EAX] = 0x1, [FW_6_EAX] = 0x4 } },
    { .name = "Nehalem", .version = 1, .model_id = "Intel Core i7 9xx (Nehalem Class Core i7)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 26, .stepping = 3, .level = 0xb, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0x80982201, [FW_80000001_EDX] = 0x20100800,
          [FW_80000001_ECX] = 0x1, [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x77, [FW_VMX_PIN] = 0x69,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x40,
          [FW_VMX_EPT] = 0xf0106130041ull, [FW_VMX_BASIC] = 0xc0000000000000ull } },
    { .name = "Nehalem", .version = 2, .model_id = "Intel Core i7 9xx (Nehalem Core i7, IBRS update)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 26, .stepping = 3, .level = 0xb, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0x80982201, [FW_7_0_EDX] = 0x4000000,
          [FW_80000001_EDX] = 0x20100800, [FW_80000001_ECX] = 0x1, [FW_VMX_PROC] = 0xfbf99e8c,
          [FW_VMX_PROC2] = 0x77, [FW_VMX_PIN] = 0x69, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x40, [FW_VMX_EPT] = 0xf0106130041ull, [FW_VMX_BASIC] = 0xc0000000000000ull } },
    { .name = "Opteron_G1", .version = 1, .model_id = "AMD Opteron 240 (Gen 1 Class Opteron)",
      .vendor = VENDOR_AMD, .family = 15, .model = 6, .stepping = 1, .level = 0x5, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0x80000001, [FW_80000001_EDX] = 0x20100800 } },
    { .name = "Opteron_G2", .version = 1, .model_id = "AMD Opteron 22xx (Gen 2 Class Opteron)",
      .vendor = VENDOR_AMD, .family = 15, .model = 6, .stepping = 1, .level = 0x5, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0x80002001, [FW_80000001_EDX] = 0x20100800,
          [FW_80000001_ECX] = 0x1 } },
    { .name = "Opteron_G3", .version = 1, .model_id = "AMD Opteron 23xx (Gen 3 Class Opteron)",
      .vendor = VENDOR_AMD, .family = 16, .model = 2, .stepping = 3, .level = 0x5, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0x80802001, [FW_80000001_EDX] = 0x28100800,
          [FW_80000001_ECX] = 0xe1 } },
    { .name = "Opteron_G4", .version = 1, .model_id = "AMD Opteron 62xx class CPU",
      .vendor = VENDOR_AMD, .family = 21, .model = 1, .stepping = 2, .level = 0xd, .xlevel = 0x8000001a,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0x96982203, [FW_80000001_EDX] = 0x2c100800,
          [FW_80000001_ECX] = 0x109e1, [FW_8000000A_EDX] = 0x9 } },
    { .name = "Opteron_G5", .version = 1, .model_id = "AMD Opteron 63xx class CPU",
      .vendor = VENDOR_AMD, .family = 21, .model = 2, .stepping = 0, .level = 0xd, .xlevel = 0x8000001a,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xb6983203, [FW_80000001_EDX] = 0x2c100800,
          [FW_80000001_ECX] = 0x2109e1, [FW_8000000A_EDX] = 0x9 } },
    { .name = "Penryn", .version = 1, .model_id = "Intel Core 2 Duo P9xxx (Penryn Class Core 2)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 23, .stepping = 3, .level = 0xa, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0x80082201, [FW_80000001_EDX] = 0x20100800,
          [FW_80000001_ECX] = 0x1, [FW_VMX_PROC] = 0xf3f81e8c, [FW_VMX_PROC2] = 0x41, [FW_VMX_PIN] = 0x29,
          [FW_VMX_EXIT] = 0x9000, [FW_VMX_ENTRY] = 0x2200, [FW_VMX_MISC] = 0x40,
          [FW_VMX_BASIC] = 0x40000000000000ull } },
    { .name = "SandyBridge", .version = 1, .model_id = "Intel Xeon E312xx (Sandy Bridge)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 42, .stepping = 1, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0x97b82203, [FW_80000001_EDX] = 0x28100800,
          [FW_80000001_ECX] = 0x1, [FW_D_1_EAX] = 0x1, [FW_6_EAX] = 0x4, [FW_VMX_PROC] = 0xfbf99e8c,
          [FW_VMX_PROC2] = 0xff, [FW_VMX_PIN] = 0x69, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x60, [FW_VMX_EPT] = 0xf0106130041ull, [FW_VMX_BASIC] = 0xc0000000000000ull } },
    { .name = "SandyBridge", .version = 2, .model_id = "Intel Xeon E312xx (Sandy Bridge, IBRS update)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 42, .stepping = 1, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0x97b82203, [FW_7_0_EDX] = 0x4000000,
          [FW_80000001_EDX] = 0x28100800, [FW_80000001_ECX] = 0x1, [FW_D_1_EAX] = 0x1, [FW_6_EAX] = 0x4,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0xff, [FW_VMX_PIN] = 0x69, [FW_VMX_EXIT] = 0x7c9004,
          [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x60, [FW_VMX_EPT] = 0xf0106130041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull } },
    { .name = "SapphireRapids", .version = 1, .model_id = "Intel Xeon Processor (SapphireRapids)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 143, .stepping = 4, .level = 0x20, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xf1bf0fb9,
          [FW_7_0_ECX] = 0x1415f4e, [FW_7_0_EDX] = 0xa7c14010, [FW_7_1_EAX] = 0x30,
          [FW_80000001_EDX] = 0x2c100800, [FW_80000001_ECX] = 0x121, [FW_80000008_EBX] = 0x200,
          [FW_D_1_EAX] = 0x1f, [FW_6_EAX] = 0x4,
          [FW_ARCH_CAP] = 0x16b, [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x137bff,
          [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf01063300c1ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Skylake-Client", .version = 1, .model_id = "Intel Core Processor (Skylake)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 94, .stepping = 3, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0x1c0fb9,
          [FW_80000001_EDX] = 0x28100800, [FW_80000001_ECX] = 0x121, [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x378ef, [FW_VMX_PIN] = 0x69,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060,
          [FW_VMX_EPT] = 0xf0106330041ull, [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Skylake-Client", .version = 2, .model_id = "Intel Core Processor (Skylake, IBRS)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 94, .stepping = 3, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0x1c0fb9,
          [FW_7_0_EDX] = 0x4000000, [FW_80000001_EDX] = 0x28100800, [FW_80000001_ECX] = 0x121,
          [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4, [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x378ef,
          [FW_VMX_PIN] = 0x69, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Skylake-Client", .version = 3, .model_id = "Intel Core Processor (Skylake, IBRS, no TSX)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 94, .stepping = 3, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0x1c07a9,
          [FW_7_0_EDX] = 0x4000000, [FW_80000001_EDX] = 0x28100800, [FW_80000001_ECX] = 0x121,
          [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4, [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x378ef,
          [FW_VMX_PIN] = 0x69, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Skylake-Client", .version = 4, .model_id = "Intel Core Processor (Skylake, IBRS, no TSX)",
      .note = "[IBRS, XSAVES, no TSX]",
      .vendor = VENDOR_INTEL, .family = 6, .model = 94, .stepping = 3, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0x1c07a9,
          [FW_7_0_EDX] = 0x4000000, [FW_80000001_EDX] = 0x28100800, [FW_80000001_ECX] = 0x121,
          [FW_D_1_EAX] = 0xf, [FW_6_EAX] = 0x4, [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x1378ef,
          [FW_VMX_PIN] = 0x69, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Skylake-Server", .version = 1, .model_id = "Intel Xeon Processor (Skylake)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 85, .stepping = 4, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xd19f0fb9, [FW_7_0_ECX] = 0x8,
          [FW_80000001_EDX] = 0x2c100800, [FW_80000001_ECX] = 0x121, [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x37bff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060,
          [FW_VMX_EPT] = 0xf0106330041ull, [FW_VMX_BASIC] = 0xc0000000000000ull } },
    { .name = "Skylake-Server", .version = 2, .model_id = "Intel Xeon Processor (Skylake, IBRS)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 85, .stepping = 4, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xd11f0fb9, [FW_7_0_ECX] = 0x8,
          [FW_7_0_EDX] = 0x4000000, [FW_80000001_EDX] = 0x2c100800, [FW_80000001_ECX] = 0x121,
          [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4, [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x37bff,
          [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull } },
    { .name = "Skylake-Server", .version = 3, .model_id = "Intel Xeon Processor (Skylake, IBRS, no TSX)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 85, .stepping = 4, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xd11f07a9, [FW_7_0_ECX] = 0x8,
          [FW_7_0_EDX] = 0x4000000, [FW_80000001_EDX] = 0x2c100800, [FW_80000001_ECX] = 0x121,
          [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4, [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x37bff,
          [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull } },
    { .name = "Skylake-Server", .version = 4, .model_id = "Intel Xeon Processor (Skylake, IBRS, no TSX)",
      .note = "[IBRS, EPT switching, no TSX]",
      .vendor = VENDOR_INTEL, .family = 6, .model = 85, .stepping = 4, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xd11f07a9, [FW_7_0_ECX] = 0x8,
          [FW_7_0_EDX] = 0x4000000, [FW_80000001_EDX] = 0x2c100800, [FW_80000001_ECX] = 0x121,
          [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4, [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x37bff,
          [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Skylake-Server", .version = 5, .model_id = "Intel Xeon Processor (Skylake, IBRS, no TSX)",
      .note = "[IBRS, XSAVES, EPT switching, no TSX]",
      .vendor = VENDOR_INTEL, .family = 6, .model = 85, .stepping = 4, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xf7fa3203, [FW_7_0_EBX] = 0xd11f07a9, [FW_7_0_ECX] = 0x8,
          [FW_7_0_EDX] = 0x4000000, [FW_80000001_EDX] = 0x2c100800, [FW_80000001_ECX] = 0x121,
          [FW_D_1_EAX] = 0xf, [FW_6_EAX] = 0x4, [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x137bff,
          [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204,
          [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Snowridge", .version = 1, .model_id = "Intel Atom Processor (SnowRidge)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 134, .stepping = 1, .level = 0x1b, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xc7f82203, [FW_7_0_EBX] = 0x21944281,
          [FW_7_0_ECX] = 0x1a000104, [FW_7_0_EDX] = 0xe4000000, [FW_80000001_EDX] = 0x2c100800,
          [FW_80000001_ECX] = 0x101, [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4, [FW_CORE_CAP] = 0x20,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x36bff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060,
          [FW_VMX_EPT] = 0xf0106330041ull, [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Snowridge", .version = 2, .model_id = "Intel Atom Processor (Snowridge, no MPX)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 134, .stepping = 1, .level = 0x1b, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xc7f82203, [FW_7_0_EBX] = 0x21940281,
          [FW_7_0_ECX] = 0x1a000104, [FW_7_0_EDX] = 0xe4000000, [FW_80000001_EDX] = 0x2c100800,
          [FW_80000001_ECX] = 0x101, [FW_D_1_EAX] = 0x7, [FW_6_EAX] = 0x4, [FW_CORE_CAP] = 0x20,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x36bff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060,
          [FW_VMX_EPT] = 0xf0106330041ull, [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Snowridge", .version = 3, .model_id = "Intel Atom Processor (Snowridge, no MPX)",
      .note = "[XSAVES, no MPX]",
      .vendor = VENDOR_INTEL, .family = 6, .model = 134, .stepping = 1, .level = 0x1b, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xc7f82203, [FW_7_0_EBX] = 0x21940281,
          [FW_7_0_ECX] = 0x1a000104, [FW_7_0_EDX] = 0xe4000000, [FW_80000001_EDX] = 0x2c100800,
          [FW_80000001_ECX] = 0x101, [FW_D_1_EAX] = 0xf, [FW_6_EAX] = 0x4, [FW_CORE_CAP] = 0x20,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0x136bff, [FW_VMX_PIN] = 0xe9,
          [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060,
          [FW_VMX_EPT] = 0xf0106330041ull, [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Snowridge", .version = 4, .model_id = "Intel Atom Processor (Snowridge, no MPX)",
      .note = "[no split lock detect, no core-capability]",
      .vendor = VENDOR_INTEL, .family = 6, .model = 134, .stepping = 1, .level = 0x1b, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0xc7f82203, [FW_7_0_EBX] = 0x21940281,
          [FW_7_0_ECX] = 0x1a000104, [FW_7_0_EDX] = 0xa4000000, [FW_80000001_EDX] = 0x2c100800,
          [FW_80000001_ECX] = 0x101, [FW_D_1_EAX] = 0xf, [FW_6_EAX] = 0x4, [FW_VMX_PROC] = 0xfbf99e8c,
          [FW_VMX_PROC2] = 0x136bff, [FW_VMX_PIN] = 0xe9, [FW_VMX_EXIT] = 0x7c9004,
          [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x20000060, [FW_VMX_EPT] = 0xf0106330041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull, [FW_VMX_VMFUNC] = 0x1 } },
    { .name = "Westmere", .version = 1, .model_id = "Westmere E56xx/L56xx/X56xx (Nehalem-C)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 44, .stepping = 1, .level = 0xb, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0x82982203, [FW_80000001_EDX] = 0x20100800,
          [FW_80000001_ECX] = 0x1, [FW_6_EAX] = 0x4, [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0xf7,
          [FW_VMX_PIN] = 0x69, [FW_VMX_EXIT] = 0x7c9004, [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x60,
          [FW_VMX_EPT] = 0xf0106130041ull, [FW_VMX_BASIC] = 0xc0000000000000ull } },
    { .name = "Westmere", .version = 2, .model_id = "Westmere E56xx/L56xx/X56xx (IBRS update)",
      .vendor = VENDOR_INTEL, .family = 6, .model = 44, .stepping = 1, .level = 0xb, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0x82982203, [FW_7_0_EDX] = 0x4000000,
          [FW_80000001_EDX] = 0x20100800, [FW_80000001_ECX] = 0x1, [FW_6_EAX] = 0x4,
          [FW_VMX_PROC] = 0xfbf99e8c, [FW_VMX_PROC2] = 0xf7, [FW_VMX_PIN] = 0x69, [FW_VMX_EXIT] = 0x7c9004,
          [FW_VMX_ENTRY] = 0xe204, [FW_VMX_MISC] = 0x60, [FW_VMX_EPT] = 0xf0106130041ull,
          [FW_VMX_BASIC] = 0xc0000000000000ull } },
    { .name = "athlon", .version = 1, .model_id = "QEMU Virtual CPU version 2.5+",
      .vendor = VENDOR_AMD, .family = 6, .model = 2, .stepping = 3, .level = 0x2, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x783fbff, [FW_1_ECX] = 0x80000000, [FW_80000001_EDX] = 0xc0400000 } },
    { .name = "core2duo", .version = 1, .model_id = "Intel(R) Core(TM)2 Duo CPU     T7700  @ 2.40GHz",
      .vendor = VENDOR_INTEL, .family = 6, .model = 15, .stepping = 11, .level = 0xa, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0xf8bfbff, [FW_1_ECX] = 0x80002201, [FW_80000001_EDX] = 0x20100800,
          [FW_80000001_ECX] = 0x1, [FW_VMX_PROC] = 0xf3f81e8c, [FW_VMX_PROC2] = 0x1, [FW_VMX_PIN] = 0x29,
          [FW_VMX_EXIT] = 0x8000, [FW_VMX_ENTRY] = 0x200, [FW_VMX_MISC] = 0x40,
          [FW_VMX_BASIC] = 0x40000000000000ull } },
    { .name = "coreduo", .version = 1, .model_id = "Genuine Intel(R) CPU           T2600  @ 2.16GHz",
      .vendor = VENDOR_INTEL, .family = 6, .model = 14, .stepping = 8, .level = 0xa, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0xf89fbff, [FW_1_ECX] = 0x80000001, [FW_80000001_EDX] = 0x100000,
          [FW_VMX_PROC] = 0x73801e8c, [FW_VMX_PIN] = 0x9, [FW_VMX_EXIT] = 0x8000, [FW_VMX_MISC] = 0x40 } },
    { .name = "kvm32", .version = 1, .model_id = "Common 32-bit KVM processor",
      .vendor = VENDOR_INTEL, .family = 15, .model = 6, .stepping = 1, .level = 0x5, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0x80000001, [FW_VMX_PROC] = 0x73801e8c, [FW_VMX_PIN] = 0x9,
          [FW_VMX_EXIT] = 0x8000, [FW_VMX_MISC] = 0x40 } },
    { .name = "kvm64", .version = 1, .model_id = "Common KVM processor",
      .vendor = VENDOR_INTEL, .family = 15, .model = 6, .stepping = 1, .level = 0xd, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0x80002001, [FW_80000001_EDX] = 0x20100800,
          [FW_VMX_PROC] = 0x63b81e8c, [FW_VMX_PIN] = 0x9, [FW_VMX_EXIT] = 0x8000, [FW_VMX_ENTRY] = 0x200,
          [FW_VMX_MISC] = 0x40 } },
    { .name = "n270", .version = 1, .model_id = "Intel(R) Atom(TM) CPU N270   @ 1.60GHz",
      .vendor = VENDOR_INTEL, .family = 6, .model = 28, .stepping = 2, .level = 0xa, .xlevel = 0x80000008,
      .words = {
          [FW_1_EDX] = 0xf89fbff, [FW_1_ECX] = 0x80400201, [FW_80000001_EDX] = 0x100000,
          [FW_80000001_ECX] = 0x1 } },
    { .name = "pentium", .version = 1, .model_id = "",
      .vendor = VENDOR_INTEL, .family = 5, .model = 4, .stepping = 3, .level = 0x1, .xlevel = 0x0,
      .words = {
          [FW_1_EDX] = 0x8003bf, [FW_1_ECX] = 0x80000000 } },
    { .name = "pentium2", .version = 1, .model_id = "",
      .vendor = VENDOR_INTEL, .family = 6, .model = 5, .stepping = 2, .level = 0x2, .xlevel = 0x0,
      .words = {
          [FW_1_EDX] = 0x183fbff, [FW_1_ECX] = 0x80000000 } },
    { .name = "pentium3", .version = 1, .model_id = "",
      .vendor = VENDOR_INTEL, .family = 6, .model = 7, .stepping = 3, .level = 0x3, .xlevel = 0x0,
      .words = {
          [FW_1_EDX] = 0x383fbff, [FW_1_ECX] = 0x80000000 } },
    { .name = "phenom", .version = 1, .model_id = "AMD Phenom(tm) 9550 Quad-Core Processor",
      .vendor = VENDOR_AMD, .family = 16, .model = 2, .stepping = 3, .level = 0x5, .xlevel = 0x8000001a,
      .words = {
          [FW_1_EDX] = 0x78bfbff, [FW_1_ECX] = 0x80802001, [FW_80000001_EDX] = 0xee500800,
          [FW_80000001_ECX] = 0x61, [FW_8000000A_EDX] = 0x1 } },
    { .name = "qemu32", .version = 1, .model_id = "QEMU Virtual CPU version 2.5+",
      .vendor = VENDOR_INTEL, .family = 6, .model = 6, .stepping = 3, .level = 0x4, .xlevel = 0x80000004,
      .words = {
          [FW_1_EDX] = 0x781abfd, [FW_1_ECX] = 0x80000001 } },
    { .name = "qemu64", .version = 1, .model_id = "QEMU Virtual CPU version 2.5+",
      .vendor = VENDOR_AMD, .family = 15, .model = 107, .stepping = 1, .level = 0xd, .xlevel = 0x8000000a,
      .words = {
          [FW_1_EDX] = 0x78bfbfd, [FW_1_ECX] = 0x80002001, [FW_80000001_EDX] = 0x20100800,
          [FW_80000001_ECX] = 0x1 } },
};
const unsigned cpu_model_count = ARRAY_LEN(cpu_models);

const CpuModelAlias cpu_model_aliases[] = {
    { "Broadwell-IBRS", "Broadwell", 3 },
    { "Broadwell-noTSX", "Broadwell", 2 },
    { "Broadwell-noTSX-IBRS", "Broadwell", 4 },
    { "Cascadelake-Server-noTSX", "Cascadelake-Server", 3 },
    { "EPYC-IBPB", "EPYC", 2 },
    { "Haswell-IBRS", "Haswell", 3 },
    { "Haswell-noTSX", "Haswell", 2 },
    { "Haswell-noTSX-IBRS", "Haswell", 4 },
    { "Icelake-Server-noTSX", "Icelake-Server", 2 },
    { "IvyBridge-IBRS", "IvyBridge", 2 },
    { "Nehalem-IBRS", "Nehalem", 2 },
    { "SandyBridge-IBRS", "SandyBridge", 2 },
    { "Skylake-Client-IBRS", "Skylake-Client", 2 },
    { "Skylake-Client-noTSX-IBRS", "Skylake-Client", 3 },
    { "Skylake-Server-IBRS", "Skylake-Server", 2 },
    { "Skylake-Server-noTSX-IBRS", "Skylake-Server", 3 },
    { "Westmere-IBRS", "Westmere", 2 },
};
const unsigned cpu_model_alias_count = ARRAY_LEN(cpu_model_aliases);

static const CpuModel *find_version(const char *name, size_t len, unsigned version)
{
    for (unsigned i = 0; i < cpu_model_count; i++) {
        const CpuModel *m = &cpu_models[i];

        if (m->version == version && strncmp(m->name, name, len) == 0 && m->name[len] == '\0') {
            return m;
        }
    }
    return NULL;
}

const CpuModel *cpu_model_find(const char *name)
{
    size_t len = strlen(name);

    for (unsigned i = 0; i < cpu_model_alias_count; i++) {
        const CpuModelAlias *a = &cpu_model_aliases[i];

        if (strcmp(a->alias, name) == 0) {
            return find_version(a->name, strlen(a->name), a->version);
        }
    }
    if (len > 3 && name[len - 3] == '-' && name[len - 2] == 'v' && g_ascii_isdigit(name[len - 1])) {
        return find_version(name, len - 3, name[len - 1] - '0');
    }
    return find_version(name, len, 1);
}

const char *cpu_vendor_text(CpuVendor v)
{
    static const char *const names[] = { "GenuineIntel", "AuthenticAMD", "HygonGenuine" };

    return names[v];
}
