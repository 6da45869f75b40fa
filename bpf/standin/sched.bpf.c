// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Tasks that waited long for a CPU after they were woken, and what ran in their place. */
#include "compat.bpf.h"
#include "standin/events.h"
#include <bpf/bpf_tracing.h>

/* Nanoseconds. */
#define THRESHOLD 10000000ULL

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __s32);
	__type(value, __u64);
} woken SEC(".maps");

static __always_inline int wake(const struct task_struct *task)
{
	__s32 pid = BPF_CORE_READ(task, pid);
	__u64 now = compat_now();

	bpf_map_update_elem(&woken, &pid, &now, BPF_ANY);
	return 0;
}

SEC("raw_tp/sched_wakeup")
int BPF_PROG(wakeup, const struct task_struct *task)
{
	return wake(task);
}

SEC("raw_tp/sched_wakeup_new")
int BPF_PROG(wakeup_new, const struct task_struct *task)
{
	return wake(task);
}

SEC("raw_tp/sched_switch")
int BPF_PROG(switched, bool preempt, const struct task_struct *prev, const struct task_struct *next)
{
	const struct mm_struct *mm = BPF_CORE_READ(next, mm);
	struct delay_event event = {};
	__u64 *since;

	event.pid = BPF_CORE_READ(next, pid);
	since = bpf_map_lookup_elem(&woken, &event.pid);
	if (!since)
		return 0;
	event.time = compat_now();
	event.wait = event.time - *since;
	bpf_map_delete_elem(&woken, &event.pid);
	if (event.wait < THRESHOLD)
		return 0;
	event.tgid = BPF_CORE_READ(next, tgid);
	event.parent_tgid = BPF_CORE_READ(next, real_parent, tgid);
	event.priority = BPF_CORE_READ(next, prio);
	event.cpu = compat_task_cpu(next);
	event.start_time = compat_task_start(next);
	event.cgroup_id = compat_task_cgroup(next);
	event.run_time = BPF_CORE_READ(next, se.sum_exec_runtime);
	event.switches = BPF_CORE_READ(next, nvcsw) + BPF_CORE_READ(next, nivcsw);
	event.in_execve = BPF_CORE_READ_BITFIELD_PROBED(next, in_execve);
	event.pid_namespace = compat_task_pid_ns(next);
	if (mm)
		event.anonymous_pages = compat_mm_anonymous_pages(mm);
	event.preempted_pid = BPF_CORE_READ(prev, pid);
	event.preempted_state = preempt ? 0 : compat_task_state(prev);
	BPF_CORE_READ_STR_INTO(&event.comm, next, comm);
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
