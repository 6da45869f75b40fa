/* One relocation of each kind that clang 14 makes. */
#define FIELD(kind, access) __builtin_preserve_field_info(access, kind)
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct inner { int x[4]; };
struct task___flavour { int pid; unsigned a : 3, b : 7; struct inner inner; union { long u; char v; }; };
#pragma clang attribute pop
enum state___old { STATE_A___old = 1, STATE_B = 2 };
enum wide { WIDE = 0x100000000ULL };
typedef struct task___flavour alias;
__attribute__((noinline)) static int callee(struct task___flavour *t) { return t->inner.x[2]; }
__attribute__((section("raw_tp/x"))) int program(struct task___flavour *t)
{
	long sum = FIELD(2, t->pid) + FIELD(0, t->b) + FIELD(1, t->b) + FIELD(3, t->b) + FIELD(4, t->b) + FIELD(5, t->b);
	sum += __builtin_preserve_type_info(*(struct task___flavour *)0, 0);
	sum += __builtin_preserve_type_info(*(alias *)0, 1);
	sum += __builtin_btf_type_id(*(struct inner *)0, 0) + __builtin_btf_type_id(*(struct inner *)0, 1);
	sum += __builtin_preserve_enum_value(*(enum state___old *)STATE_A___old, 0);
	sum += __builtin_preserve_enum_value(*(enum wide *)WIDE, 1);
	return sum + t->u + t->v + callee(t);
}
char LICENSE[] __attribute__((section("license"))) = "GPL";
