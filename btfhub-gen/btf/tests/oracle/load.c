// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Gives raw BTF to the kernel: exits with 0 where it is accepted, else prints the kernel's log.
 *
 *	load BTF
 *
 * Needs root.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static char log[1 << 20];
	LIBBPF_OPTS(bpf_btf_load_opts, opts, .log_buf = log, .log_size = sizeof(log), .log_level = 1);
	const void *data;
	struct btf *btf;
	__u32 size;
	int fd;

	if (argc != 2)
		return 2;
	btf = btf__parse_raw(argv[1]);
	if (!btf)
		return 2;
	data = btf__raw_data(btf, &size);
	fd = data ? bpf_btf_load(data, size, &opts) : -1;
	if (fd < 0) {
		fputs(log, stdout);
		return 1;
	}
	close(fd);
	return 0;
}
