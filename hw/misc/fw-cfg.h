/* fw-cfg.h: what boards, boot and devices put into the firmware configuration device.
 *
 * 1. Items are added on control while the machine is built; files are listed sorted by name and their
 *    keys follow that order, so a guest sees the same directory whatever the order of adding.
 * 2. A borrowed item is read in place: a kernel or initrd mapped from its file is never copied.
 * 3. Items are added after fw_cfg_type was realized.  Functions take the Device that fw_cfg_type made
 *    (Machine.fw_cfg). */
#ifndef HW_MISC_FW_CFG_H
#define HW_MISC_FW_CFG_H

#include "core/device.h"

extern const DeviceType fw_cfg_type;       /* "fw_cfg_io", on the ISA bus; sets Machine.fw_cfg */

/* Keys that firmware knows by number.  KERNEL_ADDR to SETUP_DATA are what the linuxboot ROM reads. */
enum {
    FW_CFG_SIGNATURE = 0x00,   /* made by the device */
    FW_CFG_ID = 0x01,          /* made by the device */
    FW_CFG_UUID = 0x02,
    FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_NB_CPUS = 0x05,
    FW_CFG_MACHINE_ID = 0x06,
    FW_CFG_KERNEL_ADDR = 0x07,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_KERNEL_CMDLINE = 0x09,
    FW_CFG_INITRD_ADDR = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_BOOT_DEVICE = 0x0c,
    FW_CFG_NUMA = 0x0d,
    FW_CFG_BOOT_MENU = 0x0e,
    FW_CFG_MAX_CPUS = 0x0f,
    FW_CFG_KERNEL_ENTRY = 0x10,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_ADDR = 0x13,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_SETUP_ADDR = 0x16,
    FW_CFG_SETUP_SIZE = 0x17,
    FW_CFG_SETUP_DATA = 0x18,
    FW_CFG_FILE_DIR = 0x19,    /* made by the device */
    FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_X86_ACPI_TABLES = 0x8000,
    FW_CFG_X86_SMBIOS = 0x8001,
    FW_CFG_X86_IRQ0_OVERRIDE = 0x8002,
    FW_CFG_X86_E820 = 0x8003,
    FW_CFG_X86_HPET = 0x8004,
};

/* Longest file name, without its NUL. */
#define FW_CFG_NAME_MAX 55

/* --- items by number (a second add of a key replaces the item) --- */
/* Copies @n bytes. */
CTX_CONTROL void fw_cfg_add_bytes(Device *d, uint16_t key, const void *data, size_t n);
/* Reads @data in place for the life of the device. */
CTX_CONTROL void fw_cfg_add_borrowed(Device *d, uint16_t key, const void *data, size_t n);
/* The text with its NUL. */
CTX_CONTROL void fw_cfg_add_string(Device *d, uint16_t key, const char *text);
/* Little-endian numbers. */
CTX_CONTROL void fw_cfg_add_u16(Device *d, uint16_t key, uint16_t val);
CTX_CONTROL void fw_cfg_add_u32(Device *d, uint16_t key, uint32_t val);
CTX_CONTROL void fw_cfg_add_u64(Device *d, uint16_t key, uint64_t val);

/* --- files by name ("etc/e820"); fails on a duplicate, a name too long, or a full directory --- */
CTX_CONTROL bool fw_cfg_add_file(Device *d, const char *name, const void *data, size_t n, Error **errp);
CTX_CONTROL bool fw_cfg_add_file_borrowed(Device *d, const char *name, const void *data, size_t n,
                                          Error **errp);

typedef struct FwCfgHooks {
    /* The guest selected the item (its data may be changed now by fw_cfg_modify_*()). */
    void (*selected)(void *arg);
    /* The guest wrote [@off, @off + @n) by DMA; only for writable items. */
    void (*written)(void *arg, size_t off, size_t n);
} FwCfgHooks;
/* As fw_cfg_add_file(), with @hooks (NULL: none), which run under the device's domain.  @writable: the
 * guest may write it by DMA; its contents are then part of the saved state. */
CTX_CONTROL bool fw_cfg_add_file_hooks(Device *d, const char *name, const void *data, size_t n,
                                       bool writable, const FwCfgHooks *hooks, void *arg, Error **errp);

/* --- changes while the guest runs --- */
/* Replaces an item's data by a copy of @data; a missing item is added.  On control (machine built or
 * quiesced, as in reset) or under the domain. */
CTX_ANY void fw_cfg_modify_bytes(Device *d, uint16_t key, const void *data, size_t n);
/* As above by name; false: there is no such file. */
CTX_ANY bool fw_cfg_modify_file(Device *d, const char *name, const void *data, size_t n);
/* The data of a file (to read what the guest wrote); NULL: none such.  Under the domain. */
CTX_ANY const void *fw_cfg_file_data(Device *d, const char *name, size_t *n);

#endif
