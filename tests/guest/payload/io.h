/* Ports of the debugging devices the payloads talk to, and a routine that prints on all of them. */
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
