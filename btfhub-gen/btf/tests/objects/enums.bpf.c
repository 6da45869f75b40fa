// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Enumerators: there, not there, renumbered, negative, wider than 32 bits, and with a flavour. */
#include "core.h"

enum pid_type {
	PIDTYPE_PID = 7,
	PIDTYPE_TGID = 8,
	PIDTYPE_NO_SUCH = 9,
};

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 100,
	BPF_MAP_TYPE_RINGBUF = 101,
	BPF_MAP_TYPE_NO_SUCH = 102,
	BPF_MAP_TYPE_ARRAY___flavour = 103,
};

enum bpf_func_id___flavour {
	BPF_FUNC_get_current_pid_tgid = 500,
	BPF_FUNC_ringbuf_reserve = 501,
	BPF_FUNC_ktime_get_boot_ns = 502,
};

enum hrtimer_restart {
	HRTIMER_NORESTART = 5,
	HRTIMER_RESTART = -6,
};

enum no_such_enum {
	NO_SUCH_VALUE = 3,
};

enum wide {
	WIDE_VALUE = 0x100000000ULL,
};

typedef enum {
	KMALLOC_NORMAL = 70,
} no_such_typedef;

#define BOTH(type, value)                                                                                              \
	do {                                                                                                           \
		USE(ENUM_EXISTS(type, value));                                                                         \
		USE(ENUM_VALUE(type, value));                                                                          \
	} while (0)

SEC("raw_tp/enums")
int enums(void *ctx)
{
	BOTH(enum pid_type, PIDTYPE_PID);
	BOTH(enum pid_type, PIDTYPE_TGID);
	BOTH(enum pid_type, PIDTYPE_NO_SUCH);
	BOTH(enum bpf_map_type, BPF_MAP_TYPE_HASH);
	BOTH(enum bpf_map_type, BPF_MAP_TYPE_RINGBUF);
	BOTH(enum bpf_map_type, BPF_MAP_TYPE_NO_SUCH);
	BOTH(enum bpf_map_type, BPF_MAP_TYPE_ARRAY___flavour);
	BOTH(enum bpf_func_id___flavour, BPF_FUNC_get_current_pid_tgid);
	BOTH(enum bpf_func_id___flavour, BPF_FUNC_ringbuf_reserve);
	BOTH(enum bpf_func_id___flavour, BPF_FUNC_ktime_get_boot_ns);
	BOTH(enum hrtimer_restart, HRTIMER_NORESTART);
	BOTH(enum hrtimer_restart, HRTIMER_RESTART);
	BOTH(enum no_such_enum, NO_SUCH_VALUE);
	BOTH(no_such_typedef, KMALLOC_NORMAL);
	return 0;
}
