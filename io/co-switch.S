/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The switch between two stacks: pushes the registers that the ABI makes a callee keep, exchanges
 * the stack pointers, pops.  co_first_frame is where a new stack's first switch returns to: it
 * calls entry(context), and ends backtraces.  FirstFrame in co-context.c describes the frame.
 */
        .text

#if defined(__x86_64__)

        .globl  co_switch_stack
        .hidden co_switch_stack
        .type   co_switch_stack, @function
        .p2align 4
co_switch_stack:                        /* rdi: void **save_sp, rsi: void *sp */
        .cfi_startproc
        endbr64
        pushq   %rbp
        pushq   %rbx
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        subq    $8, %rsp
        .cfi_def_cfa_offset 64
        stmxcsr (%rsp)
        fnstcw  4(%rsp)
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
        ldmxcsr (%rsp)
        fldcw   4(%rsp)
        addq    $8, %rsp
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbx
        popq    %rbp
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   co_switch_stack, . - co_switch_stack

        .globl  co_first_frame
        .hidden co_first_frame
        .type   co_first_frame, @function
        .p2align 4
co_first_frame:                         /* r12: entry, rbx: context */
        .cfi_startproc
        .cfi_undefined rip
        endbr64
        movq    %rbx, %rdi
        xorl    %ebp, %ebp
        call    *%r12
        ud2
        .cfi_endproc
        .size   co_first_frame, . - co_first_frame

#elif defined(__aarch64__)

        .globl  co_switch_stack
        .hidden co_switch_stack
        .type   co_switch_stack, %function
        .p2align 4
co_switch_stack:                        /* x0: void **save_sp, x1: void *sp */
        .cfi_startproc
        sub     sp, sp, #160
        .cfi_def_cfa_offset 160
        stp     x19, x20, [sp, #0]
        stp     x21, x22, [sp, #16]
        stp     x23, x24, [sp, #32]
        stp     x25, x26, [sp, #48]
        stp     x27, x28, [sp, #64]
        stp     x29, x30, [sp, #80]
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        mov     x9, sp
        str     x9, [x0]
        mov     sp, x1
        ldp     x19, x20, [sp, #0]
        ldp     x21, x22, [sp, #16]
        ldp     x23, x24, [sp, #32]
        ldp     x25, x26, [sp, #48]
        ldp     x27, x28, [sp, #64]
        ldp     x29, x30, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        add     sp, sp, #160
        .cfi_def_cfa_offset 0
        ret
        .cfi_endproc
        .size   co_switch_stack, . - co_switch_stack

        .globl  co_first_frame
        .hidden co_first_frame
        .type   co_first_frame, %function
        .p2align 4
co_first_frame:                         /* x20: entry, x19: context */
        .cfi_startproc
        .cfi_undefined x30
        mov     x0, x19
        mov     x29, #0
        blr     x20
        brk     #0
        .cfi_endproc
        .size   co_first_frame, . - co_first_frame

#endif

        .section .note.GNU-stack, "", %progbits
