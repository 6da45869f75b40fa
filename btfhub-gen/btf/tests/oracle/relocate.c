// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Relocates a BPF object with libbpf, as if for the kernel whose BTF is given, and prints what libbpf says of each
 * relocation. What the verifier says of the result afterwards does not matter, and nothing is attached.
 *
 *	relocate OBJECT BTF
 *
 * Needs root: libbpf creates the object's maps before it relocates.
 */
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int print(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[65536];

	vsnprintf(line, sizeof(line), format, args);
	if (strncmp(line, "libbpf: prog '", 14) == 0 && strstr(line, "': relo #"))
		fputs(line + 8, stdout);
	else if (level == LIBBPF_WARN)
		fputs(line, stderr);
	return 0;
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts);
	struct bpf_object *object;

	if (argc != 3)
		return 2;
	libbpf_set_print(print);
	opts.btf_custom_path = argv[2];
	object = bpf_object__open_file(argv[1], &opts);
	if (!object)
		return 2;
	bpf_object__load(object);
	bpf_object__close(object);
	return 0;
}
