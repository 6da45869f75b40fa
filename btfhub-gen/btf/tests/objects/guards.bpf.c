// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Accesses to what no kernel has, with and without a guard. The program's name says what is expected: "guarded_" ones
 * are accepted by the verifier, "unguarded_" ones are not. What "opaque_" ones do is beyond constants: the verifier
 * accepts them.
 */
#include "core.h"

char _license[] SEC("license") = "GPL";

struct task_struct {
	int pid;
	int absent;
	int absent_too;
} RELOCATABLE;

struct absent_struct {
	int x;
} RELOCATABLE;

enum pid_type {
	PIDTYPE_ABSENT = 3,
};

struct list_head___matches {
	int next;
};

const volatile u32 setting;

static long (*const loop)(u32 times, void *callback, void *context, u64 flags) = (void *)181;
static u64 (*const random)(void) = (void *)7;

#define ABSENT BYTE_OFFSET(((struct task_struct *)0)->absent)
#define ABSENT_TOO BYTE_OFFSET(((struct task_struct *)0)->absent_too)
#define HAS FIELD_EXISTS(((struct task_struct *)0)->absent)
#define HAS_TOO FIELD_EXISTS(((struct task_struct *)0)->absent_too)
#define HAS_PID FIELD_EXISTS(((struct task_struct *)0)->pid)
#define NOINLINE __attribute__((noinline))
/* clang must not see through a value. */
#define HIDE(value) asm volatile("" : "+r"(value))

SEC("raw_tp/a")
int guarded_exists(void *ctx)
{
	if (HAS)
		USE(ABSENT);
	return 0;
}

SEC("raw_tp/b")
int guarded_early_return(void *ctx)
{
	if (!HAS)
		return 1;
	for (int i = 0; i < 3; i++)
		USE(ABSENT + random());
	return 0;
}

SEC("raw_tp/c")
int guarded_type_exists(void *ctx)
{
	if (TYPE_EXISTS(struct absent_struct))
		USE(BYTE_SIZE(((struct absent_struct *)0)->x));
	return 0;
}

SEC("raw_tp/d")
int guarded_type_size(void *ctx)
{
	if (TYPE_SIZE(struct absent_struct) > 2)
		USE(BYTE_SIZE(((struct absent_struct *)0)->x));
	return 0;
}

SEC("raw_tp/e")
int guarded_enumerator(void *ctx)
{
	if (ENUM_EXISTS(enum pid_type, PIDTYPE_ABSENT))
		USE(ENUM_VALUE(enum pid_type, PIDTYPE_ABSENT));
	return 0;
}

SEC("raw_tp/f")
int guarded_matches(void *ctx)
{
	if (TYPE_MATCHES(struct list_head___matches))
		USE(ABSENT);
	return 0;
}

SEC("raw_tp/g")
int guarded_spilled(void *ctx)
{
	volatile u64 has = HAS;
	u64 filler = 0;

	probe_read_kernel(&filler, sizeof(filler), ctx);
	if (has)
		USE(ABSENT);
	return filler;
}

static NOINLINE int read_absent(void *ctx)
{
	USE(ABSENT);
	return random();
}

SEC("raw_tp/h")
int guarded_call(void *ctx)
{
	return HAS ? read_absent(ctx) : 0;
}

static NOINLINE int read_if(void *ctx, u64 has)
{
	if (has)
		USE(ABSENT);
	return random();
}

SEC("raw_tp/i")
int guarded_by_argument(void *ctx)
{
	return read_if(ctx, HAS) + read_if(ctx, HAS_TOO);
}

static NOINLINE int has_absent(void)
{
	return HAS;
}

SEC("raw_tp/j")
int guarded_by_result(void *ctx)
{
	if (has_absent())
		USE(ABSENT);
	return 0;
}

SEC("raw_tp/k")
int guarded_by_sum(void *ctx)
{
	u64 count = HAS + HAS_TOO + HAS_PID;

	HIDE(count);
	if (count == 3)
		USE(ABSENT + ABSENT_TOO);
	if (count > 1)
		USE(ABSENT);
	return 0;
}

SEC("raw_tp/l")
int guarded_and_more(u64 *ctx)
{
	u64 has = HAS && ctx[0];

	HIDE(has);
	if (has)
		USE(ABSENT);
	return 0;
}

static long callback(u32 index, void *context)
{
	USE(ABSENT);
	return 0;
}

SEC("raw_tp/m")
int guarded_callback(void *ctx)
{
	if (HAS)
		loop(3, callback, 0, 0);
	return 0;
}

SEC("raw_tp/n")
int guarded_switch(void *ctx)
{
	u64 which = (HAS << 1) | HAS_TOO;

	HIDE(which);
	switch (which) {
	case 1:
		USE(ABSENT_TOO);
		break;
	case 2:
		USE(ABSENT);
		break;
	case 3:
		USE(ABSENT + ABSENT_TOO);
		break;
	}
	return 0;
}

SEC("raw_tp/o")
int unguarded_plain(void *ctx)
{
	USE(ABSENT);
	return 0;
}

SEC("raw_tp/p")
int unguarded_wrong_guard(void *ctx)
{
	if (HAS_PID)
		USE(ABSENT);
	return 0;
}

SEC("raw_tp/q")
int unguarded_inverted(void *ctx)
{
	if (!HAS)
		USE(ABSENT);
	return 0;
}

SEC("raw_tp/r")
int unguarded_random(void *ctx)
{
	if (random() & 1)
		USE(ABSENT);
	return 0;
}

static NOINLINE int read_absent_too(void *ctx)
{
	USE(ABSENT_TOO);
	return random();
}

SEC("raw_tp/s")
int unguarded_second_call(void *ctx)
{
	if (HAS_TOO)
		return read_absent_too(ctx);
	return read_absent_too(ctx) + 1;
}

static NOINLINE int read_if_either(void *ctx, u64 has)
{
	if (has)
		USE(ABSENT);
	return random();
}

SEC("raw_tp/t")
int unguarded_argument(void *ctx)
{
	return read_if_either(ctx, HAS) + read_if_either(ctx, HAS_PID);
}

/* The verifier checks a global function by itself, and takes any number for its result. */
NOINLINE int global_has_absent(void)
{
	return HAS;
}

SEC("raw_tp/u")
int unguarded_global_result(void *ctx)
{
	if (global_has_absent())
		USE(ABSENT);
	return 0;
}

SEC("raw_tp/v")
int unguarded_overwritten(void *ctx)
{
	volatile u64 has = HAS;

	probe_read_kernel((void *)&has, sizeof(has), ctx);
	if (has)
		USE(ABSENT);
	return 0;
}

static NOINLINE long callback_too(u32 index, void *context)
{
	USE(ABSENT_TOO);
	return 0;
}

SEC("raw_tp/w")
int unguarded_callback(void *ctx)
{
	loop(3, callback_too, 0, 0);
	return 0;
}

/* Both branches are open here; the verifier sees that .rodata says no. */
SEC("raw_tp/x")
int opaque_setting(void *ctx)
{
	if (setting)
		USE(ABSENT);
	return 0;
}

/* On each path the verifier knows both numbers. */
SEC("raw_tp/y")
int opaque_path(void *ctx)
{
	u64 a = 0, b = 0;

	if (random() & 1) {
		a = 1;
		b = 2;
		/* Keeps this a branch. */
		USE(1);
	}
	HIDE(a);
	HIDE(b);
	if (a && b != 2)
		USE(ABSENT);
	return 0;
}

SEC("?raw_tp/z")
int unguarded_not_loaded(void *ctx)
{
	USE(ABSENT);
	return 0;
}
