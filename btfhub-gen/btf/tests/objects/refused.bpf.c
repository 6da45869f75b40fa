// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* libbpf refuses this object: an element of an array without length that is not the last member. */
#include "core.h"

struct task_struct {
	int pid;
} RELOCATABLE;

struct bpf_array {
	u32 elem_size;
	union {
		char value[0];
		void *ptrs[0];
	};
} RELOCATABLE;

SEC("raw_tp/refused")
int refused(void *ctx)
{
	USE(BYTE_OFFSET(((struct task_struct *)0)->pid));
	USE(BYTE_OFFSET(((struct bpf_array *)0)->value[0]));
	USE(BYTE_OFFSET(((struct task_struct *)0)->pid));
	return 0;
}
