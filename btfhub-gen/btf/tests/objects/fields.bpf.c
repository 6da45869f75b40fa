// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Every question that can be asked of a field, of structures that every kernel has, and of some that it has not. */
#include "core.h"

struct list_head {
	struct list_head *next;
} RELOCATABLE;

struct mm_struct {
	unsigned long start_code;
} RELOCATABLE;

struct task_struct {
	int pid;
	int tgid;
	char comm[16];
	struct task_struct *real_parent;
	struct list_head tasks;
	struct mm_struct *mm;
	unsigned in_execve : 1;
	unsigned in_iowait : 1;
	int exit_code;
	u64 utime;
	unsigned char no_such_field;
} RELOCATABLE;

struct sock_common {
	union {
		struct {
			u32 skc_daddr;
			u32 skc_rcv_saddr;
		};
	};
	u16 skc_family;
	volatile unsigned char skc_state;
	unsigned char skc_reuse : 4;
	unsigned char skc_reuseport : 1;
} RELOCATABLE;

struct sock {
	struct sock_common __sk_common;
	int sk_rcvbuf;
	unsigned int sk_protocol;
	u16 sk_type;
} RELOCATABLE;

struct sk_buff {
	unsigned int len;
	u16 protocol;
	u8 pkt_type : 3;
	u8 ip_summed : 2;
	u8 nohdr : 1;
	unsigned char *head;
	u16 network_header;
	char cb[48];
} RELOCATABLE;

struct tcp_sock {
	u32 rtt_min;
	u32 srtt_us;
	u32 srtt;
	u8 nonagle : 4;
} RELOCATABLE;

/* Incompatible: a pointer where the kernel has an integer, an integer where it has a structure. */
struct task_struct___incompatible {
	void *pid;
	int tasks;
	int comm;
} RELOCATABLE;

struct no_such_struct {
	int field;
	struct list_head list;
} RELOCATABLE;

/* clang answers the other three for integers only. */
#define ANY(access)                                                                                                    \
	do {                                                                                                           \
		USE(BYTE_OFFSET(access));                                                                              \
		USE(BYTE_SIZE(access));                                                                                \
		USE(FIELD_EXISTS(access));                                                                             \
	} while (0)

#define ALL(access)                                                                                                    \
	do {                                                                                                           \
		USE(BYTE_OFFSET(access));                                                                              \
		USE(BYTE_SIZE(access));                                                                                \
		USE(FIELD_EXISTS(access));                                                                             \
		USE(IS_SIGNED(access));                                                                                \
		USE(LSHIFT(access));                                                                                   \
		USE(RSHIFT(access));                                                                                   \
	} while (0)

SEC("raw_tp/task")
int task(void *ctx)
{
	struct task_struct *task = 0;

	ALL(task->pid);
	ALL(task->tgid);
	ANY(task->comm);
	ANY(task->real_parent);
	ANY(task->tasks);
	ANY(task->tasks.next);
	ALL(task->in_execve);
	ALL(task->in_iowait);
	ALL(task->exit_code);
	ALL(task->utime);
	ALL(task->no_such_field);
	return 0;
}

SEC("raw_tp/sock")
int sock(void *ctx)
{
	struct sock *sk = 0;

	ALL(sk->__sk_common.skc_daddr);
	ALL(sk->__sk_common.skc_family);
	ALL(sk->__sk_common.skc_state);
	ALL(sk->__sk_common.skc_reuse);
	ALL(sk->__sk_common.skc_reuseport);
	ALL(sk->sk_rcvbuf);
	ALL(sk->sk_protocol);
	ALL(sk->sk_type);
	return 0;
}

SEC("raw_tp/skb")
int skb(void *ctx)
{
	struct sk_buff *skb = 0;
	struct tcp_sock *tcp = 0;

	ALL(skb->len);
	ALL(skb->protocol);
	ALL(skb->pkt_type);
	ALL(skb->ip_summed);
	ALL(skb->nohdr);
	ANY(skb->head);
	ANY(skb->cb);
	ALL(tcp->rtt_min);
	ALL(tcp->srtt_us);
	ALL(tcp->srtt);
	ALL(tcp->nonagle);
	return 0;
}

SEC("raw_tp/absent")
int absent(void *ctx)
{
	struct task_struct___incompatible *task = 0;
	struct no_such_struct *none = 0;

	ANY(task->pid);
	ALL(task->tasks);
	ALL(task->comm);
	ALL(none->field);
	ANY(none->list.next);
	return 0;
}

/* Loads and stores that are relocated in place, widened or narrowed where the types allow it. */
SEC("raw_tp/loads")
int loads(struct task_struct *task)
{
	int sum = task->pid + task->tgid + task->exit_code;

	sum += (int)(long)task->real_parent;
	sum += task->comm[3];
	sum += (int)task->utime;
	return sum;
}

SEC("raw_tp/sized")
int sized(struct sk_buff *skb)
{
	struct sk_buff___sized {
		u64 len;
		u8 protocol;
		s64 data_len;
	} RELOCATABLE *sized = (void *)skb;

	return (int)sized->len + sized->protocol + (int)sized->data_len;
}

static __attribute__((noinline)) int depth(struct task_struct *task)
{
	int sum = 0;

	for (int i = 0; i < 8 && task; i++) {
		sum += BYTE_OFFSET(task->tgid);
		probe_read_kernel(&task, sizeof(task), &task->real_parent);
	}
	return sum;
}

SEC("?raw_tp/not_loaded")
int not_loaded(struct task_struct *task)
{
	return depth(task) + FIELD_EXISTS(task->no_such_field);
}

SEC("raw_tp/calls")
int calls(struct task_struct *task)
{
	return depth(task);
}
