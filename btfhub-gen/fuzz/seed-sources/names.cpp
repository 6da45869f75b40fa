// Names of all kinds, with versions and debug information, in as few bytes as will do.
namespace space {
struct Base { virtual int get() const; int base; };
struct Derived : virtual Base { int get() const override; int low : 3; union { char c; long l; }; };
int Base::get() const { return base; }
int Derived::get() const { return low + base; }
template <typename T> T twice(T value) { return value + value; }
template int twice<int>(int);
namespace { int hidden(int n) { return twice(n) * 3; } }
int shown(int n) { return hidden(n) + hidden(n + 1); }
}
extern "C" int first(int n) { return space::shown(n); }
extern "C" int second(int n) __attribute__((alias("first")));
extern "C" int third_old(int n) { return n; }
extern "C" int third_new(int n) { return n + 1; }
__asm__(".symver third_old,third@OLD_1.0\n.symver third_new,third@@NEW_2.0");
