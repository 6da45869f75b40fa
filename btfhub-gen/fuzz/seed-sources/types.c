/* One of each: what an encoder meets in a kernel, in as few bytes as will do. */
typedef unsigned char u8;
typedef unsigned long long u64;
struct list { struct list *next, **prev; };
enum small { SMALL_A, SMALL_B = 7, SMALL_MINUS = -1 };
enum big { BIG = 0x123456789abcdefULL };
union word { u8 bytes[8]; u64 value; float f; };
struct forward;
struct everything {
	struct list list;
	enum small small : 3;
	unsigned bits : 5, : 2, more : 9;
	enum big big;
	union word word;
	int grid[2][3];
	struct forward *forward;
	int (*call)(const char *name, ...);
	struct { volatile int anonymous; union { long a; void *b; }; };
	_Bool flag;
	char flexible[];
};
int counter __attribute__((section(".data..percpu")));
static int helper(struct everything *e, int n) { return e->more + n; }
int function(struct everything *e, const u8 *restrict bytes, ...) { return helper(e, bytes[0]); }
_Atomic int atomic;
