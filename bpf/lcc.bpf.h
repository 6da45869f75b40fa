/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a program is to its object, for whoever loads it: read by lcc's plan (loader/plan), and of no account to
 * libbpf and the kernel, which see a tag in BTF (clang 14 and later).
 */
#ifndef LCC_BPF_H
#define LCC_BPF_H

/*
 * One of several ways to see one thing. Of a group, one rank is enabled: the lowest of which all programs work.
 *
 *	LCC_ONE_OF(receive, 1) SEC("fentry/tcp_event_data_recv") int BPF_PROG(receive_fentry, ...)
 *	LCC_ONE_OF(receive, 2) SEC("kprobe/tcp_event_data_recv") int BPF_KPROBE(receive_kprobe, ...)
 */
#define LCC_ONE_OF(group, rank) __attribute__((btf_decl_tag("lcc:one:" #group ":" #rank)))

/* All programs of the group, or none. */
#define LCC_ALL_OF(group) __attribute__((btf_decl_tag("lcc:all:" #group)))

/* The object does without it, or without the whole of its group. */
#define LCC_OPTIONAL __attribute__((btf_decl_tag("lcc:optional")))

/* What follows is for programs that include, before this, bpf_helpers.h and bpf_core_read.h, and the kernel's types. */
#if defined(__BPF_HELPERS__) && defined(__BPF_CORE_READ_H__)

/*
 * A stream of events to user space, each a `struct event`, which some map or function must name for the object's BTF to have
 * it: a ring buffer of `bytes` (a power of two, whole pages), or a perf buffer where the kernel has no ring buffers (before
 * 5.8, 457f44363a88 ("bpf: Implement BPF ring buffer and verifier support for it")). The loader makes the map of the type
 * that the code asks for once it is relocated, and counts what is lost.
 *
 *	LCC_STREAM(events, connection_event, 1 << 20);
 *	lcc_emit(ctx, &events, &events_lost, &event, sizeof(event));
 */
#define LCC_STREAM(name, event, bytes)                                                      \
	struct {                                                                            \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                         \
		__uint(max_entries, bytes);                                                 \
	} name SEC(".maps") __attribute__((btf_decl_tag("lcc:stream:" #event)));            \
	struct {                                                                            \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                    \
		__uint(max_entries, 1);                                                     \
		__type(key, __u32);                                                         \
		__type(value, __u64);                                                       \
	} name##_lost SEC(".maps") __attribute__((btf_decl_tag("lcc:lost:" #name)))

/* Sends an event, or counts it as lost. What a perf buffer has no room for, the kernel itself counts. */
static __always_inline void lcc_emit(void *ctx, void *stream, void *lost, void *event, __u64 size)
{
	const long no_room = -28;
	__u32 zero = 0;
	__u64 *count;
	long error;

	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_ringbuf_output)) {
		error = bpf_ringbuf_output(stream, event, size, 0);
	} else {
		error = bpf_perf_event_output(ctx, stream, BPF_F_CURRENT_CPU, event, size);
		if (error == no_room)
			error = 0;
	}
	if (!error)
		return;
	count = bpf_map_lookup_elem(lost, &zero);
	if (count)
		*count += 1;
}

/*
 * A log of events, each a `struct event`: a ring for each processor, which overwrites its oldest and wakes nobody. Who reads it
 * looks at it, as often as is wanted, takes nothing away, and sees by the numbers what was overwritten before. It is two arrays,
 * for every kernel: pinned, it is written for as long as the programs are attached, whoever reads or not. `slots`: events for each
 * processor, rounded up to a power of two. The loader makes room for as many processors as there are, and tells each its place.
 * Readers put the processors' events into the order of `time`, of any clock that all of them have.
 *
 *	LCC_LOG(events, connection_event, 4096);
 *	struct events_slot *slot = lcc_log_begin(&events, &events_heads, bpf_ktime_get_ns());
 *	if (!slot) return 0;
 *	slot->event.bytes = bytes;
 *	lcc_log_end(&slot->number);
 */
#define LCC_LOG(name, of, slots)                                                            \
	struct name##_slot {                                                                \
		__u64 number;                                                               \
		__u64 time;                                                                 \
		struct of event;                                                            \
	};                                                                                  \
	struct {                                                                            \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                           \
		__uint(max_entries, slots);                                                 \
		__type(key, __u32);                                                         \
		__type(value, struct name##_slot);                                          \
	} name SEC(".maps") __attribute__((btf_decl_tag("lcc:log:" #of)));                  \
	struct {                                                                            \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                           \
		__uint(max_entries, 1);                                                     \
		__type(key, __u32);                                                         \
		__type(value, struct lcc_log_head);                                         \
	} name##_heads SEC(".maps") __attribute__((btf_decl_tag("lcc:heads:" #name)))

/* Of a processor; a cache line, for no other writes to it. */
struct lcc_log_head {
	/* Events that were begun, ever. */
	__u64 next;
	/* The loader's: its first slot; how many it has, less 1. */
	__u64 first;
	__u64 mask;
	__u64 unused[5];
};

/* A slot that is being written; behind it, its number counts from 1. */
#define LCC_LOG_UNFINISHED (1ULL << 63)

/*
 * A slot to be filled, then given to lcc_log_end(); NULL where the loader has not told the processor its place. A program that
 * comes between, in an interrupt, takes the next slot; where it comes between the first two steps it takes this one, and the
 * next stays as it is: who reads misses its number, and counts it as lost.
 */
static __always_inline void *lcc_log_begin(void *log, void *heads, __u64 time)
{
	__u32 processor = bpf_get_smp_processor_id(), index;
	struct lcc_log_head *head;
	volatile __u64 *slot;
	__u64 number;

	head = bpf_map_lookup_elem(heads, &processor);
	if (!head || !head->mask)
		return 0;
	number = *(volatile __u64 *)&head->next;
	__sync_fetch_and_add(&head->next, 1);
	index = head->first + (number & head->mask);
	slot = bpf_map_lookup_elem(log, &index);
	if (slot) {
		slot[0] = (number + 1) | LCC_LOG_UNFINISHED;
		slot[1] = time;
	}
	return (void *)slot;
}

static __always_inline void lcc_log_end(__u64 *number)
{
	barrier();
	*(volatile __u64 *)number &= ~LCC_LOG_UNFINISHED;
}

/*
 * The object's configuration, which the loader is given as bytes of that struct: constants where the kernel has global
 * data (5.2, d8eca5bbb2be ("bpf: implement lookup-free direct value access for maps")), so that the verifier removes what
 * is switched off; an array map before. All zero where the loader is given none. Once in an object, outside of functions:
 *
 *	LCC_CONFIG(struct tcprt_config);
 *	const volatile struct tcprt_config *config = lcc_config();
 *	if (!config) return 0;
 */
#define LCC_CONFIG(of)                                                                      \
	const volatile of lcc_config_constants __attribute__((btf_decl_tag("lcc:config"))) = {}; \
	struct {                                                                            \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                           \
		__uint(max_entries, 1);                                                     \
		__type(key, __u32);                                                         \
		__type(value, of);                                                          \
	} lcc_config_map SEC(".maps") __attribute__((btf_decl_tag("lcc:config")));          \
	static __always_inline const volatile of *lcc_config(void)                          \
	{                                                                                   \
		const volatile of *config;                                                  \
		__u32 zero = 0;                                                             \
                                                                                            \
		/* by hand: the compiler would take the address before it asks */           \
		if (bpf_core_enum_value_exists(enum bpf_cmd, BPF_MAP_FREEZE)) {             \
			asm volatile("%0 = lcc_config_constants ll" : "=r"(config));        \
			return config;                                                      \
		}                                                                           \
		return bpf_map_lookup_elem(&lcc_config_map, &zero);                         \
	}                                                                                   \
	struct lcc_config_ends_with_a_semicolon

#endif
#endif
