/* Ports of the debugging devices the payloads talk to, and routines that print on all of them. */
#define PORT_UART 0x3f8
#define PORT_DEBUGCON 0xe9
#define PORT_EXIT 0xf4

/* putc: print %al on the UART (after its transmitter is free) and on the debug console; uses %ah,
 * %dx. */
.macro define_putc
putc:
    mov %al, %ah
    mov $PORT_UART + 5, %dx
1:  in %dx, %al
    test $0x20, %al
    jz 1b
    mov %ah, %al
    mov $PORT_UART, %dx
    out %al, %dx
    mov $PORT_DEBUGCON, %dx
    out %al, %dx
    ret
.endm

/* print: the string at %si up to a zero; hex: %al as two digits.  Both use %ax, %dx and putc. */
.macro define_print
print:
    lodsb
    test %al, %al
    jz 1f
    call putc
    jmp print
hex:
    push %ax
    shr $4, %al
    call digit
    pop %ax
digit:
    and $15, %al
    add $'0', %al
    cmp $'9', %al
    jbe putc
    add $'a' - '9' - 1, %al
    jmp putc
1:  ret
.endm
