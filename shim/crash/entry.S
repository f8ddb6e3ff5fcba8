/* What C cannot say of crash capture. x86-64. */
#if defined(__x86_64__)
	.text

.macro function name
	.globl	\name
	.hidden	\name
	.type	\name, @function
	.p2align 4
\name:
	.cfi_startproc
	endbr64
.endm

.macro end name
	.cfi_endproc
	.size	\name, . - \name
.endm

/* In struct crash_self and crash_first; action.c checks them. */
#define SIGNO 8
#define UC 16
#define AT 24
#define SUM 32
#define FLAGS 48
#define STACK 16 /* in ucontext_t: the alternate stack, where it is, flags, size */
#define GREGS 40
#define REG_RSP (GREGS + 15 * 8)

/*
 * The kernel's handler for all that we wrap: (signal, siginfo, ucontext), the return address is libc's restorer.
 * First the way of programs that live on faults, in as few steps as it takes: after a return from the kernel every jump
 * and call is a guess that fails. It is crash_enter's way where the frame stays and note() writes; all else goes there.
 */
function crash_entry
	movslq	%edi, %rax
	leaq	crash_fast(%rip), %rcx
	movq	(%rcx,%rax,8), %rax
	testq	%rax, %rax
	jz	2f
	movq	crash_self@gottpoff(%rip), %rcx
	cmpl	$0, %fs:FLAGS(%rcx)
	jne	2f
	movq	%rsp, %r9
	subq	STACK(%rdx), %r9
	cmpq	STACK+16(%rdx), %r9
	jb	2f
	movq	%fs:UC(%rcx), %r8
	cmpq	REG_RSP(%rdx), %r8
	ja	2f
	cmpl	$0, 8(%rsi)
	jle	2f
	movdqu	(%rsi), %xmm0
	movdqu	16(%rsi), %xmm1
	pxor	%xmm1, %xmm0
	movq	GREGS+22*8(%rdx), %xmm1
	pxor	%xmm1, %xmm0
	.irp	i, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20
	movdqu	GREGS+\i*8(%rdx), %xmm1
	pxor	%xmm1, %xmm0
	.endr
	movl	%edi, %fs:SIGNO(%rcx)
	movq	%rdx, %fs:UC(%rcx)
	movq	%rsi, %fs:AT(%rcx)
	movups	%xmm0, %fs:SUM(%rcx)
	jmp	*%rax
	/* crash_enter says which function runs, and by how much the frame has moved; it gets the frame as it came. */
2:	pushq	%rdi
	.cfi_adjust_cfa_offset 8
	pushq	%rsi
	.cfi_adjust_cfa_offset 8
	pushq	%rdx
	.cfi_adjust_cfa_offset 8
	leaq	24(%rsp), %rcx
	call	crash_enter
	movq	%rdx, %r8
	popq	%rdx
	.cfi_adjust_cfa_offset -8
	popq	%rsi
	.cfi_adjust_cfa_offset -8
	popq	%rdi
	.cfi_adjust_cfa_offset -8
	addq	%r8, %rdx
	addq	%r8, %rsi
	addq	%r8, %rsp
	jmp	*%rax
end crash_entry

/* A thread's first function: its alternate stack, then the program's function as if it had been called at once. */
function crash_thread_begin
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	call	crash_thread_enter
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	movq	%rdx, %rdi
	jmp	*%rax
end crash_thread_begin

/* (top, f, a, b, c) */
function crash_on_stack
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbp, 0
	movq	%rsp, %rbp
	.cfi_def_cfa_register %rbp
	movq	%rdi, %rsp
	movq	%rsi, %rax
	movl	%edx, %edi
	movq	%rcx, %rsi
	movq	%r8, %rdx
	call	*%rax
	movq	%rbp, %rsp
	.cfi_def_cfa_register %rsp
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	ret
end crash_on_stack

/* (flags, top, f, arg) */
function crash_clone
	subq	$16, %rsi
	movq	%rdx, (%rsi)
	movq	%rcx, 8(%rsi)
	xorl	%edx, %edx
	xorl	%r10d, %r10d
	xorl	%r8d, %r8d
	movl	$56, %eax
	syscall
	testq	%rax, %rax
	jz	1f
	ret
1:	.cfi_undefined %rip
	xorl	%ebp, %ebp
	popq	%rax
	popq	%rdi
	call	*%rax
	movl	%eax, %edi
	movl	$231, %eax
	syscall
	hlt
end crash_clone

#else
#error "entry.S knows x86-64 only"
#endif
	.section .note.GNU-stack, "", @progbits
