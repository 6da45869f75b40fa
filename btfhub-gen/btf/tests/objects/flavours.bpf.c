// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* One kernel structure under several names, each as some kernels have it, taken where it is there. */
#include "core.h"

struct task_struct {
	unsigned int __state;
	int pid;
} RELOCATABLE;

struct task_struct___pre514 {
	volatile long state;
} RELOCATABLE;

struct task_struct___pre55 {
	u64 real_start_time;
} RELOCATABLE;

struct task_struct___since55 {
	u64 start_boottime;
} RELOCATABLE;

struct tcp_sock {
	u32 srtt_us;
} RELOCATABLE;

struct tcp_sock___pre315 {
	u32 srtt;
} RELOCATABLE;

struct kernfs_node {
	u64 id;
} RELOCATABLE;

union kernfs_node_id {
	u64 id;
};

struct kernfs_node___pre55 {
	union kernfs_node_id id;
} RELOCATABLE;

struct request {
	int cmd_flags;
} RELOCATABLE;

struct request___has_disk {
	struct gendisk *rq_disk;
} RELOCATABLE;

/* Three underscores more than once: only what follows the last is the flavour. */
struct task_struct___a___b {
	int pid;
} RELOCATABLE;

char _license[] SEC("license") = "GPL";

#define READ(access)                                                                                                   \
	({                                                                                                             \
		u64 value = 0;                                                                                         \
		probe_read_kernel(&value, BYTE_SIZE(access) & 15, (const void *)&(access));                            \
		value;                                                                                                 \
	})

SEC("raw_tp/flavours")
int flavours(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	u64 result = 0;

	if (FIELD_EXISTS(task->__state))
		result += READ(task->__state);
	else
		result += READ(((struct task_struct___pre514 *)task)->state);

	if (FIELD_EXISTS(((struct task_struct___since55 *)0)->start_boottime))
		result += READ(((struct task_struct___since55 *)task)->start_boottime);
	else if (FIELD_EXISTS(((struct task_struct___pre55 *)0)->real_start_time))
		result += READ(((struct task_struct___pre55 *)task)->real_start_time);

	return result;
}

SEC("raw_tp/more")
int more(u64 *ctx)
{
	struct tcp_sock *tcp = (void *)ctx[0];
	struct kernfs_node *node = (void *)ctx[1];
	u64 result = 0;

	if (FIELD_EXISTS(tcp->srtt_us))
		result += READ(tcp->srtt_us);
	else
		result += READ(((struct tcp_sock___pre315 *)tcp)->srtt);

	if (FIELD_EXISTS(((struct kernfs_node___pre55 *)0)->id.id))
		result += READ(((struct kernfs_node___pre55 *)node)->id.id);
	else
		result += READ(node->id);
	return result;
}

SEC("raw_tp/unguarded")
int unguarded(void *ctx)
{
	USE(BYTE_OFFSET(((struct request___has_disk *)0)->rq_disk));
	USE(BYTE_OFFSET(((struct request *)0)->cmd_flags));
	USE(BYTE_OFFSET(((struct task_struct___a___b *)0)->pid));
	return 0;
}
