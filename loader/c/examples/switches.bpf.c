// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Every switch from one task to another: what the examples load. */
#include "compat.bpf.h"
#include "lcc.bpf.h"
#include <bpf/bpf_tracing.h>

struct task_switch {
	__u64 time_ns;
	__s32 pid;
	char comm[TASK_COMM_LEN];
};

struct switches_config {
	/* Only of this task; 0 for all. */
	__s32 pid;
};

LCC_STREAM(switches, task_switch, 1 << 18);
LCC_CONFIG(struct switches_config);

/* For the object's types to have the struct. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct task_switch);
} scratch SEC(".maps");

static __always_inline int on_switch(void *ctx, const struct task_struct *next)
{
	const volatile struct switches_config *config = lcc_config();
	__u32 zero = 0;
	struct task_switch *event = bpf_map_lookup_elem(&scratch, &zero);

	if (!config || !event)
		return 0;
	event->pid = BPF_CORE_READ(next, pid);
	if (config->pid && config->pid != event->pid)
		return 0;
	event->time_ns = compat_now();
	BPF_CORE_READ_STR_INTO(&event->comm, next, comm);
	lcc_emit(ctx, &switches, &switches_lost, event, sizeof(*event));
	return 0;
}

LCC_ONE_OF(sched_switch, 1) SEC("tp_btf/sched_switch")
int BPF_PROG(switch_typed, bool preempt, const struct task_struct *prev, const struct task_struct *next)
{
	return on_switch(ctx, next);
}

LCC_ONE_OF(sched_switch, 2) SEC("raw_tp/sched_switch")
int BPF_PROG(switch_raw, bool preempt, const struct task_struct *prev, const struct task_struct *next)
{
	return on_switch(ctx, next);
}

/* There is no such function: the object does without. */
LCC_OPTIONAL SEC("fentry/lcc_no_such_function")
int BPF_PROG(nowhere)
{
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
