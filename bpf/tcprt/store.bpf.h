/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where connections are kept: with their sockets, where the kernel can (5.11, 8e4597c627fb ("bpf: Allow using bpf_sk_storage_get in
 * FENTRY/FEXIT/RAW_TP")) and the program is one that can say which socket it means. Else in a table, by the address of the kernel's
 * sock. One look into the table costs 110 ns, where with the socket it is 20 (6.18, a virtual machine).
 */
#ifndef LCC_TCPRT_STORE_H
#define LCC_TCPRT_STORE_H

#include "tcprt/connection.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct connection);
} sockets SEC(".maps");

/*
 * Where there is no room, one that was long idle goes. It is taken for one that is older than its observation if it moves again.
 * The kernel does not count them: what came in, did not leave and is not there was pushed out, or overwritten by a new connection
 * of the same sock, its end not having been seen.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct connection);
} connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} connections_entered SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} connections_left SEC(".maps");

/* How often there was no memory for a connection: when it opened, and whenever it was met again. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} connections_refused SEC(".maps");

/* Exact also where another program comes between, in an interrupt. */
static __always_inline void add(void *counter, __u64 number)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(counter, &zero);

	if (value)
		__sync_fetch_and_add(value, number);
}

static __always_inline bool is_stored(const struct hook *hook)
{
	return hook->is_typed && bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_storage_get);
}

static __always_inline struct connection *find(const struct hook *hook)
{
	__u64 key = (__u64)hook->socket;

	if (is_stored(hook))
		return bpf_sk_storage_get(&sockets, hook->socket, 0, 0);
	return bpf_map_lookup_elem(&connections, &key);
}

/* Keeps a new connection, in place of an older one of the same socket. NULL where there is no memory for it. */
static __always_inline struct connection *keep(const struct hook *hook, struct connection *connection)
{
	struct connection *kept = 0;
	__u64 key = (__u64)hook->socket;

	connection->opened_ns = hook->now;
	connection->opened_retransmissions = retransmissions(hook);
	if (is_stored(hook)) {
		kept = bpf_sk_storage_get(&sockets, hook->socket, connection, BPF_SK_STORAGE_GET_F_CREATE);
		if (kept && kept->opened_ns != connection->opened_ns)
			*kept = *connection;
	} else if (!bpf_map_update_elem(&connections, &key, connection, BPF_ANY)) {
		add(&connections_entered, 1);
		kept = bpf_map_lookup_elem(&connections, &key);
	}
	if (!kept)
		add(&connections_refused, 1);
	return kept;
}

static __always_inline void forget(const struct hook *hook)
{
	__u64 key = (__u64)hook->socket;

	if (is_stored(hook))
		bpf_sk_storage_delete(&sockets, hook->socket);
	else if (!bpf_map_delete_elem(&connections, &key))
		add(&connections_left, 1);
}

#endif
