/* A 64 KiB firmware for measurements, in 32-bit protected mode.
 * KIND_first: prints one byte on the UART and halts.  Others: COUNT accesses of the kind between
 * two readings of the time stamp counter, whose difference is printed on the UART as four bytes,
 * lowest first; then the end by isa-debug-exit.
 * KIND_busy: for ever, COUNT readings of a UART register, then the longest of them as four bytes. */
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
    /* The address or port goes to %ebx. */
#if defined KIND_unassigned
    mov $0x2222, %ebx
#elif defined KIND_uart
    mov $0x3fd, %ebx
#elif defined KIND_rtc
    mov $0x0d, %al
    out %al, $0x70
    mov $0x71, %ebx
#elif defined KIND_pci_config
    mov $0x80000000, %eax
    mov $0xcf8, %dx
    out %eax, %dx
    mov $0xcfc, %ebx
#elif defined KIND_hpet
    mov $0xfed000f0, %ebx
#elif defined KIND_ecam
    /* PCIEXBAR of the host bridge: 256 MiB at 0xb0000000, enabled. */
    mov $0x80000060, %eax
    mov $0xcf8, %dx
    out %eax, %dx
    mov $0xb0000001, %eax
    mov $0xcfc, %dx
    out %eax, %dx
    mov $0xb0000000, %ebx
#endif
#ifdef KIND_busy
1:  xor %esi, %esi
    mov $COUNT, %ecx
    mov $0x3fd, %ebx
    rdtsc
    mov %eax, %edi
2:  mov %ebx, %edx
    in %dx, %al
    rdtsc
    mov %eax, %ebp
    sub %edi, %eax
    mov %ebp, %edi
    cmp %esi, %eax
    jbe 3f
    mov %eax, %esi
3:  dec %ecx
    jnz 2b
    mov %esi, %eax
    mov $4, %ecx
    mov $0x3f8, %dx
4:  out %al, %dx
    shr $8, %eax
    loop 4b
    jmp 1b
#endif
    /* Two passes; the first warms caches up, the second counts. */
    mov $2, %ebp
1:  rdtsc
    mov %eax, %edi
    mov $COUNT, %ecx
    mov %ebx, %edx
2:
#if defined KIND_hpet || defined KIND_ecam
    mov (%ebx), %eax
#elif defined KIND_pci_config
    in %dx, %eax
#else
    in %dx, %al
#endif
    dec %ecx
    jnz 2b
    rdtsc
    sub %edi, %eax
    dec %ebp
    jnz 1b

    mov $4, %ecx
    mov $0x3f8, %dx
3:  out %al, %dx
    shr $8, %eax
    loop 3b
    mov $0x10, %al
    mov $0xf4, %dx
    out %al, %dx
4:  hlt
    jmp 4b

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
