/* A 64 KiB firmware for measurements, in 32-bit protected mode.
 * KIND first: prints one byte on the UART and halts.  Others: COUNT accesses of the kind, then the
 * end by isa-debug-exit.  The set-up is the same for all; the loop is three instructions. */
    .code16
    .globl _start
_start:
start:
    cli
#ifdef KIND_first
    mov $0x3f8, %dx
    mov $'x', %al
    out %al, %dx
1:  hlt
    jmp 1b
#endif
    lgdtl %cs:gdt_pointer
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $8, $0xf0000 + flat

    .code32
flat:
    mov $16, %ax
    mov %ax, %ds
    mov $COUNT, %ecx
#if defined KIND_unassigned
    mov $0x2222, %dx
1:  in %dx, %al
#elif defined KIND_uart
    mov $0x3fd, %dx
1:  in %dx, %al
#elif defined KIND_rtc
    mov $0x0d, %al
    out %al, $0x70
    mov $0x71, %dx
1:  in %dx, %al
#elif defined KIND_pci_config
    mov $0x80000000, %eax
    mov $0xcf8, %dx
    out %eax, %dx
    mov $0xcfc, %dx
1:  in %dx, %eax
#elif defined KIND_hpet
    mov $0xfed000f0, %ebx
1:  mov (%ebx), %eax
#elif defined KIND_ecam
    /* PCIEXBAR of the host bridge: 256 MiB at 0xb0000000, enabled. */
    mov $0x80000060, %eax
    mov $0xcf8, %dx
    out %eax, %dx
    mov $0xb0000001, %eax
    mov $0xcfc, %dx
    out %eax, %dx
    mov $0xb0000000, %ebx
1:  mov (%ebx), %eax
#else
1:  nop
#endif
    dec %ecx
    jnz 1b
    mov $0x10, %al
    mov $0xf4, %dx
    out %al, %dx
2:  hlt
    jmp 2b

    .balign 8
gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
    .word 23
    .long 0xf0000 + gdt

    .org 0xfff0
    .code16
    ljmp $0xf000, $start
    .org 0x10000
