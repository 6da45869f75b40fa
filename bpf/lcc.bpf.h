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

#endif
