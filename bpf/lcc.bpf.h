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
