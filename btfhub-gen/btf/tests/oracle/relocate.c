// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Relocates a BPF object with libbpf, as if for the kernel whose BTF is given, and prints what libbpf says of each
 * relocation. With a program's name, only that one is loaded, and the last line says whether the verifier accepts it, or
 * refuses it for an instruction whose relocation failed. Nothing is attached.
 *
 *	relocate OBJECT BTF [PROGRAM]
 *
 * Needs root: libbpf asks the kernel for its features before it relocates.
 */
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool bad_relocation;

static int print(enum libbpf_print_level level, const char *format, va_list args)
{
	static char line[1 << 24];

	vsnprintf(line, sizeof(line), format, args);
	if (strstr(line, "invalid func unknown#195896080") || strstr(line, "<invalid CO-RE relocation>"))
		bad_relocation = true;
	if (strncmp(line, "libbpf: prog '", 14) == 0 && strstr(line, "': relo #"))
		fputs(line + 8, stdout);
	else if (level == LIBBPF_WARN)
		fputs(line, stderr);
	return 0;
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts);
	struct bpf_program *program;
	struct bpf_object *object;
	struct bpf_map *map;

	if (argc < 3)
		return 2;
	libbpf_set_print(print);
	opts.btf_custom_path = argv[2];
	object = bpf_object__open_file(argv[1], &opts);
	if (!object)
		return 2;
	if (argc > 3) {
		bpf_object__for_each_program(program, object)
			bpf_program__set_autoload(program, strcmp(bpf_program__name(program), argv[3]) == 0);
	} else {
		/* Maps come before relocation, and some have no size yet. */
		bpf_object__for_each_map(map, object)
			bpf_map__set_autocreate(map, false);
	}
	if (!bpf_object__load(object))
		puts("accepted");
	else
		puts(bad_relocation ? "refused: relocation" : "refused");
	bpf_object__close(object);
	return 0;
}
